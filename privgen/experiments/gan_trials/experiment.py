"""`gan_experiment`: an `Experiment` whose trials are runs of the GAN."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privgen.experiments.experiment import Experiment, Explorer, Trainer
from privgen.experiments.gan_trials.groups import GanGroup, gan_groups
from privgen.experiments.gan_trials.training import gan_trainer
from privgen.experiments.gan_trials.trial import FORM, QUICK, GanChoices, GanTrial
from privgen.experiments.records import Finished
from privgen.experiments.registry import EXPERIMENTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def gan_experiment(
    name: str,
    *,
    factors: str,
    trials: Callable[[GanChoices], Sequence[GanTrial]],
    quick: Mapping[str, Any],
    tables: Callable[[Sequence[GanGroup]], str],
    figure: Callable[[Sequence[GanGroup]], Figure],
    defaults: GanChoices | None = None,
    trainer: Callable[[GanChoices, Path | None], Trainer[GanTrial]] = gan_trainer,
) -> Experiment[GanTrial]:
    """An experiment that trains each of some trials with each seed.

    Args:
        name: as in the registry, which has its question. factors: what is varied, in a few words.
        trials: those of some choices, with seed 0. quick: changes of the quick form beside `QUICK`.
        tables, figure: made of groups of runs that differ in their seed.
    """
    usual = defaults or GanChoices()
    variants = {trial.variant for trial in trials(usual)}

    def explore(choices: GanChoices, train: Explorer[GanTrial]) -> None:
        # Seed by seed, so that what was interrupted compares like with like.
        for seed in range(choices.seeds):
            for trial in trials(choices):
                if not choices.only or trial.variant in choices.only:
                    train(name, trial.with_seed(seed))

    def grouped(make: Callable[[Sequence[GanGroup]], Any]) -> Callable[[Sequence[Finished[GanTrial]]], Any]:
        return lambda finished: make(gan_groups(finished))

    return Experiment(
        name=name,
        question=EXPERIMENTS[name][1],
        factors=factors,
        form=FORM,
        defaults=usual,
        quick={**QUICK, **quick},
        explore=explore,
        trainer=trainer,
        describe=lambda stage, trial: f"ε {trial.epsilon:g}, {trial.variant}, seed {trial.seed}",
        steps=lambda trial: trial.iterations,
        score=_score,
        tables=grouped(tables),
        figure=grouped(figure),
        owns=lambda trial: trial.variant in variants,
    )


def _score(result: Mapping[str, Any]) -> str:
    measures = result["measures"]
    if "gen2real" in measures:
        return f"gen2real {measures['gen2real']:.4g} %"
    return f"{result['steps']} steps, {result['outcome']}"
