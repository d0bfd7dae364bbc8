"""`prior-noise`: the distribution of latent vectors: Gaussian, Bernoulli, mixtures, class-conditional.

The mixture is once one of latent vectors, which costs nothing and knows nothing, and once the warm start's of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from privgen.experiments.gan_trials.experiment import gan_experiment
from privgen.experiments.gan_trials.figures import measures_figure
from privgen.experiments.gan_trials.groups import GanGroup, about, cost, gain, gan_table, measure, named
from privgen.experiments.gan_trials.trial import CRITIC_ALONE, GanChoices, GanTrial
from privgen.methods.gan.settings import LATENT_PRIORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WARM = "mixture of images (warm start)"
_MEASURES = ("gen2real", "fid", "coverage", "spread")


def trials(choices: GanChoices) -> list[GanTrial]:
    """Each prior without a warm start, and the warm start's mixture."""
    plan = {"shares": dict(CRITIC_ALONE)}
    return [
        trial
        for epsilon in choices.epsilons
        for trial in (
            *(
                choices.trial(prior, epsilon=epsilon, plan=plan, settings={"latent_prior": prior})
                for prior in LATENT_PRIORS
            ),
            choices.trial(_WARM, epsilon=epsilon, warm=True, plan=plan),
        )
    ]


def tables(groups: Sequence[GanGroup]) -> str:
    """Every measure, and the gains over a Gaussian prior."""

    def gaussian(group: GanGroup) -> GanGroup | None:
        return named(groups, "gaussian", group)

    columns = about()
    for name in _MEASURES:
        columns |= measure(name)
    for name in ("gen2real", "fid", "coverage"):
        columns |= gain(name, gaussian, "gaussian")
    return f"### Latent priors\n\n{gan_table(groups, columns | cost())}\n"


def figure(groups: Sequence[GanGroup]) -> Figure:
    """Each prior, a panel a measure."""
    return measures_figure(groups, _MEASURES, "Distribution of latent vectors")


EXPERIMENT = gan_experiment(
    "prior-noise",
    factors="latent prior: Gaussian, Bernoulli, mixture, class-conditional; the warm start's mixture",
    trials=trials,
    quick={"only": ("bernoulli", "class-conditional")},
    tables=tables,
    figure=figure,
)
