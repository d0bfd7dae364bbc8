"""`failures`: what each way of failing looks like, made to happen on purpose and small.

- growing error: the published feedback with its C2 as published, and with one so large that it cuts nothing. The
  second is what C2 = ∞ would do; a plan for C2 = ∞ itself is refused, since its ε is ∞.
- a budget that ends: a plan whose T or q is raised after its noise was solved for. The guard halts it.
- images of a class that are alike: no injected noise, no reconstruction, no diversity loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from privgen.experiments.gan_trials.experiment import gan_experiment
from privgen.experiments.gan_trials.figures import draw_curves
from privgen.experiments.gan_trials.groups import GanGroup, about, cost, gan_table
from privgen.experiments.gan_trials.trial import CRITIC_ALONE, GanChoices, GanTrial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# ρ = 2·C2·B/C1: as published, where C2 = C1 on the scale of sums; and enough that nothing is ever cut.
_ERRORS = {"C2 as published, ρ = 2": 2.0, "C2 50 times that, ρ = 100": 100.0, "C2 2 500 times that, ρ = 5 000": 5000.0}
_OVER = {"T three times the plan's": {"iterations": 3.0}, "q three times the plan's": {"sampling_rate": 3.0}}
_COLLAPSE, _WHOLE = "no injection, no reconstruction, no diversity loss", "all three, as by default"
_LONGER = 2  # times as many steps until images of a class are alike
_ALL_MONEY = 1e12  # what the published feedback may cost here: it is run to look at its error, not for its ε


def trials(choices: GanChoices) -> list[GanTrial]:
    """Errors, budgets, and images that are alike."""
    errors = [
        choices.trial(
            variant,
            epsilon=_ALL_MONEY,
            plan={"feedback": "paper", "feedback_ratio": ratio, "noise_multiplier": 1.0, "shares": dict(CRITIC_ALONE)},
            watched={"owed": 2},
            metrics=(),
        )
        for variant, ratio in _ERRORS.items()
    ]
    least = {"upsampling_noise": 0.0, "diversity_weight": 0.0}
    longer = {"iterations": choices.iterations * _LONGER}
    made = list(errors)
    for epsilon in choices.epsilons:
        made += [
            choices.trial(variant, epsilon=epsilon, plan={"shares": dict(CRITIC_ALONE)}, overrun=factors, metrics=())
            for variant, factors in _OVER.items()
        ]
        made += [
            choices.trial(_WHOLE, epsilon=epsilon, plan=longer, watched={"spread": 10}, metrics=()),
            choices.trial(
                _COLLAPSE,
                epsilon=epsilon,
                plan=longer | {"shares": {"critic": 0.7, "classifier": 0.3}},
                settings=least,
                watched={"spread": 10},
                metrics=(),
            ),
        ]
    return made


def _at(group: GanGroup, name: str, place: int) -> str:
    curves = [one.result["curves"].get(name) for one in group.finished]
    if not all(curves):
        return "–"
    return group.of(lambda one: one.result["curves"][name][place][1]).text(1)


def tables(groups: Sequence[GanGroup]) -> str:
    """What was planned and what happened."""
    columns = about() | {
        "steps asked for": lambda g: str(g.trial.iterations),
        "steps that ran": lambda g: f"{g.of(lambda one: one.result['steps']).mean:g}",
        "‖e‖/C1 first": lambda g: _at(g, "owed", 0),
        "‖e‖/C1 last": lambda g: _at(g, "owed", -1),
        "spread within a class, first": lambda g: _at(g, "spread", 0),
        "spread within a class, last": lambda g: _at(g, "spread", -1),
        "why it ended": lambda g: str(g.finished[0].result["outcome"]).partition(":")[0],
    }
    return f"### Failures\n\n{gan_table(groups, columns | cost())}\n"


def figure(groups: Sequence[GanGroup]) -> Figure:
    """The error and the spread over the steps."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(10, 4), layout="constrained")
    panels = drawn.subplots(1, 2)
    by_error = [g for g in groups if "owed" in g.trial.watched]
    by_spread = [g for g in groups if "spread" in g.trial.watched]
    if by_error:
        draw_curves(panels[0], by_error, "owed", "‖e_t‖ / C1", scale="symlog")
    if by_spread:
        draw_curves(panels[1], by_spread, "spread", "spread within a class, of 255")
        panels[1].set_ylim(bottom=0)
    drawn.suptitle("Failures made to happen. Bars: standard deviation over seeds", fontsize=10)
    return drawn


EXPERIMENT = gan_experiment(
    "failures",
    factors="C2 of the published feedback; T and q beyond the plan; without all that keeps images apart",
    trials=trials,
    quick={"only": (*list(_ERRORS)[:1], "q three times the plan's", _COLLAPSE)},
    tables=tables,
    figure=figure,
)
