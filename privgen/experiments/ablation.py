"""`ablation`: the full method, and the full method less one component, each at the same certified ε.

A component that releases something gives its share back: the noise is solved anew without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from accountant.plans.planned_method import GAN
from privgen.experiments.gan_trials.experiment import gan_experiment
from privgen.experiments.gan_trials.figures import measures_figure
from privgen.experiments.gan_trials.groups import GanGroup, about, cost, gain, gan_table, measure, named
from privgen.experiments.gan_trials.trial import GanChoices, GanTrial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FULL = "full method"
_SETTINGS: dict[str, Any] = {"class_weight": 0.2, "diversity_weight": 0.2}
_MEASURES = ("gen2real", "fid", "is", "recall", "coverage", "spread")


def _shares_without(part: str) -> dict[str, float]:
    """The method's shares, those of the others raised in proportion."""
    left = {name: share for name, share in GAN.shares.items() if name != part}
    return {name: share / sum(left.values()) for name, share in left.items()}


def trials(choices: GanChoices) -> list[GanTrial]:
    """The full method, then less each component."""
    shares = {"shares": dict(GAN.shares)}
    changes: dict[str, tuple[bool, dict[str, Any], dict[str, Any]]] = {
        _FULL: (True, shares, {}),
        "less feedback (DP-SGD)": (True, shares | {"feedback": "none"}, {}),
        "less noise injection": (True, shares, {"upsampling_noise": 0.0}),
        "less reconstruction": (True, {"shares": _shares_without("reconstruction")}, {}),
        "less classifier": (True, {"shares": _shares_without("classifier")}, {"class_weight": 0.0}),
        "less diversity loss": (True, shares, {"diversity_weight": 0.0}),
        "less EMA": (True, shares, {"ema_decay": 0.0}),
        "less warm start": (False, shares, {}),
    }
    return [
        choices.trial(variant, epsilon=epsilon, warm=warm, plan=plan, settings=_SETTINGS | settings)
        for epsilon in choices.epsilons
        for variant, (warm, plan, settings) in changes.items()
    ]


def tables(groups: Sequence[GanGroup]) -> str:
    """Every measure, and what is lost or won without the component."""

    def full(group: GanGroup) -> GanGroup | None:
        return named(groups, _FULL, group)

    columns = about()
    for name in _MEASURES:
        columns |= measure(name)
    for name in ("gen2real", "fid", "coverage"):
        columns |= gain(name, full, "full")
    return f"### Ablation\n\n{gan_table(groups, columns | cost())}\n"


def figure(groups: Sequence[GanGroup]) -> Figure:
    """Each way, a panel a measure."""
    return measures_figure(groups, ("gen2real", "fid", "recall", "coverage"), "The full method less one component")


EXPERIMENT = gan_experiment(
    "ablation",
    factors="feedback, noise injection, reconstruction, classifier, diversity loss, moving average, warm start",
    trials=trials,
    quick={"only": (_FULL, "less classifier")},
    tables=tables,
    figure=figure,
)
