"""`small-epsilon`: images at ε from 0.2 to 10, by the recipe, by DP-SGD, and by the released statistics alone.

The recipe is that of docs/results/recipe.md: a warm start of 0.8 of ε, below ε = 3 of 0.95, then steps of the critic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from privgen.experiments.gan_trials.experiment import gan_experiment
from privgen.experiments.gan_trials.figures import COLOURS
from privgen.experiments.gan_trials.groups import MEASURES, GanGroup, about, cost, gain, gan_table, measure
from privgen.experiments.gan_trials.trial import CRITIC_ALONE, GanChoices, GanTrial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RECIPE, _STATISTICS, _DP_SGD = "recipe", "statistics alone", "GAN by DP-SGD"
_FEW = 4  # steps of a critic that nothing follows: a plan has at least one
_MEASURES = ("gen2real", "fid", "coverage")


def trials(choices: GanChoices) -> list[GanTrial]:
    """The three ways at each ε."""
    made = []
    for epsilon in choices.epsilons:
        most = {"warm_start": 0.8 if epsilon >= 3 else 0.95}
        made += [
            choices.trial(_RECIPE, epsilon=epsilon, warm=True, plan=most),
            choices.trial(
                _STATISTICS,
                epsilon=epsilon,
                warm=True,
                plan={"warm_start": 0.95, "iterations": _FEW},
                settings={"generator_steps": 0},
            ),
            choices.trial(_DP_SGD, epsilon=epsilon, plan={"feedback": "none", "shares": dict(CRITIC_ALONE)}),
        ]
    return made


def tables(groups: Sequence[GanGroup]) -> str:
    """Every measure, and the recipe's gains."""

    def like(variant: str, group: GanGroup) -> GanGroup | None:
        same = [g for g in groups if g.trial.epsilon == group.trial.epsilon and g.trial.dataset == group.trial.dataset]
        return next((g for g in same if g.trial.variant == variant), None)

    rows = sorted(groups, key=lambda g: (g.trial.dataset, -g.trial.epsilon))
    columns = about()
    for name in _MEASURES:
        columns |= measure(name)
    columns |= gain("gen2real", lambda g: like(_STATISTICS, g), "statistics alone")
    columns |= gain("fid", lambda g: like(_STATISTICS, g), "statistics alone")
    return f"### Small ε\n\n{gan_table(rows, columns | cost())}\n"


def figure(groups: Sequence[GanGroup]) -> Figure:
    """Each way over ε."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(10, 3.6), layout="constrained")
    panels = drawn.subplots(1, len(_MEASURES))
    for axes, name in zip(panels, _MEASURES, strict=True):
        for place, variant in enumerate((_RECIPE, _STATISTICS, _DP_SGD)):
            rows = sorted((g for g in groups if g.trial.variant == variant), key=lambda g: g.trial.epsilon)
            points = [(g.trial.epsilon, found) for g in rows if (found := g.measured(name)) is not None]
            axes.errorbar(
                [epsilon for epsilon, _ in points],
                [value.mean for _, value in points],
                yerr=[value.std for _, value in points],
                marker="o",
                markersize=4,
                capsize=3,
                color=COLOURS[place],
                label=variant,
            )
        axes.set(xscale="log", xlabel="ε", ylabel=MEASURES[name][0])
        axes.grid(color="#e4e4e4")
    panels[0].legend(fontsize=7)
    drawn.suptitle("Small ε. Bars: standard deviation over seeds", fontsize=10)
    return drawn


EXPERIMENT = gan_experiment(
    "small-epsilon",
    factors="ε: 0.2, 0.5, 1, 3, 10; recipe, DP-SGD, statistics alone",
    trials=trials,
    defaults=GanChoices(epsilons=(10.0, 3.0, 1.0, 0.5, 0.2)),
    quick={"epsilons": (1.0,), "only": (_RECIPE, _STATISTICS)},
    tables=tables,
    figure=figure,
)
