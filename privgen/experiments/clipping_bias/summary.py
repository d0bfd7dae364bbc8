"""From finished trials to groups that differ in their seed alone, and how methods are called."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from privgen.experiments.clipping_bias.grid import TUNING_SEED
from privgen.experiments.clipping_bias.results import AtEnd, Measured, Scored
from privgen.experiments.clipping_bias.settings import Trial
from privgen.experiments.records import Finished
from privgen.experiments.spread import Difference, Spread, difference


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Trials that differ only in their seed.

    Args:
        stage: of the grid. trial: their settings, with seed 0. finished: the trials, without the tuning seed.
    """

    stage: str
    trial: Trial
    finished: tuple[Finished[Trial], ...]

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


def groups(finished: Sequence[Finished[Trial]]) -> list[Group]:
    """All groups, in the order of training; trials with the tuning seed are omitted.

    A trial that two stages share belongs to the first.
    """
    found: dict[Trial, list[Finished[Trial]]] = {}
    for one in finished:
        if one.trial.seed != TUNING_SEED:
            found.setdefault(replace(one.trial, seed=0), []).append(one)
    return [Group(stage=ones[0].stage, trial=trial, finished=tuple(ones)) for trial, ones in found.items()]


def gain(one: Group, other: Group, name: AtEnd = "accuracy") -> Difference:
    """The difference `one` − `other` of two means."""
    return difference(one.at_end(name), other.at_end(name))


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
