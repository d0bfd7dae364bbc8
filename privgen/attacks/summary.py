"""The result of an empirical audit, for reports and for scripts. Does not import torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from accountant.bound_text import exact_text, lower_text, upper_text
from privgen.attacks.membership import RATES, Membership
from privgen.attacks.one_run import CanaryFinding
from privgen.report.document import Block, Paragraph, Report, Section, Table
from privgen.report.risk import reached_section
from privgen.report.text import plain

if TYPE_CHECKING:
    from accountant.audit.risk import Risks
    from privgen.attacks.mechanism import Finding

_HEAD = ("What was attacked", "δ", "Shown", "Certified", "Claimed", "How sure")


@dataclass(frozen=True, kw_only=True, slots=True)
class Empirical:
    """Everything that was found.

    Args:
        findings: on the release code, with noise of kind `noise`. canaries: on a run's canaries.
        memberships: on the generator. notes: what was not done, and why.
    """

    findings: tuple[Finding, ...]
    noise: str
    canaries: tuple[CanaryFinding, ...] = ()
    memberships: tuple[Membership, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether no lower bound exceeds the certified ε."""
        return all(one.holds for one in self.findings) and all(one.holds for one in self.canaries)

    @property
    def seconds(self) -> float:
        """The time that the attacks took."""
        # The rows of an attack differ only in δ and share its trials.
        mechanism = sum({finding.what: finding.seconds for finding in self.findings}.values())
        return mechanism + sum(membership.seconds for membership in self.memberships)

    def to_json(self) -> dict[str, Any]:
        """An audit's `empirical`; memberships that are marked private are unprotected statistics of real records."""
        return {
            "holds": self.holds,
            "noise": self.noise,
            "seconds": round(self.seconds, 2),
            "findings": [finding.to_json() for finding in self.findings],
            "canaries": [finding.to_json() for finding in self.canaries],
            "membership": [membership.to_json() for membership in self.memberships],
            "notes": list(self.notes),
        }


def empirical_sections(found: Empirical, *, private: bool) -> tuple[Section, ...]:
    """Sections for a run's report.

    Args:
        private: whether the report stays private; from others, what is computed from real records is omitted.
    """
    sections = [_mechanism(found)]
    if found.canaries:
        sections.append(_canaries(found.canaries))
    shown = [one for one in found.memberships if private or not one.private]
    notes = list(found.notes)
    if len(shown) < len(found.memberships):
        notes.append("Membership inference on real records is a statistic of the data, so only the terminal shows it.")
    blocks: list[Block] = [block for one in shown for block in _membership(one)]
    blocks += [Paragraph(text=plain(note)) for note in notes]
    if shown:
        text = (
            "Records are distinguished by their distance to the nearest generated image. A weak result proves nothing."
        )
        blocks.insert(0, Paragraph(text=text))
    if blocks:
        sections.append(Section(key="membership", title="Membership inference", blocks=tuple(blocks)))
    return tuple(sections)


def reached_sections(risks: Risks | None, found: Empirical, *, private: bool) -> tuple[Section, ...]:
    """What the attacks on the generator found beside what any attack could; none where nothing may be shown.

    Args:
        risks: of what is released, or None. private: as for `empirical_sections`.
    """
    shown = [one for one in found.memberships if private or not one.private]
    return (reached_section(risks, shown),) if risks is not None and shown else ()


def empirical_report(found: Empirical, risks: Risks | None = None) -> Report:
    """The sections as a separate report for the terminal; it must stay private.

    Args:
        risks: of what is released, to be held beside what was reached.
    """
    says = (
        "no ε above the certified one"
        if found.holds
        else "MORE THAN IS CERTIFIED: the code does not do what is charged"
    )
    return Report(
        title="Empirical audit",
        tone="passed" if found.holds else "failed",
        headline=f"Attacks show {says}",
        summary=f"It took {found.seconds:.0f} seconds.",
        figures=(),
        sections=(*empirical_sections(found, private=True), *reached_sections(risks, found, private=True)),
    )


def _mechanism(found: Empirical) -> Section:
    claims = any(finding.claimed is not None for finding in found.findings)
    columns = [index for index, name in enumerate(_HEAD) if claims or name != "Claimed"]
    rows = tuple(tuple(_row(finding)[index] for index in columns) for finding in found.findings)
    table = Table(caption="Lower bounds on ε", head=tuple(_HEAD[index] for index in columns), rows=rows)
    text = Paragraph(
        text="A worst-case record was put through the release code many times, and so was its absence. No ε below the "
        "figure shown is true of these steps, with the confidence of its row; a figure above the certified ε would "
        f"prove a fault. Attacks that were not tried may show more. All of it took {found.seconds:.0f} seconds."
    )
    return Section(key="empirical", title="Empirical audit", blocks=(text, table))


def _row(finding: Finding) -> tuple[str, ...]:
    lower = finding.lower
    claimed = "" if finding.claimed is None else f"claimed ε = {upper_text(finding.claimed)}"
    if finding.claimed is not None and lower.epsilon > finding.claimed:
        claimed += ", which is refuted"
    return (
        f"{finding.what}, {finding.steps} steps",
        f"δ = {exact_text(lower.delta)}",
        f"ε ≥ {lower_text(lower.epsilon)}",
        f"ε ≤ {upper_text(finding.certified)}{_refuted(finding)}",
        claimed,
        f"{lower.confidence:.5g} confidence, {lower.trials} trials",
    )


def _refuted(finding: Finding) -> str:
    if finding.holds:
        return ""
    if finding.moved is not None and finding.moved > 1:
        return f", which is REFUTED: one record moves the sums {lower_text(finding.moved)} times as far as is charged"
    return ", which is REFUTED"


def _canaries(findings: tuple[CanaryFinding, ...]) -> Section:
    text = (
        "Made-up records, or vectors in every sum, were planted, each included or not by a fair coin that only the "
        "private folder knows. More "
        "correct guesses at the coins than an ε allows refute it (Steinke, Nasr & Jagielski 2023, theorem 5.2). More "
        "than a trade-off curve allows refute that curve, and more of them can be refuted (Mahloujifar, Melis & "
        "Chaudhuri 2024): shown is the ε of the run's own steps with so much more noise that their curve is just "
        "refuted, which is no proof against mechanisms with another curve. What is tested is the training itself."
    )
    rows = tuple(row for finding in findings for row in _canary_rows(finding))
    head = ("What was attacked", "δ", "Shown", "Certified", "Guesses", "How sure")
    table = Table(caption="The whole run, through its canaries", head=head, rows=rows)
    return Section(key="canaries", title="One-run audit", blocks=(Paragraph(text=text), table))


def _canary_rows(finding: CanaryFinding) -> Iterator[tuple[str, ...]]:
    """Of every mechanism with an (ε, δ), and of the run's own curve."""
    lower, curve = finding.lower, finding.curve
    certified = f"ε ≤ {upper_text(finding.certified)}"
    refuted = ", which is REFUTED"
    yield (
        finding.what,
        f"δ = {exact_text(lower.delta)}",
        f"ε ≥ {lower_text(lower.epsilon)}",
        f"{certified}{refuted if lower.epsilon > finding.certified else ''}",
        f"{lower.correct} of {lower.guesses} guesses right, {lower.canaries} canaries",
        f"{lower.confidence:.5g} confidence",
    )
    if curve is not None:
        noise = "no factor" if curve.noise == math.inf else f"{upper_text(curve.noise)} times"
        yield (
            f"the same, against its own trade-off curve at {noise} its noise",
            f"δ = {exact_text(curve.delta)}",
            f"the curve of ε = {lower_text(curve.epsilon)} is refuted",
            f"{certified}{refuted if curve.noise <= 1 else ''}",
            f"{curve.correct} of {curve.guesses} guesses right, {curve.canaries} canaries",
            f"{curve.confidence:.5g} confidence",
        )


def _membership(one: Membership) -> tuple[Paragraph, Table]:
    """The ROC curve at a few false-positive rates, and its area."""
    private = " Private: computed from real records." if one.private else ""
    who = Paragraph(text=f"Distinguishing {plain(one.what)}.{private}")
    rows = [_rate(one, rate) for rate in RATES]
    rows.append(("area under the ROC curve", f"{one.roc.area:.3f}", "0.5 is guessing"))
    counts = f"{one.members} members, {one.others} others, {one.generated} generated images"
    rows.append(("compared", counts, f"{one.seconds:.0f} seconds"))
    return who, Table(caption="ROC curve", head=("at", "found", "how sure"), rows=tuple(rows))


def _rate(one: Membership, rate: float) -> tuple[str, str, str]:
    low, high = one.bounds(rate, confidence=0.95)
    few = "" if one.others >= 1 / rate else f"; {one.others} others are too few for this rate, so that none is accused"
    found = f"TPR {one.roc.true_positive_rate(rate):.2%}"
    return f"{rate:.1%} FPR", found, f"{low:.2%} to {high:.2%} at 0.95 confidence{few}"
