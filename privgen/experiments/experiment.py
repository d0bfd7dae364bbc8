"""`Experiment`: what one experiment is, so that one command, one file of records and one loop serve them all.

experiment = experiment_named("ablation")
carry_out(experiment, experiment.choices(quick=True), log, data_dir=None)
experiment.tables(experiment.own(log))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from privgen.errors import ConfigError
from privgen.experiments.records import Finished, TrialForm, TrialLog

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

Trial = TypeVar("Trial")
Trained = TypeVar("Trained", contravariant=True)
# Called after each step of a training.
Tick = Callable[[], None]
# Trains a trial, or gives its result where it was trained before; the stage is only recorded.
Explorer = Callable[[str, Trial], Any]


class Choices(Protocol):
    """What can be chosen of every experiment; a frozen dataclass, which may have more.

    Attributes:
        dataset: by name. epsilons: of the comparisons, each > 0. seeds: fresh ones of each variant, >= 1.
        iterations: steps of a training, >= 1.
    """

    @property
    def dataset(self) -> str: ...
    @property
    def epsilons(self) -> tuple[float, ...]: ...
    @property
    def seeds(self) -> int: ...
    @property
    def iterations(self) -> int: ...


class Trainer(Protocol[Trained]):
    """Trains trials on data that it holds."""

    def __call__(self, trial: Trained, *, tick: Tick) -> Mapping[str, Any]:
        """The result of one training, as it is recorded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Experiment(Generic[Trial]):
    """A question, what is varied, what is trained for it, and what is made of the results.

    Args:
        name: as it is asked for. question: in one sentence. factors: what is varied, in a few words.
        form: of its records.
        defaults: what is chosen where nothing is given. quick: the changes of a form that takes seconds and means
            nothing.
        explore: asks for every trial, in order; what it asks for later may depend on what came out before.
        guess: a result with which `explore` can be walked through without training, to count the trials.
        trainer: loads the data of these choices and gives what trains on them; (choices, data_dir).
        describe: a trial in a line. steps: of its training. score: a result in a word.
        tables: Markdown. figure: the plot. owns: whether a trial of the same form is this experiment's.
    """

    name: str
    question: str
    factors: str
    form: TrialForm[Trial]
    defaults: Any
    quick: Mapping[str, Any]
    explore: Callable[[Any, Explorer[Trial]], None]
    guess: Mapping[str, Any] = field(default_factory=dict)
    trainer: Callable[[Any, Path | None], Trainer[Trial]]
    describe: Callable[[str, Trial], str]
    steps: Callable[[Trial], int]
    score: Callable[[Mapping[str, Any]], str]
    tables: Callable[[Sequence[Finished[Trial]]], str]
    figure: Callable[[Sequence[Finished[Trial]]], Figure]
    owns: Callable[[Trial], bool] = lambda trial: True

    def choices(self, *, quick: bool, **given: Any) -> Any:
        """The defaults, in the quick form where that is asked for, with what was given changed.

        Raises:
            ConfigError: a value is out of range.
        """
        return replace(self.defaults, **{**(self.quick if quick else {}), **given})

    def planned(self, choices: Any) -> list[Trial]:
        """The trials that these choices ask for; where later ones depend on results, about as many."""
        found: list[Trial] = []

        def walk(stage: str, trial: Trial) -> Mapping[str, Any]:
            found.append(trial)
            return self.guess

        self.explore(choices, walk)
        return found

    def own(self, log: TrialLog[Trial]) -> tuple[Finished[Trial], ...]:
        """The finished trials of this experiment.

        Raises:
            ConfigError: there is none.
        """
        found = tuple(one for one in log.all() if self.owns(one.trial))
        if not found:
            raise ConfigError(f"{log.path} holds no finished trial of {self.name}; give another --from, or train.")
        return found


@dataclass
class Course(Generic[Trial]):
    """How far an experiment is: trials and steps that are missing, and those done.

    Args:
        update: called with what is being done, the steps done of it, and their total.
    """

    total: int
    trials: int
    update: Callable[[str, int, int], None]
    name: str
    done: int = 0
    trial: int = 0
    _behind: int = field(default=0, init=False)

    @classmethod
    def of(
        cls,
        experiment: Experiment[Trial],
        choices: Any,
        log: TrialLog[Trial],
        update: Callable[[str, int, int], None],
    ) -> Self:
        """That of everything that the log does not hold yet."""
        missing = [trial for trial in experiment.planned(choices) if log.find(trial) is None]
        return cls(sum(map(experiment.steps, missing)), len(missing), update, experiment.name)

    def begin(self, steps: int) -> None:
        """The next trial, of so many steps."""
        self.trial += 1
        self._behind = self.done + steps
        # An experiment that searches may train more than was counted.
        self.trials, self.total = max(self.trials, self.trial), max(self.total, self._behind)

    def step(self) -> None:
        """One step of the trial is done."""
        self._reach(min(self.done + 1, self._behind))

    def end(self) -> None:
        """The trial is done, with fewer steps than it asked for perhaps."""
        self._reach(self._behind)

    def _reach(self, done: int) -> None:
        self.done = done
        self.update(f"{self.name}, steps of {self.trials} trials", done, self.total)


def carry_out(
    experiment: Experiment[Trial],
    choices: Any,
    log: TrialLog[Trial],
    data_dir: Path | None,
    *,
    update: Callable[[str, int, int], None] = lambda what, done, total: None,
    said: Callable[[str], None] = lambda text: None,
) -> None:
    """Train what the log does not hold yet, and record each trial when it is done.

    Args:
        update: of progress. said: called with a line for each finished trial.

    Raises:
        DataError: the data are not here. ConfigError: they do not fit the experiment. What was recorded stays.
    """
    course = Course.of(experiment, choices, log, update)
    trainers: list[Trainer[Trial]] = []

    def explorer(stage: str, trial: Trial) -> Any:
        known = log.find(trial)
        if known is not None:
            return known
        if not trainers:  # data are read where there is something to train alone
            trainers.append(experiment.trainer(choices, data_dir))
        course.begin(experiment.steps(trial))
        result = trainers[0](trial, tick=course.step)
        log.add(Finished(stage, trial, result))
        course.end()
        said(f"{course.trial} of {course.trials}, {experiment.describe(stage, trial)}: {experiment.score(result)}")
        return result

    experiment.explore(choices, explorer)
