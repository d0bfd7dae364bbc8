"""`replay_neighbours`: what one record changes in what a step of somebody's own releases, before its noise.

The step is run on data sets that differ in one record, everything random in it replayed from one seed, and the distance
of the two releases is held against the sensitivity that its noise is charged for. Records are random and adversarial:
huge, tiny, not finite, copies of others, alone, in an empty batch. A step whose noise is right for its charge and whose
distance is within it on *all* neighbours is private; what is tried here is some of them, so that a violation is a proof
and its absence is none. The idea is Re:cord-play's (arXiv 2602.17454): looking at the inside of one run finds what
statistics on outputs need millions of runs for.

What is seen beside a distance: a release that differs in names or shapes, a refusal, or numbers that are not finite for
one of the neighbours alone (each is an output that nobody charges), and a step that is not the same twice.

    >>> def clipped_sum(records):
    ...     (x,) = records
    ...     return {"w": (x * (1.0 / x.norm(dim=1, keepdim=True).clamp_min(1.0))).nan_to_num().sum(0)}
    >>> step = PrivateStep(
    ...     release=clipped_sum, sensitivity=1.0, records=lambda n, rng: (torch.randn(n, 3, generator=rng),)
    ... )
    >>> replay_neighbours(step, trials=30).holds
    True
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from accountant.budget import Neighbouring
from privgen.errors import EvaluationError

Records = tuple[Tensor, ...]
Release = Mapping[str, Tensor]
TRIALS = 200
# Records beside ours in a trial: none, one, a few, a batch.
_OTHERS = (0, 1, 5, 32)
_HUGE, _TINY = 1e6, 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class PrivateStep:
    """A private step of one's own, up to its noise.

    Args:
        release: from records, each tensor with them first, perhaps none, to what is released before noise, by name.
            Everything random in it comes from torch's, numpy's or Python's global generators.
        sensitivity: L2 norm that the noise is charged for: of all that is released together, or by name; > 0.
        records: (count, generator) -> that many random records.
        hard: further records that are likely to move much, or None.
        neighbouring: adjacency.
    """

    release: Callable[[Records], Release]
    sensitivity: float | Mapping[str, float]
    records: Callable[[int, torch.Generator], Records]
    hard: Records | None = None
    neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE

    def __post_init__(self) -> None:
        values = self.sensitivity.values() if isinstance(self.sensitivity, Mapping) else (self.sensitivity,)
        if not values or not all(0 < value < float("inf") for value in values):
            raise EvaluationError(f"Expected sensitivity={self.sensitivity!r} > 0: the L2 norm that noise is for.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """What a kind of record did.

    Args:
        kind: of record. pairs: neighbours that were run. moved: largest distance, in units of what is charged for it.
        problem: what went wrong first, in a clause, or None.
    """

    kind: str
    pairs: int
    moved: float
    problem: str | None

    def to_json(self) -> dict[str, Any]:
        """As JSON; a distance that is no number is null."""
        moved = self.moved if np.isfinite(self.moved) else None
        return {"kind": self.kind, "pairs": self.pairs, "moved": moved, "problem": self.problem}


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """All kinds of record, by the order in which they were tried."""

    rows: tuple[Replayed, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing went wrong."""
        return all(row.problem is None for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {"schema": "privgen.neighbours/1", "holds": self.holds, "kinds": [row.to_json() for row in self.rows]}


def replay_neighbours(step: PrivateStep, *, trials: int = TRIALS, seed: int = 0) -> Replay:
    """Run a step on many pairs of neighbours.

    Args:
        trials: pairs of each kind of record, >= 1. seed: of the records, and of what is replayed.

    Raises:
        EvaluationError: trials is out of range, or `records` does not give records.
    """
    if trials < 1:
        raise EvaluationError(f"Expected trials={trials!r} >= 1.")
    generator = torch.Generator().manual_seed(seed)
    own = _drawn(step, 2, generator)
    kinds = dict.fromkeys(_MADE) | ({"given as hard": step.hard} if step.hard is not None else {})
    if not any(tensor.is_floating_point() for tensor in own):
        kinds = {kind: records for kind, records in kinds.items() if kind not in _FLOATING}
    return Replay(rows=tuple(_kind(step, kind, hard, trials, seed, generator) for kind, hard in kinds.items()))


def _kind(
    step: PrivateStep, kind: str, hard: Records | None, trials: int, seed: int, generator: torch.Generator
) -> Replayed:
    largest, problem = 0.0, None
    for trial in range(trials):
        others = _drawn(step, _OTHERS[trial % len(_OTHERS)], generator)
        ours = _drawn(step, 2, generator)
        if hard is not None:
            row = trial % len(hard[0])
            ours = tuple(torch.cat([own[row : row + 1], one[1:]]) for own, one in zip(hard, ours, strict=True))
        else:
            ours = _MADE[kind](ours, others)
        place = (0, len(others[0]) // 2, len(others[0]))[trial % 3]
        found = _pair(step, *_neighbours(step, ours, others, place), seed + trial)
        largest = max(largest, found) if isinstance(found, float) else largest
        if isinstance(found, str) or found > 1:
            said = found if isinstance(found, str) else f"one record moves it {found:.4g} times as far as is charged"
            problem = problem or f"{said} (beside {len(others[0])} others)"
    return Replayed(kind=kind, pairs=trials, moved=largest, problem=problem)


def _neighbours(step: PrivateStep, ours: Records, others: Records, place: int) -> tuple[Records, Records]:
    """Data with our record at a place, and without it or with another one there."""

    def put(rows: Records) -> Records:
        return tuple(torch.cat([o[:place], r, o[place:]]) for o, r in zip(others, rows, strict=True))

    with_ours = put(tuple(tensor[:1] for tensor in ours))
    if step.neighbouring is Neighbouring.REPLACE_ONE:
        return with_ours, put(tuple(tensor[1:] for tensor in ours))
    return with_ours, others


def _pair(step: PrivateStep, one: Records, other: Records, seed: int) -> float | str:
    """The distance in units of the charge, or what went wrong."""
    first, second = (_run(step, records, seed) for records in (one, other))
    if isinstance(first, str) or isinstance(second, str):
        if first == second:
            return f"it refuses any such data: {first}"
        return f"it refuses one of two neighbours, which is an output: {first if isinstance(first, str) else second}"
    again = _run(step, one, seed)
    if isinstance(again, str) or not _equal(first, again):
        return "it is not the same twice: leave its noise out, and draw what is random from torch, numpy or random"
    shapes = [{name: tuple(tensor.shape) for name, tensor in found.items()} for found in (first, second)]
    if shapes[0] != shapes[1]:
        return f"names or shapes depend on one record: {shapes[0]} and {shapes[1]}"
    if any(not torch.isfinite(tensor.double()).all() for found in (first, second) for tensor in found.values()):
        return "what is released is not finite, which no noise hides"
    return _moved(step.sensitivity, first, second)


def _run(step: PrivateStep, records: Records, seed: int) -> Release | str:
    """What it releases, or the name and text of its refusal."""
    with _replayed(seed):
        try:
            found = step.release(tuple(tensor.clone() for tensor in records))
            return {str(name): torch.as_tensor(value).detach().clone() for name, value in found.items()}
        except Exception as error:
            return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def _equal(one: Release, other: Release) -> bool:
    return one.keys() == other.keys() and all(
        one[name].shape == other[name].shape and torch.equal(one[name].nan_to_num(), other[name].nan_to_num())
        for name in one
    )


def _moved(sensitivity: float | Mapping[str, float], one: Release, other: Release) -> float:
    """Largest distance in units of what is charged; what rounding alone can do is taken off."""
    apart = {name: float((one[name].double() - other[name].double()).norm()) for name in one}
    slack = {name: max(_rounding(one[name]), _rounding(other[name])) for name in one}
    if not isinstance(sensitivity, Mapping):
        total, off = (float(np.sqrt(sum(v**2 for v in values.values()))) for values in (apart, slack))
        return _less(total, off, sensitivity)
    unknown = sorted(set(one) - set(sensitivity))
    if unknown:
        raise EvaluationError(f"The step releases {unknown[0]!r}, for which its sensitivity charges nothing.")
    return max((_less(apart[name], slack[name], sensitivity[name]) for name in one), default=0.0)


def _less(distance: float, slack: float, charged: float) -> float:
    return distance / charged if distance <= charged else max(1.0, (distance - slack) / charged)


def _rounding(released: Tensor) -> float:
    """What float arithmetic can put between two sums of so large numbers; integers have none."""
    if not released.is_floating_point():
        return 0.0
    return 64 * torch.finfo(released.dtype).eps * (1 + float(released.double().norm()))


def _drawn(step: PrivateStep, count: int, generator: torch.Generator) -> Records:
    records = step.records(count, generator)
    if not isinstance(records, tuple) or not records or any(len(tensor) != count for tensor in records):
        raise EvaluationError(f"Expected `records` to give a tuple of tensors of {count} records each.")
    return records


@contextmanager
def _replayed(seed: int) -> Iterator[None]:
    """Everything that is random from one seed, and as it was afterwards."""
    python, legacy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)


def _each(change: Callable[[Tensor], Tensor]) -> Callable[[Records, Records], Records]:
    """A change of the floating-point numbers of our record; the other one stays."""

    def made(ours: Records, others: Records) -> Records:
        return tuple(
            torch.cat([change(tensor[:1]), tensor[1:]]) if tensor.is_floating_point() else tensor for tensor in ours
        )

    return made


def _copy(ours: Records, others: Records) -> Records:
    if not len(others[0]):
        return ours
    return tuple(torch.cat([other[:1], tensor[1:]]) for tensor, other in zip(ours, others, strict=True))


_MADE: dict[str, Callable[[Records, Records], Records]] = {
    "random": lambda ours, others: ours,
    "a copy of another": _copy,
    "a million times larger": _each(lambda tensor: tensor * _HUGE),
    "a million times smaller": _each(lambda tensor: tensor * _TINY),
    "zeros": _each(torch.zeros_like),
    "the largest numbers": _each(lambda tensor: torch.full_like(tensor, torch.finfo(tensor.dtype).max)),
    "infinite": _each(lambda tensor: torch.full_like(tensor, float("inf"))),
    "no numbers (NaN)": _each(lambda tensor: torch.full_like(tensor, float("nan"))),
}
_FLOATING = frozenset(_MADE) - {"random", "a copy of another"}
