"""The clipping-bias experiment as one of the experiments: its quick form, its trainer and its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from privgen.data import load_data
from privgen.experiments.clipping_bias.figure import figure
from privgen.experiments.clipping_bias.grid import Grid, explore
from privgen.experiments.clipping_bias.results import TrialResult, parsed_result
from privgen.experiments.clipping_bias.settings import Trial
from privgen.experiments.clipping_bias.summary import change_name, method_name
from privgen.experiments.clipping_bias.tables import tables
from privgen.experiments.clipping_bias.tasks import Records
from privgen.experiments.clipping_bias.training import train
from privgen.experiments.experiment import Experiment, Tick
from privgen.experiments.records import TrialForm
from privgen.experiments.registry import EXPERIMENTS

FORM: TrialForm[Trial] = TrialForm(
    schema="privgen.clipping-bias/1", to_json=Trial.to_json, from_json=Trial.from_json, result=parsed_result
)


@dataclass(frozen=True, slots=True)
class _Trainer:
    data: Records

    def __call__(self, trial: Trial, *, tick: Tick) -> TrialResult:
        return train(trial, self.data, tick=tick)


def _trainer(grid: Grid, data_dir: Path | None) -> _Trainer:
    return _Trainer(Records.of(load_data(grid.dataset, data_dir)))


def _described(stage: str, trial: Trial) -> str:
    change = change_name(trial)
    return (
        f"{stage} {trial.task}, ε {trial.epsilon:g}, {method_name(trial)}, C {trial.total_clip:g}, "
        f"η {trial.learning_rate:g}" + ("" if change == "–" else f", {change}") + f", seed {trial.seed}"
    )


def _score(result: Mapping[str, Any]) -> str:
    return f"{result.get('accuracy', result['loss']):.4g}"


EXPERIMENT: Experiment[Trial] = Experiment(
    name="clipping-bias",
    question=EXPERIMENTS["clipping-bias"][1],
    factors="feedback, bands, ε, clip norm, learning rate; a classifier and a GAN's critic",
    form=FORM,
    defaults=Grid(),
    # Small enough for a minute on one core; it only shows that the experiment runs.
    quick={
        "epsilons": (3.0,),
        "bands": (2,),
        "seeds": 1,
        "iterations": 60,
        "batch_size": 64,
        "clips": (0.3, 1.0),
        "steps": (0.2, 0.4),
        "stages": ("tune", "match", "critic"),
    },
    explore=explore,
    guess={"loss": 0.0, "accuracy": 0.0},
    trainer=_trainer,
    describe=_described,
    steps=lambda trial: trial.iterations,
    score=_score,
    tables=tables,
    figure=figure,
)
