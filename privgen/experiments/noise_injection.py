"""`noise-injection`: σ_noise after each upsampling, fixed, scheduled and learned; with and without a warm start.

The claim is diversity: recall, coverage and the spread within a class beside FID and gen2real.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from privgen.experiments.gan_trials.experiment import gan_experiment
from privgen.experiments.gan_trials.figures import measures_figure
from privgen.experiments.gan_trials.groups import GanGroup, about, cost, gain, gan_table, measure, named
from privgen.experiments.gan_trials.trial import CRITIC_ALONE, GanChoices, GanTrial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVELS = (0.0, 0.05, 0.1, 0.2)
_NONE = "σ = 0"
_KINDS: dict[str, dict[str, Any]] = {
    **{f"σ = {level:g}": {"upsampling_noise": level} for level in LEVELS},
    "σ from 0.2 to 0": {
        "upsampling_noise": 0.2,
        "upsampling_noise_kind": "scheduled",
        "upsampling_noise_end": 0.0,
    },
    "σ learned from 0.1": {"upsampling_noise": 0.1, "upsampling_noise_kind": "learned"},
}
WARM = ", warm start"
_COMPARED = ("recall", "coverage", "spread")


def with_noise(choices: GanChoices, kinds: dict[str, dict[str, Any]]) -> list[GanTrial]:
    """These ways of injecting noise, without a warm start and with one."""
    return [
        choices.trial(
            variant + (WARM if warm else ""),
            epsilon=epsilon,
            warm=warm,
            plan={"shares": dict(CRITIC_ALONE)},
            settings=settings,
            watched={"sigma": 10},
        )
        for epsilon in choices.epsilons
        for warm in (False, True)
        for variant, settings in kinds.items()
    ]


def grid(choices: GanChoices) -> list[GanTrial]:
    """All trials."""
    return with_noise(choices, _KINDS)


def noise_tables(groups: Sequence[GanGroup]) -> str:
    """Every measure, and the gains in diversity over no injected noise."""

    def silent(group: GanGroup) -> GanGroup | None:
        return named(groups, _NONE + (WARM if group.trial.warm else ""), group)

    columns = about() | {"σ at last look": lambda g: _sigma(g)}
    for name in ("gen2real", "fid", "is", "precision", *_COMPARED):
        columns |= measure(name)
    for name in ("gen2real", "fid", *_COMPARED):
        columns |= gain(name, silent, _NONE)
    return f"### Injected noise\n\n{gan_table(groups, columns | cost())}\n"


def _sigma(group: GanGroup) -> str:
    return group.of(lambda one: one.result["curves"]["sigma"][-1][1]).text(3)


def noise_figure(groups: Sequence[GanGroup]) -> Figure:
    """Each way of injecting noise, a panel a measure."""
    return measures_figure(groups, ("gen2real", "fid", *_COMPARED), "Noise after each upsampling")


EXPERIMENT = gan_experiment(
    "noise-injection",
    factors="σ of the injected noise: 0, 0.05, 0.1, 0.2, scheduled, learned; with and without a warm start",
    trials=grid,
    quick={"only": (_NONE, "σ learned from 0.1" + WARM)},
    tables=noise_tables,
    figure=noise_figure,
)
