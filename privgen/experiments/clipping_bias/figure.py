"""The plot of docs/results/clipping-bias.md, drawn from finished trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from privgen.errors import ConfigError
from privgen.experiments.clipping_bias.settings import Trial
from privgen.experiments.clipping_bias.summary import Group, dp_sgd_of, gain, groups, method_name
from privgen.experiments.records import Finished
from privgen.experiments.spread import Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# DP-SGD, banded (few bands to many), published, then correlated noise (few bands to many).
_COLOURS = (
    "#222222", "#9fd8cb", "#4fb3a1", "#00897b", "#00503f", "#c77700", "#b3261e",
    "#c5b0e6", "#a184d6", "#7b57c2", "#4b2e83",
)  # fmt: skip


def figure(finished: Sequence[Finished[Trial]]) -> Figure:
    """The gain at each ε, and accuracy, cosine and norm ratio over the steps at the middle one.

    Raises:
        ConfigError: there is no finished comparison.
    """
    from matplotlib.figure import Figure

    found = groups(finished)
    matched = [g for g in found if g.stage == "match"]
    if not matched:
        raise ConfigError("No finished trial of the stage match: there is nothing to plot yet.")
    task = matched[0].trial.task
    matched = [g for g in matched if g.trial.task == task]
    epsilons = sorted({g.trial.epsilon for g in matched})
    middle = [g for g in matched if g.trial.epsilon == epsilons[len(epsilons) // 2]]
    drawn = Figure(figsize=(11, 8), layout="constrained")
    axes = drawn.subplots(2, 2)
    _gains(axes[0, 0], matched + [g for g in found if g.stage == "correlate"], epsilons)
    at = f"ε = {middle[0].trial.epsilon:g}"
    _over_steps(axes[0, 1], [(g, g.curve("accuracy")) for g in middle], "accuracy %", at)
    _over_steps(axes[1, 0], [(g, g.probes("cosine")) for g in middle], "cosine of mean update and true gradient", at)
    _over_steps(axes[1, 1], [(g, _relative(g.probes("ratio"))) for g in middle], "‖u‖/‖g‖ ÷ its mean", at)
    axes[0, 1].legend(fontsize=7)
    axes[0, 0].legend(fontsize=7, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    drawn.suptitle(f"Error feedback against DP-SGD ({task}). Bars: standard error of a gain, else standard deviation")
    return drawn


def _gains(axes: Axes, matched: list[Group], epsilons: list[float]) -> None:
    names = list(dict.fromkeys(method_name(g.trial) for g in matched if g.trial.feedback != "none"))
    for place, name in enumerate(names, 1):
        rows = [g for g in matched if method_name(g.trial) == name]
        points = [(g, gain(g, plain)) for g in rows if (plain := dp_sgd_of(g, matched)) is not None]
        axes.errorbar(
            [epsilons.index(g.trial.epsilon) + 0.07 * (place - len(names) / 2) for g, _ in points],
            [gap.mean for _, gap in points],
            yerr=[gap.error for _, gap in points],
            fmt="o",
            capsize=3,
            color=_COLOURS[place % len(_COLOURS)],
            label=name,
        )
    axes.axhline(0, color="#888888", linewidth=1)
    axes.set(xlabel="ε", ylabel="accuracy − DP-SGD's, points", title="Gain at the end")
    axes.set_xticks(range(len(epsilons)), [f"{e:g}" for e in epsilons])


def _over_steps(axes: Axes, curves: list[tuple[Group, list[tuple[int, Spread]]]], label: str, title: str) -> None:
    for place, (group, points) in enumerate(curves):
        axes.errorbar(
            [step for step, _ in points],
            [value.mean for _, value in points],
            yerr=[value.std for _, value in points],
            marker=".",
            capsize=2,
            color=_COLOURS[place % len(_COLOURS)],
            label=method_name(group.trial),
        )
    axes.set(xlabel="step", ylabel=label, title=title)


def _relative(points: list[tuple[int, Spread]]) -> list[tuple[int, Spread]]:
    whole = sum(value.mean for _, value in points) / len(points)
    return [(step, Spread(mean=v.mean / whole, std=v.std / whole, count=v.count)) for step, v in points]
