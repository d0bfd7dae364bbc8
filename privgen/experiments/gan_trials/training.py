"""`GanTrainer`: one trial as a run of its own, from its plan to its evaluation, in a folder that is then removed.

    plan → training.begin → training.loop.run under the guard → release → privgen.metrics.evaluation.evaluate

Noise and coins come from the trial's seed, so that it can be repeated. Such noise protects nobody, but the data are
public; the ε of a trial is that of the same run with noise that nobody can guess.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from accountant.ledger.outside_head import forget
from accountant.plans.public_facts import PublicFacts
from privgen.catalogue import is_own, source_name
from privgen.data import DataSet, load_data
from privgen.data.load import propose_data
from privgen.errors import ConfigError
from privgen.experiments.experiment import Tick
from privgen.experiments.gan_trials.observers import AT_END, CURVES, within_class_spread
from privgen.experiments.gan_trials.trial import GanChoices, GanResult, GanTrial
from privgen.methods.gan.method import METHOD
from privgen.metrics.cache import Cache, user_cache
from privgen.metrics.evaluation import evaluate
from privgen.metrics.protocols import PROTOCOLS
from privgen.metrics.reference import has_several_classes
from privgen.metrics.request import EvaluationRequest
from privgen.metrics.result import Measurements
from privgen.metrics.sources import GeneratorSource
from privgen.training.begin import begin
from privgen.training.insecure import seeded
from privgen.training.loop import run
from privgen.training.records import ImageRecords
from privgen.training.session import Options, Session
from privgen.training.state import parameters_of

# What gen2real is measured by: a trial's own training takes no longer than this one's.
CLASSIFIER = "logreg"
Load = Callable[[str], tuple[DataSet, PublicFacts | None]]


@dataclass
class GanTrainer:
    """Trains trials on data sets that are loaded once.

    Args:
        load: gives a data set by its name, and the public facts that a plan states of data of one's own.
    """

    load: Load
    _loaded: dict[str, tuple[DataSet, PublicFacts | None]] = field(default_factory=dict)

    def require(self, dataset: str) -> None:
        """Raise DataError where the data set is not here, ConfigError where it has too few classes."""
        if not has_several_classes(self._data(dataset)[0]):
            raise ConfigError(
                f"Expected {dataset} to have records of at least two classes, because classifiers measure the images; "
                "give --dataset digits or another one."
            )

    def __call__(self, trial: GanTrial, *, tick: Tick) -> GanResult:
        """The result of one run."""
        data, facts = self._data(trial.dataset)
        with tempfile.TemporaryDirectory(prefix="privgen-trial-") as folder:
            return self._train(trial, data, facts, Path(folder) / "run", tick)

    def _data(self, dataset: str) -> tuple[DataSet, PublicFacts | None]:
        if dataset not in self._loaded:
            self._loaded[dataset] = self.load(dataset)
        return self._loaded[dataset]

    def _train(self, trial: GanTrial, data: DataSet, facts: PublicFacts | None, out: Path, tick: Tick) -> GanResult:
        plan = trial.made_plan(dataset_size=len(data.train.labels), facts=facts)
        begun = time.process_time()
        curves: dict[str, list[list[float]]] = {name: [] for name in trial.watched if name in CURVES}
        with begin(
            out, plan=plan, method=METHOD, settings=trial.gan_settings(), data=ImageRecords(data),
            options=Options(remembered=False, **seeded(trial.seed)),
        ) as session:  # fmt: skip
            marks = [time.process_time()]
            try:
                for report in run(session):
                    marks.append(time.process_time())
                    for name, points in curves.items():
                        if report.held % trial.watched[name] == 0 or report.held in (1, plan.steps):
                            points.append([report.held, rounded(CURVES[name](session))])
                    tick()
            finally:
                forget(session.ledger.entries[0].digest)
            seconds = time.process_time() - begun
            measures = {
                name: rounded(value)
                for kind in trial.watched
                if kind in AT_END
                for name, value in AT_END[kind](session, data).items()
            }
            noise, length = _noise(session)
            result = GanResult(
                steps=session.guard.steps,
                outcome=str(session.outcome),
                certified=session.guard.epsilon_spent(),
                noise=noise,
                noise_length=length,
                measures=measures,
                curves=curves,
                seconds=rounded(seconds),
                step_seconds=rounded(_of_a_step(marks)),
            )
        if trial.metrics:
            measures.update(_measured(trial, data, out))
        shutil.rmtree(out, ignore_errors=True)
        return result


def _of_a_step(marks: list[float]) -> float:
    """Median seconds between steps: the first compiles and looks at rows, some write checkpoints."""
    gaps = sorted(b - a for a, b in itertools.pairwise(marks))
    return gaps[len(gaps) // 2] if gaps else 0.0


def _noise(session: Session) -> tuple[dict[str, float], dict[str, float]]:
    """z of each part, and z·√P."""
    noise, length = {}, {}
    for part in session.plan.parts:
        size = sum(p.numel() for p in parameters_of(session.state.learner.module_of(part.name)).values())
        noise[part.name] = rounded(part.noise_multiplier)
        length[part.name] = rounded(part.noise_multiplier * size**0.5)
    return noise, length


def _measured(trial: GanTrial, data: DataSet, out: Path) -> dict[str, float]:
    """What `privgen evaluate` says of the released images, and their spread within a class."""
    source = GeneratorSource.of_run(out)
    request = EvaluationRequest(
        protocol=PROTOCOLS["privgen-1"], metrics=trial.metrics, samples=trial.samples, classifiers=(CLASSIFIER,),
        features=trial.features,
    )  # fmt: skip
    found = evaluate(source, data, request, cache=Cache(user_cache())).result
    made = source.make(min(trial.samples, 500), seed=0)
    assert made.labels is not None  # a generator knows its classes
    return {name: rounded(value) for name, value in _flat(found).items()} | {
        "spread": rounded(within_class_spread(made.images, made.labels))
    }


def _flat(found: Measurements) -> dict[str, float]:
    """The measurements by one name each: accuracies and shares in percent."""
    flat: dict[str, float] = {}
    if "gen2real" in found:
        flat["gen2real"] = 100 * found["gen2real"][CLASSIFIER]["mean"]
    if "fid" in found:
        flat["fid"] = found["fid"]["value"]
    if "is" in found:
        flat["is"] = found["is"]["mean"]
    if "coverage" in found:
        manifold = found["coverage"]
        flat["precision"] = 100 * manifold["precision"]
        flat["recall"] = 100 * manifold["recall"]
        flat["coverage"] = 100 * manifold["coverage"]
    return flat


def rounded(value: float) -> float:
    """To four digits, which is more than three seeds can resolve."""
    return float(f"{value:.4g}")


def named_data(data_dir: Path | None) -> Load:
    """Data sets by the names that every command knows."""

    def load(dataset: str) -> tuple[DataSet, PublicFacts | None]:
        if is_own(source_name(dataset)):
            facts, data = propose_data(dataset, data_dir)
            return data, facts
        return load_data(dataset, data_dir), None

    return load


def gan_trainer(choices: GanChoices, data_dir: Path | None) -> GanTrainer:
    """A trainer that has seen to it that the chosen data set is here and has classes to tell apart."""
    trainer = GanTrainer(named_data(data_dir))
    trainer.require(choices.dataset)
    return trainer
