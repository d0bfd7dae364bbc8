"""A plan as tables for the terminal: the recommendation first, then every value and how it was chosen."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from accountant.bound_text import lower_text, upper_text
from accountant.plans.parts import Feedback, Phase
from accountant.plans.plan import Plan

if TYPE_CHECKING:
    from planners import Affordable, Choice, Search

_BANDED = ("bands", "R/C1", "saved", "delay")
_CLASSES_SHOWN = 12


def render_plan(plan: Plan, console: Console, notes: Sequence[tuple[str, str, str]] = ()) -> None:
    """Print a plan.

    Args:
        plan: to print. console: to print it on. notes: further rows (name, value, reason).
    """
    batch = _over_phases(plan, "sampling_rate", plan.dataset_size)
    console.print(
        f"[bold]Run {plan.iterations} steps of expected batch {batch} with noise multiplier "
        f"{_over_phases(plan, 'noise_multiplier')}[/bold] for ε = {plan.epsilon:g} at δ = {plan.delta:g} "
        f"({plan.neighbouring.value}).",
        soft_wrap=True,
    )
    table = _table(show_header=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    for name, value, chosen in (*_rows(plan), *notes):
        table.add_row(name, escape(value), f"[dim]{escape(chosen)}[/dim]")
    console.print(table)
    if plan.phases:
        console.print(_phases(plan))
    parts = _table(title="Released together each step" + (" (noise of the first phase)" if plan.phases else ""))
    for heading in ("part", "noise multiplier", "clip norm C1", "residual R" if _banded(plan) else "feedback C2"):
        parts.add_column(heading, overflow="fold")
    for part in plan.parts:
        fed = part.residual_clip_norm if _banded(plan) else part.feedback_clip_norm
        parts.add_row(escape(part.name), f"{part.noise_multiplier:.4f}", f"{part.clip_norm:g}", f"{fed:g}")
    console.print(parts)


def render_affordable(rows: Sequence[Affordable], console: Console) -> None:
    """Print the largest C2 that a certified budget affords.

    Args:
        rows: one for each noise multiplier. console: to print on.
    """
    table = _table(title="What C2 this certified budget could afford, by RDP")
    for heading in ("noise multiplier", "relative to no feedback", "largest C2", "ρ = 2·C2·B/C1", "ε claimed"):
        table.add_column(heading, justify="right", overflow="fold")
    for row in rows:
        table.add_row(
            f"{row.noise_multiplier:.4f}", f"× {row.times:g}", f"{row.feedback_clip_norm:.2e}",
            f"{row.feedback_ratio:.4f}", f"{row.claimed:.3f}",
        )  # fmt: skip
    console.print(table)


def render_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of text in the form of the plan's others."""
    table = _table(title=title)
    for number, heading in enumerate(head):
        table.add_column(heading, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    return table


def _table(**options: Any) -> Table:
    return Table(box=None, padding=(0, 2, 0, 0), title_justify="left", **options)


def _over_phases(plan: Plan, name: str, scale: float = 1.0) -> str:
    """A value of the plan, or its values in all phases."""
    digits = ".4f" if name == "noise_multiplier" else ".6g"
    values = [format(getattr(phase, name) * scale, digits) for phase in plan.schedule()]
    return " → ".join(value for value, _ in itertools.groupby(values))


def _phases(plan: Plan) -> Table:
    table = _table(title="Phases")
    for heading in ("steps", "expected batch", "noise multiplier", "noise per step"):
        table.add_column(heading, justify="right", overflow="fold")
    start = 0
    for phase in plan.schedule():
        end = start + phase.iterations
        table.add_row(
            f"{start + 1} to {end}", f"{phase.sampling_rate * plan.dataset_size:.6g}",
            f"{phase.noise_multiplier:.4f}", f"{noise_to_batch(plan, phase):.4g}",
        )  # fmt: skip
        start = end
    return table


def render_search(search: Search, console: Console) -> None:
    """Print the Pareto front of a joint search with the recommendation marked, and the other bands that were tried.

    Args:
        search: to print. console: to print it on.
    """
    console.print(f"Recommended of the choices below: {search.reason}.", soft_wrap=True)
    console.print(_choices("No other choice is better in both compute and proxy", search.front, search))
    if len(search.alternatives) > 1:
        title = "Bands and R/C1 at the recommended batch and steps"
        console.print(_choices(title, search.alternatives, search))


def _choices(title: str, choices: Sequence[Choice], search: Search) -> Table:
    # Without banded feedback these columns are empty.
    banded = any(choice.bands > 1 for choice in (*search.front, *search.alternatives))
    table = Table(box=None, padding=(0, 1, 0, 0), title_justify="left", title=title)
    for heading in (
        "",
        "batch",
        "steps",
        *(_BANDED if banded else ()),
        "noise z",
        "signal/noise",
        "proxy",
        search.unit,
    ):
        table.add_column(heading, justify="right", overflow="fold")
    for choice in choices:
        of_bands = (
            str(choice.bands), f"{choice.residual_ratio:g}", f"{choice.noise_saved:.0%}", f"{choice.delay:.2g}",
        )  # fmt: skip
        table.add_row(
            "→" if choice == search.recommended else "",
            str(choice.batch_size),
            str(choice.iterations),
            *(of_bands if banded else ()),
            f"{choice.noise_multiplier:.4f}",
            f"{choice.signal_to_noise:.0f}",
            f"{choice.proxy:.0f}",
            f"{choice.compute:.0f}" if search.unit == "seconds" else _in_short(choice.compute),
        )
    return table


def _in_short(count: float) -> str:
    """6030000 as 6.03 M."""
    scale, unit = (1e6, " M") if count >= 1e6 else (1e3, " k")
    return f"{count / scale:.3g}{unit}"


def _banded(plan: Plan) -> bool:
    return plan.feedback is Feedback.BANDED


def _rows(plan: Plan) -> list[tuple[str, str, str]]:
    why = plan.defaults
    passes = sum(phase.iterations * phase.sampling_rate for phase in plan.schedule())
    feedback = (
        f"banded, {plan.bands} band{'s' if plan.bands > 1 else ' (DP-SGD)'}" if _banded(plan) else plan.feedback.value
    )
    noise = noise_to_batch(plan, plan.schedule()[0])
    rows = [
        ("data set", f"{plan.dataset or 'not named'}, N = {plan.dataset_size}", why.get("dataset_size", "")),
        (
            "method",
            plan.method if plan.preset is None else f"{plan.method}, preset {plan.preset}",
            why.get("method", ""),
        ),
        *_public_facts(plan),
        ("delta", f"{plan.delta:g}", why.get("delta", "given")),
        ("sampling rate", _over_phases(plan, "sampling_rate"), why.get("sampling_rate", "given")),
        ("iterations", f"{plan.iterations} ({passes:.1f} expected passes)", why.get("iterations", "given")),
        ("noise multiplier", _over_phases(plan, "noise_multiplier"), why.get("noise_multiplier", "given")),
        ("feedback", feedback, why.get("bands", why.get("feedback_ratio", ""))),
        ("noise per step", f"{noise:.4g} of the largest contribution of one record to the mean", ""),
    ]
    if plan.warm_start is not None:
        warm = plan.warm_start
        value = f"{warm.steps} releases of class statistics, joint noise multiplier {warm.noise_multiplier:.4f}"
        rows.append(("warm start", value, why.get("warm_start", "given")))
    elif "warm_start" in why:
        rows.append(("warm start", "none", why["warm_start"].removeprefix("none: ")))
    if plan.verified is not None:
        # The published feedback has a claimed ε as well as the proved one.
        proved = "certified" if plan.feedback is Feedback.PAPER else "verified"
        rows.append((f"{proved} by RDP", f"ε ≤ {upper_text(plan.verified.rdp)}", ""))
        prv = plan.verified.prv
        if prv is not None:
            rows.append((f"{proved} by PRV", f"{lower_text(prv.lower)} ≤ ε ≤ {upper_text(prv.upper)}", ""))
    return rows


def _public_facts(plan: Plan) -> list[tuple[str, str, str]]:
    """What is public of the data besides N."""
    facts = plan.public_facts
    if facts is None:
        return []
    names = ", ".join(facts.classes[:_CLASSES_SHOWN]) + (", …" if len(facts.classes) > _CLASSES_SHOWN else "")
    why = plan.defaults.get("public_facts", "stated")
    return [("classes", f"{len(facts.classes)}: {names}", why), ("images", facts.images, why)]


def noise_to_batch(plan: Plan, phase: Phase) -> float:
    """Noise std ÷ (total clip norm · B): a coordinate's noise relative to the mean of a batch that agrees."""
    part = plan.parts_in(phase)[0]
    total = part.clip_norm + part.residual_clip_norm
    batch = phase.sampling_rate * plan.dataset_size
    return part.noise_multiplier * part.sensitivity(plan.bands) / (total * batch)
