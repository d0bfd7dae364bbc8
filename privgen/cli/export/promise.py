"""What a card says of privacy: the same sentences under a model and under a data set that it made."""

from __future__ import annotations

from accountant.audit.risk import risks_of_guarantee
from accountant.bound_text import exact_text, upper_text
from privgen.cli.export.guarded import GuardedRelease
from privgen.report.risk import in_words

UNIT = "one record (one image with its label)"


def promised(release: GuardedRelease) -> str:
    """The guarantee, for whom, and what it means, as Markdown."""
    found, budget = release.guarantee, release.state.budget
    delta = exact_text(budget.delta)
    means = in_words(risks_of_guarantee(found, budget, (1,)), epsilon=found.epsilon, delta=budget.delta)
    promise = f"({exact_text(budget.epsilon)}, {delta})"
    return (
        f"It is **({upper_text(found.epsilon)}, {delta})-differentially private** for {UNIT}, "
        f"{budget.neighbouring.value}; {promise} was promised before training. {means}\n\n"
        "The bound was recomputed from the run's ledger, and is of the code that ran, floating point included. It "
        "speaks of one record: somebody with several images in the data is protected less, and what is true of many "
        "records, such as how a class looks, is learned and not hidden."
    )


def tags() -> list[str]:
    """What a card is found by."""
    return ["differential-privacy", "synthetic-data", "image-generation", "privgen"]


def front_matter(values: dict[str, object]) -> str:
    """The metadata with which a card begins, in YAML."""
    import yaml

    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---\n"
