"""A plan as a table for the terminal: the recommendation on top, then every value and how it was chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from accountant.plan import Feedback, Plan

if TYPE_CHECKING:
    from planners import Search


def render_plan(plan: Plan, console: Console) -> None:
    """Print a plan.

    Args:
        plan: what was planned. console: where to.
    """
    console.print(
        f"[bold]Run {plan.iterations} steps of expected batch {plan.expected_batch_size:.6g} with noise multiplier "
        f"{plan.noise_multiplier:.4f}[/bold] for ε = {plan.epsilon:g} at δ = {plan.delta:g} "
        f"({plan.neighbouring.value})."
    )
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for name, value, chosen in _rows(plan):
        table.add_row(name, escape(value), f"[dim]{escape(chosen)}[/dim]")
    console.print(table)
    parts = Table(box=None, padding=(0, 2, 0, 0), title="Released together each step", title_justify="left")
    for heading in ("part", "noise multiplier", "clip norm C1", "residual R" if _banded(plan) else "feedback C2"):
        parts.add_column(heading)
    for part in plan.parts:
        fed = part.residual_clip_norm if _banded(plan) else part.feedback_clip_norm
        parts.add_row(escape(part.name), f"{part.noise_multiplier:.4f}", f"{part.clip_norm:g}", f"{fed:g}")
    console.print(parts)


def render_search(search: Search, console: Console) -> None:
    """Print the Pareto front of a joint search, the recommendation marked.

    Args:
        search: what was found. console: where to.
    """
    console.print(f"Recommended of the choices below: {search.reason}.")
    table = Table(box=None, padding=(0, 2, 0, 0), title="No other choice beats these in both", title_justify="left")
    for heading in ("", "batch", "steps", "noise multiplier", "signal to noise", "· √steps", search.unit):
        table.add_column(heading, justify="right")
    for choice in search.front:
        mark = "→" if choice == search.recommended else ""
        compute = f"{choice.compute:.0f}" if search.unit == "seconds" else f"{choice.compute:.3g}"
        table.add_row(
            mark, str(choice.batch_size), str(choice.iterations), f"{choice.noise_multiplier:.4f}",
            f"{choice.signal_to_noise:.0f}", f"{choice.proxy:.0f}", compute,
        )  # fmt: skip
    console.print(table)


def _banded(plan: Plan) -> bool:
    return plan.feedback is Feedback.BANDED


def _rows(plan: Plan) -> list[tuple[str, str, str]]:
    why = plan.defaults
    passes = plan.iterations * plan.sampling_rate
    feedback = f"banded, {plan.bands} bands" if _banded(plan) else plan.feedback.value
    rows = [
        ("data set", f"{plan.dataset or 'not named'}, N = {plan.dataset_size}", why.get("dataset_size", "")),
        ("delta", f"{plan.delta:g}", why.get("delta", "given")),
        ("sampling rate", f"{plan.sampling_rate:.6g}", why.get("sampling_rate", "given")),
        ("iterations", f"{plan.iterations} ({passes:.1f} expected passes)", why.get("iterations", "given")),
        ("noise multiplier", f"{plan.noise_multiplier:.6f}", why.get("noise_multiplier", "given")),
        ("feedback", feedback, why.get("bands", why.get("feedback_ratio", ""))),
        ("noise per step", f"{noise_to_batch(plan):.4g} of the largest share that one record can have in the mean", ""),
    ]
    if plan.verified is not None:
        rows.append(("verified by RDP", f"ε ≤ {plan.verified.rdp:.4f}", ""))
        prv = plan.verified.prv
        if prv is not None:
            rows.append(("verified by PRV", f"{prv.lower:.4f} ≤ ε ≤ {prv.upper:.4f}", ""))
    return rows


def noise_to_batch(plan: Plan) -> float:
    """Noise std ÷ (total clip norm · B): how much of a unanimous batch's mean each coordinate's noise is."""
    part = plan.parts[0]
    total = part.clip_norm + part.residual_clip_norm
    return part.noise_multiplier * part.sensitivity(plan.bands) / (total * plan.expected_batch_size)
