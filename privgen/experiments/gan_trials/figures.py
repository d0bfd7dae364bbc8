"""Plots of runs of the GAN: a measure of each variant, and curves over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from privgen.experiments.gan_trials.groups import MEASURES, GanGroup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#00897b", "#c77700", "#7b57c2", "#b3261e", "#3367b0", "#6b6b6b", "#b58900", "#4fb3a1")


def measures_figure(groups: Sequence[GanGroup], names: Sequence[str], title: str) -> Figure:
    """A panel a measure, in it a point for each variant; bars are standard deviations over seeds.

    Args:
        groups: at least one. names: of measures; those that nobody has are left out.
    """
    from matplotlib.figure import Figure

    shown = [name for name in names if any(g.measured(name) is not None for g in groups)]
    rows = list(dict.fromkeys(g.trial.variant for g in groups))
    epsilons = sorted({g.trial.epsilon for g in groups}, reverse=True)
    drawn = Figure(figsize=(2.6 + 2.6 * max(1, len(shown)), 1.6 + 0.32 * len(rows)), layout="constrained")
    panels = drawn.subplots(1, max(1, len(shown)), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, shown, strict=False):
        for place, epsilon in enumerate(epsilons):
            found = [(g, g.measured(name)) for g in groups if g.trial.epsilon == epsilon]
            points = [(rows.index(g.trial.variant) + 0.15 * place, value) for g, value in found if value is not None]
            axes.errorbar(
                [value.mean for _, value in points],
                [-row for row, _ in points],
                xerr=[value.std for _, value in points],
                fmt="o",
                markersize=4,
                capsize=3,
                color=COLOURS[place % len(COLOURS)],
                label=f"ε = {epsilon:g}",
            )
        axes.set(xlabel=MEASURES[name][0])
        axes.grid(axis="both", color="#e4e4e4")
        axes.set_axisbelow(True)
    panels[0].set_yticks([-row for row in range(len(rows))], rows)
    if len(epsilons) > 1:
        panels[-1].legend(fontsize=7)
    drawn.suptitle(f"{title}. Bars: standard deviation over seeds", fontsize=10)
    return drawn


def draw_curves(axes: Any, groups: Sequence[GanGroup], name: str, label: str, *, scale: str = "linear") -> None:
    """A curve of each group over the steps into axes of matplotlib."""
    for place, group in enumerate(g for g in groups if name in g.finished[0].result["curves"]):
        points = group.curve(name)
        axes.errorbar(
            [step for step, _ in points],
            [value.mean for _, value in points],
            yerr=[value.std for _, value in points],
            marker=".",
            capsize=2,
            color=COLOURS[place % len(COLOURS)],
            label=group.trial.variant,
        )
    axes.set(xlabel="step", ylabel=label, yscale=scale)
    axes.grid(color="#e4e4e4")
    axes.legend(fontsize=7)
