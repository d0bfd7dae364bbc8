"""An audit, or the report of a claim, as tables for the terminal."""

from __future__ import annotations

import io

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from accountant.audit.audit import Audit
from accountant.composition.certified import Certified
from accountant.ledger.state import LedgerState
from privgen.report import document
from privgen.report.content import HELD, spend_rows, tone_of
from privgen.report.document import HOLDS, Code, Paragraph, Report
from privgen.report.plan import render_table
from privgen.report.risk import CAPTION, how_to_read, in_words, risk_head, risk_rows
from privgen.report.text import plain

_STYLE = {
    "passed": "bold green",
    HOLDS: "bold",
    "incomplete": "bold yellow",
    "failed": "bold red",
    "not-checked": "yellow",
}
# Cells that are seen at once.
_LOUD = ("FAILED", "WITHOUT PRIVACY")
_MARK = {"passed": "✓", "failed": "✗", "not-checked": "–"}


def render_audit(audit: Audit, *, colour: bool = True, width: int = 110) -> str:
    """The audit as text; verdict first.

    Args:
        audit: to show. colour: whether to use terminal colours. width: of a line, in characters.
    """
    buffer = io.StringIO()
    console = Console(file=buffer, force_terminal=colour, no_color=not colour, width=width, highlight=False)
    console.print(Text(f"Verdict: {audit.verdict.upper()}", style=_STYLE[tone_of(audit)]), end="")
    console.print(f"   run {escape(plain(audit.run))}\n")
    if audit.state is not None and audit.spent is not None:
        console.print(_summary(audit, audit.state, audit.spent))
        _print_risk(audit, audit.state, console)
    console.print(_checks(audit))
    if audit.assumptions:
        console.print(_assumptions(audit))
    return buffer.getvalue()


def render_report(report: Report, *, colour: bool = True, width: int = 110) -> str:
    """A report as text: headline, summary, then its tables and paragraphs.

    Args:
        report: to show. colour: whether to use terminal colours. width: of a line, in characters.
    """
    buffer = io.StringIO()
    console = Console(file=buffer, force_terminal=colour, no_color=not colour, width=width, highlight=False)
    console.print(Text(report.headline, style=_STYLE[report.tone]))
    console.print(Text(f"{report.title}. {report.summary}"))
    for section in report.sections:
        for block in section.blocks:
            console.print()
            console.print(Text(block.text) if isinstance(block, Paragraph | Code) else _generic(block))
    return buffer.getvalue()


def _table(columns: int, title: str | None = None, head: tuple[str, ...] = ()) -> Table:
    """An empty table whose cells are folded where they are too long, never cut.

    Args:
        head: of each column, or nothing.
    """
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), show_header=bool(head))
    for name in head or ("",) * columns:
        table.add_column(escape(name), overflow="fold")
    return table


def _print_risk(audit: Audit, state: LedgerState, console: Console) -> None:
    """What the guarantee means for a person, where there is one."""
    if (risks := audit.risks) is None or audit.guarantee is None:
        return
    words = in_words(risks, epsilon=audit.guarantee.epsilon, delta=state.budget.delta)
    console.print(Text(f"\n{words}\n"))
    console.print(render_table(CAPTION, risk_head(), risk_rows(risks)))
    console.print(Text(f"{how_to_read(risks)}\n", style="dim"))


def _generic(block: document.Table) -> Table:
    head = block.head if block.headed else ()
    table = _table(len(block.head), title=escape(block.caption), head=head)
    for row in block.rows:
        table.add_row(*(Text(text, style=_STYLE["failed"] if text in _LOUD else "") for text in row))
    return table


def _summary(audit: Audit, state: LedgerState, spent: Certified) -> Table:
    table = _table(2)
    for name, value in spend_rows(audit, state, spent):
        table.add_row(name, escape(value))
    for share in audit.shares:
        by_feedback = "" if share.feedback is None else f", {share.feedback:.1%} by feedback"
        detail = f"{share.share:.1%} of the spend{by_feedback}; noise multiplier {share.noise_multiplier:.4f}"
        table.add_row(f"  {escape(plain(share.name))}", detail)
    return table


def _checks(audit: Audit) -> Table:
    table = _table(3, title="Checks")
    for check in audit.checks:
        mark = Text(_MARK[check.status], style=_STYLE[check.status])
        table.add_row(mark, escape(plain(check.name)), escape(plain(check.detail)))
    return table


def _assumptions(audit: Audit) -> Table:
    table = _table(2, title="What the theorem needs")
    for assumption in audit.assumptions:
        table.add_row(HELD[assumption.held], escape(plain(assumption.text)))
    return table
