"""`PrvAccountant`: the tight referee, by numerical composition of privacy losses.

Each loss is put on a grid twice, once costlier and once cheaper than it is; both are composed in both directions, for
every event, the paper's feedback and replace-one too (`accountant.composition.prv_bounds`). Where every record is in
every batch (q = 1) the analytic Gaussian is used and nothing is composed.

    >>> from accountant.events import SubsampledGaussian
    >>> event = SubsampledGaussian(sampling_rate=1.0, noise_multiplier=2.0)
    >>> bounds = PrvAccountant().compose(event, 4).get_epsilon_bounds(1e-5)
    >>> round(bounds.upper, 6)  # REFERENCE row 16: four steps at σ = 2 are one at σ = 1
    4.377178

Guarantees: `upper` bounds ε from above and `lower` from below, discretisation, tails and every rounding included
(docs/privacy.md, theorem 6). `upper` is never above the RDP bound. Where no sound numerical answer exists the bounds
are (0, rdp, rdp) and say so in `fallback`. This is for events fixed in advance: against an adaptive choice of events
only RDP is a filter.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np

from accountant.budget import EpsilonBounds, Neighbouring, require_delta, require_neighbouring
from accountant.composition.block_meter import BlockMeter
from accountant.composition.conversion import Conversion, epsilon_of
from accountant.composition.gaussian import gaussian_epsilon_bounds
from accountant.composition.privacy_profile import ORDERS, ROOTS, delta_at, deltas_at, joint_gaussian, rdp_total
from accountant.composition.profile import TiltedSum, crossing
from accountant.composition.prv_bounds import LARGEST_SIZE, Charges, Composition
from accountant.composition.rounding import U
from accountant.composition.scales import Scales
from accountant.errors import InvalidValue, PrvFailure
from accountant.events import Event, require_count, require_event
from accountant.mixtures import Floats, MixturePair
from accountant.scalars import is_number, plain

# The allowance in ε relative to ε where `eps_error` is more, and the part of it that the mesh may use up.
_RELATIVE_ERROR, _MESH_PART = 1.5e-3, 0.3
# Where the bounds are wider than this many times what was asked for, the mesh is made finer while that is cheap: so
# many nodes, over all different charges together.
_WIDE, _FINER, _CHEAP = 8.0, 2.0, 1 << 14
# The part of δ that rounding, tails and window may take before the answer is refused.
_LARGEST_PART = 0.5


class PrvAccountant:
    """Composes events by numerical composition.

    Args:
        neighbouring: adjacency.
        eps_error: the error in ε that is allowed for and added, > 0; of a small ε no more than 0.15 % of it.
        delta_error: what tails may add to δ, or None for target_delta / 1000.
        group_size: k, records that are added, removed or replaced together, integer >= 1.

    Raises:
        InvalidValue: a value is out of range.
    """

    def __init__(
        self,
        neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE,
        *,
        eps_error: float = 0.01,
        delta_error: float | None = None,
        group_size: int = 1,
    ) -> None:
        require_neighbouring(neighbouring)
        require_count(group_size, "group_size", least=1)
        if not (is_number(eps_error) and math.isfinite(eps_error) and eps_error > 0):
            raise InvalidValue(f"Expected eps_error={eps_error!r} > 0; 0.01 is usual.")
        if delta_error is not None:
            require_delta(delta_error, "delta_error")
        self.neighbouring = neighbouring
        self.eps_error = eps_error
        self.delta_error = delta_error
        self.group_size = group_size
        self._charges: dict[MixturePair, int] = {}
        self._meter = BlockMeter(group_size)

    def copy(self) -> PrvAccountant:
        """An independent accountant that has composed the same."""
        other = PrvAccountant(
            self.neighbouring,
            eps_error=self.eps_error,
            delta_error=self.delta_error,
            group_size=self.group_size,
        )
        other._charges, other._meter = dict(self._charges), self._meter.copy()
        return other

    def compose(self, event: Event, count: int = 1) -> PrvAccountant:
        """Charge `count` steps of an event, continuing the current segment of a banded one.

        Returns:
            self, changed.

        Raises:
            InvalidValue: event or count is not what is expected.
        """
        require_count(count)
        require_event(event)
        pair = event.dominating_pair(self.neighbouring, self.group_size)
        charges = self._meter.charge(event, plain(count))
        if charges:
            self._charges[pair] = self._charges.get(pair, 0) + charges
        return self

    def new_segment(self) -> PrvAccountant:
        """Start another segment: a banded event's next step begins a new block. Returns self."""
        self._meter.cut()
        return self

    def get_epsilon(self, target_delta: float) -> float:
        """Upper bound on ε at δ = target_delta in (0, 1). Changes nothing.

        Raises:
            InvalidValue: target_delta is out of range.
        """
        return self.get_epsilon_bounds(target_delta).upper

    def get_epsilon_bounds(self, target_delta: float) -> EpsilonBounds:
        """Lower bound, estimate and upper bound on ε at δ = target_delta in (0, 1). Changes nothing.

        Raises:
            InvalidValue: target_delta is out of range.
        """
        require_delta(target_delta, "target_delta")
        delta_error = self.delta_error or target_delta / 1000
        return _epsilon_bounds(tuple(self._charges.items()), target_delta, self.eps_error, delta_error)

    def get_delta(self, target_epsilon: float) -> float:
        """Upper bound on δ at ε = target_epsilon >= 0. Changes nothing.

        Raises:
            InvalidValue: target_epsilon is negative or not a number.
        """
        if not (is_number(target_epsilon) and target_epsilon >= 0):
            raise InvalidValue(f"Expected target_epsilon={target_epsilon!r} >= 0.")
        return delta_at(
            tuple(self._charges.items()),
            target_epsilon,
            self.eps_error,
            self.delta_error,
        )

    def get_deltas(self, target_epsilons: Floats) -> Floats:
        """Upper bounds on δ at many ε at once, each within a thousandth of the least. Changes nothing.

        Args:
            target_epsilons: (n,), each >= 0.
        """
        epsilons = np.ascontiguousarray(target_epsilons, dtype=np.float64)
        if not (epsilons >= 0).all():
            raise InvalidValue(f"Expected target_epsilons={target_epsilons!r} to be >= 0.")
        return deltas_at(tuple(self._charges.items()), epsilons)


@lru_cache(maxsize=1024)
def _epsilon_bounds(charges: Charges, delta: float, eps_error: float, delta_error: float) -> EpsilonBounds:
    if not charges:
        return EpsilonBounds(0.0, 0.0, 0.0)
    squares = joint_gaussian(charges)
    if squares is not None:
        low, _ = gaussian_epsilon_bounds(math.sqrt(squares) * (1 - ROOTS * U), delta=delta)
        _, high = gaussian_epsilon_bounds(math.sqrt(squares) * (1 + ROOTS * U), delta=delta)
        # A last digit for whoever compares with a printed value.
        return EpsilonBounds(low * (1 - 1e-12), (low + high) / 2, high * (1 + 1e-12))
    total = rdp_total(charges)
    rdp = epsilon_of(total, Conversion.at(ORDERS, delta=delta))
    if rdp == 0:
        return EpsilonBounds(0.0, 0.0, 0.0)
    try:
        lower, estimate, upper = _numerical(charges, total, delta, eps_error, delta_error)
    except PrvFailure as failure:
        return EpsilonBounds(0.0, rdp, rdp, fallback=str(failure))
    if not lower <= rdp:
        return EpsilonBounds(0.0, rdp, rdp, fallback="the numerical lower bound is above the RDP bound")
    upper = min(upper, rdp)
    return EpsilonBounds(lower, min(max(lower, estimate), upper), upper)


def _numerical(
    charges: Charges, total: Floats, delta: float, eps_error: float, delta_error: float
) -> tuple[float, float, float]:
    """(lower, estimate, upper): worst-case bounds, and the errors that are allowed for added to the upper one."""
    conversion = Conversion.at(ORDERS, delta=delta)
    best = int(np.argmin(total + conversion.added))
    steps = sum(count for _, count in charges)
    planned = _MESH_PART * min(eps_error, _RELATIVE_ERROR * epsilon_of(total, conversion))
    scales = Scales.near(ORDERS, total, best=best, steps=steps, delta=min(delta, delta_error), error=planned)
    while True:
        composition = Composition.of(charges, scales)
        upper, way = _upper(composition, delta)
        if upper == 0:
            return 0.0, 0.0, 0.0
        below, moved = composition.below(way)
        lower = _lower(below[0], delta, upper)
        error = _MESH_PART * min(eps_error, _RELATIVE_ERROR * upper)
        if upper - lower > _WIDE * error:
            lower = max(lower, *(_lower(one, delta, upper) for one in below[1:]))
        # Rényi's ε, which the mesh was made for, can be several times what is true.
        finer = math.sqrt(error / planned) if error < planned / 2 else 1 / _FINER
        wide = upper - lower > _WIDE * error and composition.size * len(charges) <= _CHEAP
        if not (wide or error < planned / 2) or composition.size * 2 > LARGEST_SIZE:
            break
        planned = error
        scales = replace(scales, mesh=composition.scales.mesh * finer)
    likely = replace(below[0], shift=moved, lost=0.0)
    # Splitting a cell adds twice the variance that merging takes away.
    merged, with_error = (_lower(likely, d, upper) for d in (delta, max(delta - delta_error, delta / 2)))
    estimate = (2 * merged + upper) / 3
    return lower, estimate, max(upper, estimate + (with_error - merged) + min(eps_error, _RELATIVE_ERROR * estimate))


def _upper(composition: Composition, delta: float) -> tuple[float, int]:
    """The largest upper bound of all directions, and which one it is."""
    upper, largest = 0.0, 0
    for way in range(len(composition.ways)):
        above = composition.above(way)
        if above.constant > _LARGEST_PART * delta:
            raise PrvFailure(f"tails and rounding could be more than half of δ = {delta:g}")
        low, high = (max(0.0, end) for end in above.ends)
        if upper >= low and way and above.upper_delta(upper) <= delta:
            continue
        found = crossing(above.upper_delta, delta, low=max(low, upper), high=high, upper=True)
        if found is None:
            raise PrvFailure("the composed distribution has no finite ε")
        if not way or found > upper:
            upper, largest = found, way
    return upper, largest


def _lower(below: TiltedSum, delta: float, upper: float) -> float:
    """From the upper bound down in growing steps: far below, what wrapped round hides the profile."""
    step = 1e-3 * upper
    while step < 2 * upper:
        low = max(upper - step, 0.0, below.ends[0])
        found = crossing(below.lower_delta, delta, low=low, high=upper, upper=False)
        if found is not None:
            return found
        step *= 4
    return 0.0
