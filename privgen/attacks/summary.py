"""What an empirical audit found, for a report and for a script. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from accountant.bound_text import exact_text, lower_text, upper_text
from privgen.attacks.membership import RATES, Membership
from privgen.attacks.one_run import CanaryFinding
from privgen.report.content import Block, Paragraph, Report, Section, Table
from privgen.report.text import plain

if TYPE_CHECKING:
    from privgen.attacks.mechanism import Finding

_HEAD = ("What was attacked", "δ", "Shown", "Certified", "Claimed", "How sure")


@dataclass(frozen=True, kw_only=True, slots=True)
class Empirical:
    """All that was found.

    Args:
        findings: of the release code, against noise of kind `noise`. canaries: of a run's canaries.
        memberships: against the generator. notes: what was not done, and why.
    """

    findings: tuple[Finding, ...]
    noise: str
    canaries: tuple[CanaryFinding, ...] = ()
    memberships: tuple[Membership, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether no lower bound is above what is certified."""
        return all(one.holds for one in self.findings) and all(one.holds for one in self.canaries)

    @property
    def seconds(self) -> float:
        """That the attacks took."""
        # The rows of one attack differ in δ alone and share its trials.
        mechanism = sum({finding.what: finding.seconds for finding in self.findings}.values())
        return mechanism + sum(membership.seconds for membership in self.memberships)

    def to_json(self) -> dict[str, Any]:
        """The value of an audit's key `empirical`; memberships marked private are statistics of real records."""
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
        private: whether it stays in the house: what is made of real records is left out of others.
    """
    sections = [_mechanism(found)]
    if found.canaries:
        sections.append(_canaries(found.canaries))
    shown = [one for one in found.memberships if private or not one.private]
    notes = list(found.notes)
    if len(shown) < len(found.memberships):
        notes.append("Membership of real records is a statistic of the data: only the terminal shows it.")
    blocks: list[Block] = [block for one in shown for block in _membership(one)]
    blocks += [Paragraph(text=plain(note)) for note in notes]
    if shown:
        text = "Records are told by their distance to the nearest generated image. A weak result proves nothing."
        blocks.insert(0, Paragraph(text=text))
    if blocks:
        sections.append(Section(key="membership", title="Membership inference", blocks=tuple(blocks)))
    return tuple(sections)


def empirical_report(found: Empirical) -> Report:
    """The sections as a report of its own, for the terminal: it stays in the house."""
    says = (
        "nothing above what is certified"
        if found.holds
        else "MORE THAN IS CERTIFIED: the code does not do what is charged"
    )
    return Report(
        title="Empirical audit",
        tone="passed" if found.holds else "failed",
        headline=f"Attacks show {says}",
        summary=f"It took {found.seconds:.0f} seconds.",
        figures=(),
        sections=empirical_sections(found, private=True),
    )


def _mechanism(found: Empirical) -> Section:
    claims = any(finding.claimed is not None for finding in found.findings)
    columns = [index for index, name in enumerate(_HEAD) if claims or name != "Claimed"]
    rows = tuple(tuple(_row(finding)[index] for index in columns) for finding in found.findings)
    table = Table(caption="Lower bounds on ε", head=tuple(_HEAD[index] for index in columns), rows=rows)
    text = Paragraph(
        text="A worst-case record, present and absent, was put through the release code many times. No ε below what is "
        "shown is true of these steps, with the confidence of each row by itself; a figure above the certified one "
        f"would prove a fault. Attacks that were not tried may show more. All of it took {found.seconds:.0f} seconds."
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
        f"ε ≤ {upper_text(finding.certified)}{'' if finding.holds else ', which is REFUTED'}",
        claimed,
        f"{lower.confidence:.5g} confidence, {lower.trials} trials",
    )


def _canaries(findings: tuple[CanaryFinding, ...]) -> Section:
    text = (
        "Records that are nobody's were planted, each in or out of the training by a fair coin that only the private "
        "folder knows. Who guesses more coins than an ε allows refutes it (Steinke, Nasr & Jagielski 2023, theorem "
        "5.2). One run with so many canaries cannot show much, however large ε is; it watches the training itself."
    )
    rows = tuple(
        (
            finding.what,
            f"δ = {exact_text(finding.lower.delta)}",
            f"ε ≥ {lower_text(finding.lower.epsilon)}",
            f"ε ≤ {upper_text(finding.certified)}{'' if finding.holds else ', which is REFUTED'}",
            f"{finding.lower.correct} of {finding.lower.guesses} guesses right, {finding.lower.canaries} canaries",
            f"{finding.lower.confidence:.5g} confidence",
        )
        for finding in findings
    )
    head = ("What was looked at", "δ", "Shown", "Certified", "Guesses", "How sure")
    table = Table(caption="The whole run, by its canaries", head=head, rows=rows)
    return Section(key="canaries", title="One-run audit", blocks=(Paragraph(text=text), table))


def _membership(one: Membership) -> tuple[Paragraph, Table]:
    """The ROC curve at a few rates of false positives, and its area."""
    private = " Private: made of real records." if one.private else ""
    who = Paragraph(text=f"Told apart: {plain(one.what)}.{private}")
    rows = [_rate(one, rate) for rate in RATES]
    rows.append(("area under the ROC curve", f"{one.roc.area:.3f}", "0.5 is guessing"))
    counts = f"{one.members} members, {one.others} others, {one.generated} generated images"
    rows.append(("compared", counts, f"{one.seconds:.0f} seconds"))
    return who, Table(caption="ROC curve", head=("at", "found", "how sure"), rows=tuple(rows))


def _rate(one: Membership, rate: float) -> tuple[str, str, str]:
    low, high = one.bounds(rate, confidence=0.95)
    few = "" if one.others >= 1 / rate else f"; {one.others} others are too few for this rate: none of them is accused"
    found = f"TPR {one.roc.true_positive_rate(rate):.2%}"
    return f"{rate:.1%} FPR", found, f"{low:.2%} to {high:.2%} at 0.95 confidence{few}"
