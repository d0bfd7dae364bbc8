"""An evaluation's result as a table, for a terminal and as Markdown, with its protocol next to each number.

>>> result = {"protocol": "privgen-1", "deviations": [], "samples": 10000, "dataset": "mnist", "test_images": 10000,
...           "fid": {"value": 12.345, "features": "lenet", "real": 60000, "generated": 10000}}
>>> [(row.measure, row.value, row.protocol) for row in rows(result)]
[('FID by lenet', '12.35', 'privgen-1')]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from privgen.metrics.result import (
    AccuracySummary,
    CopyingResult,
    CoverageResult,
    EvaluationRecord,
    FidResult,
    InceptionScoreResult,
    KidResult,
)

Measure = tuple[str, str, str]
HEADINGS = ("measure", "value", "how", "protocol")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A number: its name, its value, how it was made and by which protocol; an asterisk marks departures from it."""

    measure: str
    value: str
    how: str
    protocol: str

    def cells(self) -> tuple[str, ...]:
        """In the order of HEADINGS."""
        return self.measure, self.value, self.how, self.protocol


def rows(result: EvaluationRecord) -> Iterator[Row]:
    """One row for each number, in a fixed order."""
    protocol = f"{result['protocol']} *" if result["deviations"] else result["protocol"]
    for measure, value, how in _measures(result):
        yield Row(measure=measure, value=value, how=how, protocol=protocol)


def _measures(result: EvaluationRecord) -> Iterator[Measure]:
    """The name and value of every number in the result, and how it was made."""
    test = f"{result['test_images']} real test images"
    made = f"{result['samples']} generated"
    yield from _accuracies("gen2real", f"trained on {made} images, tested on {test}", result.get("gen2real", {}))
    how = f"the ceiling: trained on as many real images, tested on {test}"
    yield from _accuracies("real2real", how, result.get("real2real", {}))
    how = f"trained on real images, tested on {made} ones; does not measure diversity"
    yield from _accuracies("real2gen", how, result.get("real2gen", {}))
    how = f"trained on the real images by DP-SGD, tested on {test}; nothing is generated"
    yield from _accuracies("classifier by", how, result.get("private_classifier", {}))
    if "fid" in result:
        yield _fid(result["fid"])
    if "kid" in result:
        yield _kid(result["kid"])
    if "is" in result:
        yield _inception_score(result["is"])
    if "coverage" in result:
        yield from _coverage(result["coverage"])
    if "copying" in result:
        yield from _copying(result["copying"])
    for name, numbers in result.get("further", {}).items():
        for key, value in numbers.items():
            yield f"{name}: {key}", f"{value:.4g}", f"{made} images"


def _accuracies(name: str, how: str, found: Mapping[str, AccuracySummary]) -> Iterator[Measure]:
    for classifier, summary in found.items():
        count = len(summary["values"])
        spread = f" ± {summary['std']:.2%}" if count > 1 else ""
        seeds = f"{count} seeds" if count > 1 else "one seed"
        by_chance = f"guessing the commonest class: {summary['chance']:.2%}"
        yield f"{name} {classifier}", f"{summary['mean']:.2%}{spread}", f"{how}; {seeds}; {by_chance}"


def _fid(found: FidResult) -> Measure:
    how = f"{found['generated']} generated against {found['real']} real training images"
    if "held_out" in found:
        how += f"; {found['held_out_images']} held-out real images: {found['held_out']:.2f}"
    return f"FID by {found['features']}", f"{found['value']:.2f}", how


def _kid(found: KidResult) -> Measure:
    how = f"{found['subsets']} subsets of {found['subset_size']} images, real training images"
    return f"KID by {found['features']}", f"{found['mean']:.4g} ± {found['std']:.2g}", how


def _inception_score(found: InceptionScoreResult) -> Measure:
    how = f"{found['classifier']}; {found['splits']} splits; at most {found['classes']}"
    return "IS", f"{found['mean']:.2f} ± {found['std']:.2f}", how


def _coverage(found: CoverageResult) -> Iterator[Measure]:
    by = f"{found['features']}, {found['generated']} generated, {found['real']} real training images"
    yield "precision", f"{found['precision']:.2%}", f"k = {found['k_precision']}, by {by}"
    yield "recall", f"{found['recall']:.2%}", f"k = {found['k_precision']}, by {by}"
    yield "density", f"{found['density']:.3f}", f"k = {found['k_coverage']}, by {by}"
    yield "coverage", f"{found['coverage']:.2%}", f"k = {found['k_coverage']}, by {by}"


def _copying(found: CopyingResult) -> Iterator[Measure]:
    near = f"nearest of {found['training']} training images by {found['features']}"
    yield (
        "copying: nearer than held-out",
        f"{found['nearer_than_held_out']:.1%}",
        f"{near}, against {found['held_out']} held-out images; fresh real images: 50 %",
    )
    yield (
        "copying: nearer than 1 % of held-out",
        f"{found['below_first_percent']:.1%}",
        f"{near}; fresh real images: 1 %",
    )
    yield (
        "copying: equal to a training image",
        f"{found['identical']} of {found['generated']}",
        f"pixel for pixel; held out: {found['held_out_identical']} of {found['held_out']}",
    )


def heading(result: EvaluationRecord) -> str:
    """What was measured against what, and the plan's budget if there is a plan."""
    plan = result["plan"]
    budget = f", planned ε = {plan['epsilon']:g}, δ = {plan['delta']:g}" if plan else ""
    return f"{result['images']} ({result['samples']} images{budget}) against {result['dataset']}"


def departures(result: EvaluationRecord) -> str | None:
    """What the asterisk means, or None if nothing departs from the protocol."""
    return f"* {result['protocol']}, but {' and '.join(result['deviations'])}" if result["deviations"] else None


def note(result: EvaluationRecord) -> str:
    """What the numbers cost in privacy."""
    whose = (
        "Private: do not publish it."
        if result["private"]
        else "May be published: the data set was declared public, including its training images."
    )
    return f"{result['privacy']} {whose}"


def markdown(result: EvaluationRecord) -> str:
    """The whole result for the appendix of a paper: the table, its privacy, and what the protocol fixes."""
    record = result["protocol_record"]
    table = ["| " + " | ".join(cells) + " |" for cells in (HEADINGS, ["---"] * 4, *(r.cells() for r in rows(result)))]
    marked = departures(result)
    fixed = [
        f"- generated images: {record['samples']}, classes {record['labels']}",
        *(f"- {name}: {about}" for name, about in record["classifiers"].items()),
        f"- features: {record['features'] or 'lenet for grey 28×28 images, otherwise pixels'}",
        f"- Inception Score by: {record['inception_score']}",
        f"- resize: {record['resize']}",
        f"- classifiers are tested on: {record['split']}",
        f"- selection: {record['selection']}",
        *(f"- departs from its source: {text}" for text in record["differs"]),
        *(f"- its source does not say: {text}" for text in record["unpublished"]),
        f"- sources: {'; '.join(record['sources'])}",
    ]
    budget = ["The ε is the plan's; `privgen audit` says what was spent."] if result["plan"] else []
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    parts = [
        f"# Evaluation: {heading(result)}",
        f"**{note(result)}**",
        *budget,
        "\n".join(table),
        *([marked.replace("*", "\\*", 1)] if marked else []),
        f"## Protocol {result['protocol']}",
        "\n".join(fixed),
        f"Computed with {versions}.",
    ]
    return "\n\n".join(parts) + "\n"
