"""`model_card`: README.md of an exported generator, with the metadata that the Hugging Face Hub reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from privgen.cli.export.guarded import GuardedRelease
from privgen.cli.export.promise import front_matter, promised, tags
from privgen.report.text import plain

_WHAT = {
    "gan": "A class-conditional GAN with reconstruction loss and noise injection, trained by error-feedback SGD",
    "diffusion": "A class-conditional denoiser over a mixture of released class statistics",
}


def model_card(
    release: GuardedRelease, about: Mapping[str, Any], *, name: str, licence: str | None, samples: bool
) -> str:
    """The card, as Markdown.

    Args:
        about: generator.json. name: of the model. licence: as the Hub names it, or None. samples: whether samples.png
            stands beside it.
    """
    plan = release.state.plan
    classes = [plain(str(one)) for one in about["class_names"]]
    channels, height, width = about["network"]["image_shape"]
    data = plain(plan.dataset or "the owner's own") if plan is not None else "not stated"
    size = f"N = {plan.dataset_size}" if plan is not None else "N not stated"
    what = _WHAT.get(str(about.get("method", "gan")), "A class-conditional image generator")
    metadata: dict[str, object] = {
        "library_name": "pytorch",
        "pipeline_tag": "unconditional-image-generation",
        "tags": tags(),
        **({} if licence is None else {"license": licence}),
    }
    parts = [
        f"# {plain(name)}",
        f"{what}, by privgen (after [arXiv 2601.15061](https://arxiv.org/abs/2601.15061)). It makes {height}×{width} "
        f"{'grey' if channels == 1 else 'RGB'} images of {len(classes)} classes: {', '.join(classes)}.",
        *(["![Images that this model made, one column a class](samples.png)"] if samples else []),
        "## What is promised of its training data",
        promised(release),
        f"| | |\n|---|---|\n| training data | {data}, {size} |\n| unit of privacy | one record |\n"
        f"| neighbouring data sets | {release.state.budget.neighbouring.value} |\n"
        f"| steps | {release.state.steps_charged} charged |",
        "To verify it yourself: `pip install privgen`, then `privgen audit ledger.jsonl` in this folder. The audit "
        "lists what it checked and what has to be taken on trust.",
        "## How to use it",
        "```python\nfrom modeling_privgen import load  # needs torch alone\n\nimages = load()(100, seed=0)  "
        f"# (100, {height}, {width}, {channels}) uint8\n```",
        "Making images costs no privacy, however many are made.",
        "## Intended use",
        "Synthetic images in the place of sensitive ones: to develop and test software, to pretrain, to teach, to "
        "share where the training data may not be shared.",
        "## Limits",
        "Noise hides single records, and with them what is rare: small classes, unusual images and fine detail come "
        "out worse than common ones. Do not draw conclusions about single people from an image, nor medical ones from "
        "any. A second model of the same records costs privacy again: the ε of both add up.",
        "## Evaluation",
        "No figure is given that was computed from the private data: such a figure would itself be a release. "
        "`privgen evaluate` measures this model against public data, or for those who hold the private data.",
    ]
    return front_matter(metadata) + "\n" + "\n\n".join(parts) + "\n"
