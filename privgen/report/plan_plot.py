"""A plan as a plot: ε over the steps by RDP and by PRV, the target, and the Pareto front of a joint search."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from accountant.audit.epsilon_curves import epsilon_over_steps
from accountant.files import write_durably
from accountant.ledger.state import Segment
from accountant.plans.plan import Plan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from planners import Search

_COLOURS = {"RDP": "#00695c", "PRV": "#b25000"}


def plot_plan(plan: Plan, path: Path, search: Search | None = None) -> None:
    """Write a PNG.

    Args:
        plan: of one or several phases. path: to write to. search: if given, its Pareto front is plotted too.

    Raises:
        OSError: it cannot be written; an older file is left untouched.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11 if search else 6, 4.2), layout="constrained")
    axes = figure.subplots(1, 2 if search else 1, squeeze=False)[0]
    _spend(axes[0], plan)
    if search is not None:
        _front(axes[1], search)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_durably(path, buffer.getvalue())


def _spend(axes: Axes, plan: Plan) -> None:
    # As an audit would charge the whole plan.
    curve = epsilon_over_steps((Segment(event, steps, steps) for event, steps in plan.events()), plan.budget)
    for points, label, marker, dashes in ((curve.rdp, "RDP", None, "-"), (curve.prv, "PRV", "o", "--")):
        steps, epsilons = [p.step for p in points], [p.epsilon for p in points]
        axes.plot(steps, epsilons, label=label, color=_COLOURS[label], marker=marker, linestyle=dashes)
    axes.axhline(plan.epsilon, color="#555555", linewidth=1, label=f"target ε = {plan.epsilon:g}")
    axes.set(xlabel="steps", ylabel=f"ε spent at δ = {plan.delta:g} (upper bounds)", ylim=(0, None))
    start = 0
    for phase in plan.phases:
        if start:
            axes.axvline(start, color="#999999", linewidth=1, linestyle=":")
        axes.annotate(
            f"z {phase.noise_multiplier:.3g}\nB {phase.sampling_rate * plan.dataset_size:.4g}",
            (start + phase.iterations / 2, 0.02),
            xycoords=("data", "axes fraction"),
            ha="center",
            fontsize=7,
        )
        start += phase.iterations
    phases = f", {len(plan.phases)} phases" if plan.phases else ""
    axes.set_title(f"z = {plan.noise_multiplier:.4f}, expected batch {plan.expected_batch_size:.6g}{phases}")
    axes.legend()


def _front(axes: Axes, search: Search) -> None:
    axes.plot([c.compute for c in search.front], [c.proxy for c in search.front], marker="o", color="#00695c")
    chosen = search.recommended
    axes.plot(chosen.compute, chosen.proxy, marker="*", markersize=16, color="#b25000", linestyle="none")
    for choice in search.front:
        axes.annotate(
            f"B {choice.batch_size}, T {choice.iterations}, b {choice.bands}",
            (choice.compute, choice.proxy),
            textcoords="offset points",
            xytext=(5, -11),
            fontsize=7,
        )
    axes.set(xlabel=f"compute, {search.unit}", ylabel="signal to noise · √steps, less for delay", xscale="log")
    axes.set_title("Pareto front; ★ is recommended")
