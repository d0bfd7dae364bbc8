"""An audit as a table for the terminal."""

from __future__ import annotations

import io

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from accountant.audit import Audit

_STYLE = {"passed": "bold green", "incomplete": "bold yellow", "failed": "bold red", "not-checked": "yellow"}
_MARK = {"passed": "✓", "failed": "✗", "not-checked": "–"}
_HELD = {"checked": "checked", "by-construction": "enforced by construction", "on-trust": "taken on trust"}


def render_audit(audit: Audit, *, colour: bool = True, width: int = 110) -> str:
    """The audit as text; verdict first.

    Args:
        audit: what was found. colour: with terminal colours. width: characters a line.
    """
    buffer = io.StringIO()
    console = Console(file=buffer, force_terminal=colour, no_color=not colour, width=width, highlight=False)
    console.print(Text(f"Verdict: {audit.verdict.upper()}", style=_STYLE[audit.verdict]), end="")
    console.print(f"   run {escape(audit.run)}\n")
    if audit.state is not None and audit.spent is not None:
        console.print(_summary(audit))
    console.print(_checks(audit))
    if audit.assumptions:
        console.print(_assumptions(audit))
    return buffer.getvalue()


def _summary(audit: Audit) -> Table:
    state, spent = audit.state, audit.spent
    budget = state.budget
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row(
        "promised",
        f"ε = {budget.epsilon:g}, δ = {budget.delta:g}, {budget.neighbouring.value}, unit: one record",
    )
    table.add_row("spent", f"ε = {spent.epsilon:.4f}  (the smaller of the two upper bounds)")
    table.add_row("  by RDP", f"ε ≤ {spent.rdp:.4f}")
    if spent.prv is None:
        table.add_row("  by PRV", escape(f"no sound answer here: {spent.fallback}"))
    else:
        table.add_row("  by PRV", f"{spent.prv.lower:.4f} ≤ ε ≤ {spent.prv.upper:.4f}")
    planned = "no plan" if state.plan is None else f"{state.plan.iterations} planned"
    table.add_row(
        "steps", f"{state.steps_done} done, {state.steps_charged} charged, {planned}, {state.resumes} resumes"
    )
    table.add_row("halted", escape(state.halted or "no: the ledger does not end in a halt, the run may go on"))
    return table


def _checks(audit: Audit) -> Table:
    table = Table(title="Checks", title_justify="left", box=None, padding=(0, 2, 0, 0), show_header=False)
    for check in audit.checks:
        mark = Text(_MARK[check.status], style=_STYLE[check.status])
        table.add_row(mark, escape(check.name), escape(check.detail))
    return table


def _assumptions(audit: Audit) -> Table:
    table = Table(
        title="What the theorem needs",
        title_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
        show_header=False,
    )
    for assumption in audit.assumptions:
        table.add_row(_HELD[assumption.held], escape(assumption.text))
    return table
