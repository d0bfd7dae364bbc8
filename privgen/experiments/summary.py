"""From finished trials to numbers: means and spreads over seeds, and which differences are significant.

A difference is significant if it exceeds `T_FOUR` standard errors, the two-sided 5 % point of Student's t with four
degrees of freedom (two groups of three seeds). Out of many comparisons, one in twenty is then chance.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from privgen.experiments.grid import TUNING_SEED
from privgen.experiments.records import Finished
from privgen.experiments.results import AtEnd, Measured, Scored
from privgen.experiments.settings import Trial

T_FOUR = 2.78


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """The mean and the spread of some numbers.

    Args:
        mean: of the numbers. std: sample standard deviation, 0 for one number. count: how many there are.
    """

    mean: float
    std: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of at least one number."""
        numbers = list(values)
        std = statistics.stdev(numbers) if len(numbers) > 1 else 0.0
        return cls(mean=statistics.fmean(numbers), std=std, count=len(numbers))

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return self.std / math.sqrt(self.count)

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.std:.2f}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Trials that differ only in their seed.

    Args:
        stage: of the grid. trial: their settings, with seed 0. finished: the trials, without the tuning seed.
    """

    stage: str
    trial: Trial
    finished: tuple[Finished, ...]

    def at_end(self, name: AtEnd) -> Spread:
        """Of `accuracy` (%), `loss`, `noise_multiplier` or `certified` of each trial."""
        return Spread.of(float(one.result[name]) for one in self.finished)

    def measured(self, name: Measured) -> Spread:
        """Of `bias`, `cosine`, `ratio`, `noise` or `clipped`: each trial's mean over its probes."""
        return Spread.of(statistics.fmean(p[name] for p in one.result["probes"]) for one in self.finished)

    @property
    def inconsistency(self) -> Spread:
        """How much ‖u‖/‖g‖ varies over a training: its standard deviation over the probes ÷ their mean."""
        return Spread.of(
            statistics.pstdev(ratios) / statistics.fmean(ratios)
            for ratios in ([p["ratio"] for p in one.result["probes"]] for one in self.finished)
        )

    def curve(self, name: Scored) -> list[tuple[int, Spread]]:
        """`accuracy` or `loss` over the steps."""
        columns = zip(*(one.result["curve"] for one in self.finished), strict=True)
        return [(column[0]["step"], Spread.of(point[name] for point in column)) for column in columns]

    def probes(self, name: Measured) -> list[tuple[int, Spread]]:
        """`bias`, `cosine`, `ratio`, `noise` or `clipped` over the steps."""
        columns = zip(*(one.result["probes"] for one in self.finished), strict=True)
        return [(column[0]["step"], Spread.of(point[name] for point in column)) for column in columns]


def groups(finished: Sequence[Finished]) -> list[Group]:
    """All groups, in the order of training; trials with the tuning seed are omitted.

    A trial that two stages share belongs to the first.
    """
    found: dict[Trial, list[Finished]] = {}
    for one in finished:
        if one.trial.seed != TUNING_SEED:
            found.setdefault(replace(one.trial, seed=0), []).append(one)
    return [Group(stage=ones[0].stage, trial=trial, finished=tuple(ones)) for trial, ones in found.items()]


def difference(one: Group, other: Group, name: AtEnd = "accuracy") -> Spread:
    """The difference `one` − `other` of two means; `error` is its standard error."""
    a, b = one.at_end(name), other.at_end(name)
    count = min(a.count, b.count)
    # A Spread whose error is √(e_a² + e_b²).
    std = math.hypot(a.error, b.error) * math.sqrt(count)
    return Spread(mean=a.mean - b.mean, std=std, count=count)


def told_apart(gap: Spread) -> bool:
    """Whether a difference is significant by Student's t."""
    return gap.count > 1 and abs(gap.mean) > T_FOUR * gap.error


def dp_sgd_of(group: Group, among: Sequence[Group]) -> Group | None:
    """DP-SGD at its best, for the same task, ε and steps."""

    def same(other: Trial) -> bool:
        own = group.trial
        return (other.task, other.epsilon, other.iterations) == (own.task, own.epsilon, own.iterations)

    plain = [g for g in among if g.trial.feedback == "none" and g.stage in ("match", "critic") and same(g.trial)]
    return plain[0] if plain else None


def method_name(trial: Trial) -> str:
    """A method's name for readers."""
    names = {"none": "DP-SGD", "paper": f"paper, ρ = {trial.feedback_ratio:g}"}
    names["correlated"] = f"correlated noise, b = {trial.bands}"
    names["banded"] = f"banded, b = {trial.bands}"
    names["paper-claimed"] = f"paper, ρ = {trial.feedback_ratio:g}, at the claimed ε"
    return names[trial.feedback]


def change_name(trial: Trial) -> str:
    """The change that a variant makes, for readers."""
    changes = []
    if trial.momentum == 0:
        changes.append("no momentum")
    if trial.now is not None:
        changes.append(f"C1 = {trial.now:g} of the total")
    if trial.decay != 1:
        changes.append(f"each later part {trial.decay:g} of the one before")
    if trial.lookahead:
        changes.append(f"gradients {trial.lookahead:g} steps ahead")
    return ", ".join(changes) or "–"
