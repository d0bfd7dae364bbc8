"""`data_set_card`: README.md of images that a generator made, with the metadata that the Hugging Face Hub reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from privgen.cli.export.guarded import GuardedRelease
from privgen.cli.export.promise import front_matter, promised, tags
from privgen.report.text import plain


def data_set_card(
    release: GuardedRelease, *, name: str, count: int, class_names: Sequence[str], seed: int | None,
    metadata: Mapping[str, Any],
) -> str:  # fmt: skip
    """The card, as Markdown.

    Args:
        release: of the generator. name: of the data set. count: how many images. seed: None where it was a fresh one.
        metadata: of the form in which they are written, such as its features.
    """
    sizes = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    size = next((label for most, label in sizes if count < most), "1M<n<10M")
    values: dict[str, object] = {
        "pretty_name": plain(name),
        "task_categories": ["image-classification"],
        "size_categories": [size],
        "tags": tags(),
        **metadata,
    }
    plan = release.state.plan
    data = plain(plan.dataset or "the owner's own data") if plan is not None else "data that are not named"
    how = "a seed that was drawn for it" if seed is None else f"seed {seed}"
    parts = [
        f"# {plain(name)}",
        f"{count} synthetic images of {len(class_names)} classes ({', '.join(map(plain, class_names))}), made by a "
        f"generator that privgen trained on {data}, with {how}. No image is of the training data.",
        "## What is promised of the generator's training data",
        promised(release),
        "Making these images cost no privacy beyond that of the generator.",
        "## Limits",
        "What is rare in the training data is rarer or missing here. A classifier trained on these images does worse "
        "on real ones than one trained on real ones; measure it before you rely on it. The share of each class is as "
        "it was asked for, and is not that of the training data.",
    ]
    return front_matter(values) + "\n" + "\n\n".join(parts) + "\n"
