"""Second opinions as a section of a report."""

from __future__ import annotations

from accountant.audit.referee import AGREES, SILENT, Opinion, disagreement
from accountant.bound_text import lower_text, upper_text
from privgen.report.document import Paragraph, Report, Section, Table
from privgen.report.text import plain


def referee_section(opinions: tuple[Opinion, ...]) -> Section:
    """One row an accountant: what it says, and what is known to be wrong with it."""
    rows = tuple(
        (
            f"{one.who} {one.version or ''}".strip(),
            _interval(one),
            one.status if one.status != SILENT else f"{SILENT}: {plain(one.reason)}",
            one.reason if one.status != SILENT else "",
            one.faults,
        )
        for one in opinions
    )
    table = Table(
        caption="The same steps by other accountants",
        head=("Accountant", "ε", "Verdict", "How", "Known faults"),
        rows=rows,
    )
    text = Paragraph(
        text="Recomputed from the ledger alone. An opinion disagrees when its bounds and ours cannot both be true."
    )
    return Section(key="referee", title="Second opinions", blocks=(text, table))


def referee_report(opinions: tuple[Opinion, ...]) -> Report:
    """The section as a report of its own, for the terminal."""
    contradicts = disagreement(opinions)
    asked = sum(one.status == AGREES for one in opinions[1:])
    return Report(
        title="Referee",
        tone="failed" if contradicts else "passed",
        headline=f"{contradicts.who} DISAGREES" if contradicts else f"{asked} other accountants agree",
        summary=plain(contradicts.reason) if contradicts else "Each within the errors that it states.",
        figures=(),
        sections=(referee_section(opinions),),
    )


def _interval(one: Opinion) -> str:
    if one.upper is None:
        return "—"
    upper = upper_text(one.upper)
    return f"ε ≤ {upper}" if one.lower is None else f"{lower_text(one.lower)} ≤ ε ≤ {upper}"
