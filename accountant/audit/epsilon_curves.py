"""How the spend grew, and what else it says: ε over steps, and δ over ε, by RDP and by PRV.

    >>> from accountant.events import BandedGaussian
    >>> event = BandedGaussian(sampling_rate=0.02, noise_multiplier=1.0, bands=4)
    >>> found = epsilon_over_steps([Segment(event, 8, 8)], Budget(epsilon=3.0, delta=1e-5))
    >>> [point.step for point in found.rdp], found.rdp[3] == found.rdp[4]
    ([0, 1, 2, 3, 4, 5, 6, 7, 8], False)
    >>> [point.epsilon for point in found.rdp[1:5]] == [found.rdp[1].epsilon] * 4  # one block of four steps
    True

Cost: RDP is a vector addition a point. A PRV point is one numerical composition: 0.06 to 0.4 s for 1 000 to 4 000
steps of subsampled Gaussians, 1.5 to 4 s for the published feedback, so that gets fewer of them.

Guarantees: each point is an upper bound by itself, at its own step and its own δ, for a plan that was fixed before the
run. A point without a sound PRV answer is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from accountant.budget import Budget, EpsilonBounds
from accountant.composition.prv import PrvAccountant
from accountant.composition.rdp import RdpAccountant
from accountant.composition.segments import compose_segments
from accountant.ledger.state import Segment, charged

MOST_RDP_POINTS = 120
_SMALLEST_DELTA = 1e-12
_LARGEST_DELTA = 1e-2


@dataclass(frozen=True, kw_only=True, slots=True)
class StepPoint:
    """ε after so many charged steps, an upper bound."""

    step: int
    epsilon: float


@dataclass(frozen=True, kw_only=True, slots=True)
class DeltaPoint:
    """(ε, δ): what was charged is differentially private with these."""

    epsilon: float
    delta: float


@dataclass(frozen=True, kw_only=True, slots=True)
class StepCurve:
    """ε over steps at the budget's δ. Either may be empty."""

    rdp: tuple[StepPoint, ...]
    prv: tuple[StepPoint, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DeltaCurve:
    """δ over ε for all that was charged. Either may be empty."""

    rdp: tuple[DeltaPoint, ...]
    prv: tuple[DeltaPoint, ...]


def first_steps(segments: Iterable[Segment], steps: int) -> tuple[Segment, ...]:
    """The segments as they stood when only the first `steps` charged steps had run."""
    taken = []
    for segment in segments:
        reserved = min(segment.reserved, steps)
        if reserved:
            taken.append(replace(segment, committed=min(segment.committed, reserved), reserved=reserved))
        steps -= reserved
    return tuple(taken)


def epsilon_over_steps(segments: Iterable[Segment], budget: Budget) -> StepCurve:
    """ε after 0, …, T charged steps, at the budget's δ and adjacency.

    Args:
        segments: what is charged, in order.

    Returns:
        Up to MOST_RDP_POINTS points by RDP, every step where they suffice, and a few by PRV.
    """
    segments = tuple(segment for segment in segments if segment.reserved)
    total = sum(segment.reserved for segment in segments)
    rdp = tuple(
        StepPoint(step=step, epsilon=_rdp(first_steps(segments, step), budget) if step else 0.0)
        for step in _spread(total, MOST_RDP_POINTS)
    )
    # Where a block ends, so that a line from point to point stays below the staircase of the charges.
    chosen = sorted({_block_end(segments, step) for step in _spread(total, _prv_points(segments, budget)) if step})
    bounds = {step: _prv(first_steps(segments, step), budget, budget.delta) for step in chosen}
    prv = tuple(StepPoint(step=s, epsilon=b.upper) for s, b in bounds.items() if b.fallback is None)
    return StepCurve(rdp=rdp, prv=prv)


def delta_over_epsilon(segments: Iterable[Segment], budget: Budget) -> DeltaCurve:
    """(ε, δ) of all that is charged, for δ from 1e-2 to well below the budget's; empty where nothing is charged."""
    segments = tuple(segment for segment in segments if segment.reserved)
    if not segments:
        return DeltaCurve(rdp=(), prv=())
    composed = _composed_rdp(segments, budget)
    rdp = (DeltaPoint(epsilon=composed.get_epsilon(delta), delta=delta) for delta in _deltas(budget, 49))
    bounds = ((_prv(segments, budget, delta), delta) for delta in _deltas(budget, _prv_points(segments, budget)))
    prv = (DeltaPoint(epsilon=b.upper, delta=delta) for b, delta in bounds if b.fallback is None)
    return DeltaCurve(
        rdp=tuple(point for point in rdp if math.isfinite(point.epsilon)),
        prv=tuple(point for point in prv if math.isfinite(point.epsilon)),
    )


def _prv_points(segments: tuple[Segment, ...], budget: Budget) -> int:
    """Few where one composition takes seconds."""
    pairs = (segment.event.dominating_pair(budget.neighbouring) for segment in segments)
    return 8 if all(pair.inverts_in_closed_form for pair in pairs) else 4


def _block_end(segments: tuple[Segment, ...], step: int) -> int:
    """The first step from this one on after which nothing more can be had for what is charged."""
    before = 0
    for segment in segments:
        if step <= before + segment.reserved:
            bands = segment.event.bands
            return before + min(-(-(step - before) // bands) * bands, segment.reserved)
        before += segment.reserved
    return before


def _spread(total: int, count: int) -> list[int]:
    """0 and up to `count` steps to `total`, evenly."""
    return [0, *sorted({round(total * k / count) for k in range(1, count + 1)} - {0})]


def _deltas(budget: Budget, count: int) -> list[float]:
    """From the largest down, evenly in their logarithm, around the budget's own."""
    smallest = max(_SMALLEST_DELTA, min(budget.delta**2 / _LARGEST_DELTA, budget.delta / 100))
    largest = max(_LARGEST_DELTA, min(0.5, budget.delta * 10))
    return [float(delta) for delta in np.geomspace(largest, smallest, count)]


def _composed_rdp(segments: tuple[Segment, ...], budget: Budget) -> RdpAccountant:
    return compose_segments(RdpAccountant(budget.neighbouring), charged(segments))


def _rdp(segments: tuple[Segment, ...], budget: Budget) -> float:
    return _composed_rdp(segments, budget).get_epsilon(budget.delta)


def _prv(segments: tuple[Segment, ...], budget: Budget, delta: float) -> EpsilonBounds:
    return compose_segments(PrvAccountant(budget.neighbouring), charged(segments)).get_epsilon_bounds(delta)
