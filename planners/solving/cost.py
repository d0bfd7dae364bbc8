"""What a candidate costs: ε of T steps at (q, z), whole or in phases, by RDP at few orders or at all, or by PRV.

Any set of Rényi orders gives a valid upper bound, so a search may look at a few orders around the best one
and is still on the safe side; the answer is accounted once more at all orders before it is returned.

    >>> family = EventFamily(bands=4)
    >>> family.composition(sampling_rate=0.01, noise_multiplier=1.0, iterations=100)
    ((BandedGaussian(sampling_rate=0.01, noise_multiplier=1.0, bands=4), 100),)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accountant.budget import Budget, EpsilonBounds
from accountant.composition.rdp import RdpAccountant
from accountant.composition.segments import Composition, compose_segments
from accountant.errors import InvalidValue
from accountant.events import (
    BandedGaussian,
    Event,
    HiddenFeedbackGaussian,
    SubsampledGaussian,
    require_count,
    require_sampling_rate,
)
from accountant.plans.parts import Phase
from accountant.scalars import is_number, keep_plain
from planners.errors import ContradictoryRequest
from planners.schedule import WHOLE, PhaseShape, require_whole, split_steps

Floats = NDArray[np.float64]

# One default order in so many is looked at first, then this many on either side of the best of those.
_STRIDE = 12
_WINDOW = 13


@dataclass(frozen=True, kw_only=True, slots=True)
class EventFamily:
    """Which events a run is made of, but for its sampling rate, noise and number of steps.

    Args:
        bands: b of banded feedback, >= 1; 1 is none.
        feedback_ratio: ρ of the paper's feedback, finite and >= 0; 0 is none. C2 stays the same over the phases,
            so in a phase of another sampling rate ρ = 2·C2·qN/C1 is scaled as q is.
        phases: the shape of the schedule; its shares sum to 1.
        before: what is released before the first step, such as a warm start; charged whatever the steps are.
        spare_blocks: that each phase may be charged beside those of its steps, >= 0.

    Raises:
        InvalidValue: a value is out of range. ContradictoryRequest: both feedbacks at once.
    """

    bands: int = 1
    feedback_ratio: float = 0.0
    phases: tuple[PhaseShape, ...] = WHOLE
    before: Composition = ()
    spare_blocks: int = 0

    def __post_init__(self) -> None:
        keep_plain(self)
        require_count(self.bands, "bands", least=1)
        require_count(self.spare_blocks, "spare_blocks", least=0)
        ratio = self.feedback_ratio
        if not (is_number(ratio) and math.isfinite(ratio) and ratio >= 0):
            raise InvalidValue(f"Expected feedback_ratio={ratio!r} to be finite and >= 0 (2·C2·qN/C1).")
        if self.bands > 1 and ratio:
            raise ContradictoryRequest(
                f"Expected bands=1 or feedback_ratio=0, got bands={self.bands} and feedback_ratio={ratio!r}; "
                "a step has one error feedback."
            )
        require_whole(self.phases)

    @property
    def largest_rate(self) -> float:
        """The largest q that the events take: in every phase b·q is a probability."""
        most = max(phase.rate for phase in self.phases)
        rate = min(1.0, 1 / (self.bands * most))
        while rate * most * self.bands > 1:
            rate = math.nextafter(rate, 0)
        return rate

    def schedule(self, *, sampling_rate: float, noise_multiplier: float, iterations: int) -> tuple[Phase, ...]:
        """The phases that get at least one of so many steps, at this q and z.

        Raises:
            InvalidValue: a value is out of range.
        """
        counts = split_steps(self.phases, iterations, bands=self.bands)
        return tuple(
            Phase(
                iterations=steps,
                sampling_rate=sampling_rate * shape.rate,
                noise_multiplier=noise_multiplier * shape.noise,
            )
            for shape, steps in zip(self.phases, counts, strict=True)
            if steps
        )

    def composition(self, *, sampling_rate: float, noise_multiplier: float, iterations: int) -> Composition:
        """What so many steps release at this q and z, and what spare blocks may.

        Raises:
            InvalidValue: a value is out of range, or b·q > 1 in a phase.
        """
        phases = self.schedule(sampling_rate=sampling_rate, noise_multiplier=noise_multiplier, iterations=iterations)
        steps = tuple((self._event(phase, sampling_rate), phase.iterations) for phase in phases)
        spare = tuple((event, self.spare_blocks * event.bands) for event, _ in steps if self.spare_blocks)
        return (*self.before, *steps, *spare)

    def _event(self, phase: Phase, base_rate: float) -> Event:
        q, z = phase.sampling_rate, phase.noise_multiplier
        if self.bands > 1:
            return BandedGaussian(sampling_rate=q, noise_multiplier=z, bands=self.bands)
        if self.feedback_ratio:
            ratio = self.feedback_ratio * (q / base_rate)
            return HiddenFeedbackGaussian(sampling_rate=q, noise_multiplier=z, feedback_ratio=ratio)
        return SubsampledGaussian(sampling_rate=q, noise_multiplier=z)

    def require_rate(self, sampling_rate: float) -> None:
        """Raise InvalidValue unless 0 < q <= 1/b in every phase."""
        require_sampling_rate(sampling_rate)
        for shape in self.phases:
            one = Phase(iterations=1, sampling_rate=sampling_rate * shape.rate, noise_multiplier=1.0)
            self._event(one, sampling_rate)


# Maps the searched number to what is to be priced.
Candidate = Callable[[float], Composition]


def epsilon_by_rdp(composition: Composition, budget: Budget) -> float:
    """ε of a composition, at all default orders."""
    return compose_segments(RdpAccountant(budget.neighbouring), composition).get_epsilon(budget.delta)


class FewOrders:
    """ε by RDP at a window of orders that `focus` puts around the best one; an upper bound always.

    Args:
        budget: its δ and adjacency are used.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._all: Floats = RdpAccountant(budget.neighbouring).orders
        # The smallest order is kept always: it says where a divergence is too small to matter.
        self._orders: Floats = np.union1d(self._all[::_STRIDE], self._all[[0, -1]])

    def epsilon(self, composition: Composition) -> float:
        """ε at the present orders."""
        return float(self._accountant(composition).get_epsilon(self._budget.delta))

    def focus(self, composition: Composition) -> None:
        """Look only at orders near the best one for this candidate from here on."""
        best = self._accountant(composition).best_order(self._budget.delta)
        centre = int(np.searchsorted(self._all, best))
        low, high = max(0, centre - _WINDOW), min(len(self._all), centre + _WINDOW + 1)
        self._orders = np.union1d(self._all[low:high], self._all[[0]])

    def _accountant(self, composition: Composition) -> RdpAccountant:
        return compose_segments(RdpAccountant(self._budget.neighbouring, orders=self._orders), composition)


def bounds_by_prv(composition: Composition, budget: Budget, *, eps_error: float | None = None) -> EpsilonBounds:
    """(lower, estimate, upper) of ε by PRV; `eps_error` None is the accountant's default."""
    # Loaded here: planning by RDP never needs it.
    from accountant.composition.prv import PrvAccountant

    accountant = (
        PrvAccountant(budget.neighbouring)
        if eps_error is None
        else PrvAccountant(budget.neighbouring, eps_error=eps_error)
    )
    return compose_segments(accountant, composition).get_epsilon_bounds(budget.delta)
