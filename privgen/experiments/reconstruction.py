"""`reconstruction`: the weight γ_recon of the reconstruction loss, and the share of a step's cost that it takes.

Whether it keeps detail is the distance of G(E(x)) to held-out images x, beside that of x to another image of its class,
which a network that knows the class alone would come to. Its cost: without it its share goes to the critic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from privgen.experiments.gan_trials.experiment import gan_experiment
from privgen.experiments.gan_trials.figures import measures_figure
from privgen.experiments.gan_trials.groups import GanGroup, about, cost, gain, gan_table, measure, named
from privgen.experiments.gan_trials.trial import GanChoices, GanTrial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WEIGHTS, SHARES = (0.5, 1.0, 1.5, 2.0), (0.1, 0.3)
_CLASSIFIER = 0.3
_WITHOUT = "γ = 0, its share to the critic"
_MEASURED = ("gen2real", "fid", "coverage", "reconstruction pixels", "other pixels", "reconstruction imagenet",
             "other imagenet")  # fmt: skip


def _name(weight: float, share: float) -> str:
    return f"γ = {weight:g}, share {share:g}"


def trials(choices: GanChoices) -> list[GanTrial]:
    """γ × share, and none."""
    made = []
    for epsilon in choices.epsilons:
        shares = {"critic": 1 - _CLASSIFIER, "classifier": _CLASSIFIER}
        made.append(choices.trial(_WITHOUT, epsilon=epsilon, plan={"shares": shares}))
        for share in SHARES:
            shares = {"critic": round(1 - _CLASSIFIER - share, 6), "classifier": _CLASSIFIER, "reconstruction": share}
            made += [
                choices.trial(
                    _name(weight, share),
                    epsilon=epsilon,
                    plan={"shares": shares},
                    settings={"reconstruction_weight": weight},
                    watched={"reconstruction": 1},
                )
                for weight in WEIGHTS
            ]
    return made


def tables(groups: Sequence[GanGroup]) -> str:
    """Every measure, and the gains over no reconstruction."""

    def without(group: GanGroup) -> GanGroup | None:
        return named(groups, _WITHOUT, group)

    columns = about()
    for name in _MEASURED:
        columns |= measure(name)
    for name in ("gen2real", "fid", "coverage"):
        columns |= gain(name, without, "without")
    return f"### Reconstruction\n\n{gan_table(groups, columns | cost())}\n"


def figure(groups: Sequence[GanGroup]) -> Figure:
    """Each γ and share, a panel a measure."""
    names = ("gen2real", "fid", "coverage", "reconstruction pixels")
    return measures_figure(groups, names, "Reconstruction loss")


EXPERIMENT = gan_experiment(
    "reconstruction",
    factors="γ of the reconstruction loss: 0, 0.5, 1, 1.5, 2; share of its part: 0.1, 0.3",
    trials=trials,
    quick={"only": (_WITHOUT, _name(1.0, 0.3))},
    tables=tables,
    figure=figure,
)
