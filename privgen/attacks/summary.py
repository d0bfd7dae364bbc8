"""What an empirical audit found, for a report and for a script. Loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accountant.rounding import exact_text, lower_text, upper_text
from privgen.report.content import Paragraph, Report, Section, Table

if TYPE_CHECKING:
    from privgen.attacks.mechanism import Finding

_HEAD = ("What was attacked", "δ", "Shown", "Certified", "Claimed", "How sure")


def findings_to_json(findings: tuple[Finding, ...], *, noise: str) -> dict[str, Any]:
    """{holds, noise, seconds, findings}: the value of an audit's key `empirical`.

    Args:
        noise: kind of the noise that was attacked.
    """
    return {
        "holds": all(finding.holds for finding in findings),
        "noise": noise,
        "seconds": round(_seconds(findings), 2),
        "findings": [finding.to_json() for finding in findings],
    }


def findings_section(findings: tuple[Finding, ...]) -> Section:
    """A section for a run's report."""
    claims = any(finding.claimed is not None for finding in findings)
    columns = [index for index, name in enumerate(_HEAD) if claims or name != "Claimed"]
    rows = tuple(tuple(_row(finding)[index] for index in columns) for finding in findings)
    table = Table(caption="Lower bounds on ε", head=tuple(_HEAD[index] for index in columns), rows=rows)
    text = Paragraph(
        text="A worst-case record, present and absent, was put through the release code many times. No ε below what is "
        "shown is true of these steps, with the confidence of each row by itself; a figure above the certified one "
        f"would prove a fault. Attacks that were not tried may show more. It took {_seconds(findings):.0f} seconds."
    )
    return Section(key="empirical", title="Empirical audit", blocks=(text, table))


def findings_report(findings: tuple[Finding, ...]) -> Report:
    """The section as a report of its own."""
    holds = all(finding.holds for finding in findings)
    says = (
        "nothing above what is certified" if holds else "MORE THAN IS CERTIFIED: the code does not do what is charged"
    )
    return Report(
        title="Empirical audit",
        tone="passed" if holds else "failed",
        headline=f"Attacks show {says}",
        summary="The release code, on worst-case neighbours.",
        figures=(),
        sections=(findings_section(findings),),
    )


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


def _seconds(findings: tuple[Finding, ...]) -> float:
    # The rows of one attack differ in δ alone and share its trials.
    return sum({finding.what: finding.seconds for finding in findings}.values())
