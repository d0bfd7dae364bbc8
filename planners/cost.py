"""What a candidate costs: ε of `steps` steps at (q, z), by RDP at few orders or at all, or by PRV.

Any set of Rényi orders gives a valid upper bound, so a search may look at a few orders around the best one
and is still on the safe side; the answer is accounted once more at all orders before it is returned.

    >>> family = EventFamily(bands=4)
    >>> family.event(sampling_rate=0.01, noise_multiplier=1.0)
    BandedGaussian(sampling_rate=0.01, noise_multiplier=1.0, bands=4)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accountant.budget import Budget, EpsilonBounds
from accountant.errors import InvalidValue
from accountant.events import (
    BandedGaussian,
    Event,
    HiddenFeedbackGaussian,
    SubsampledGaussian,
    require_count,
    require_sampling_rate,
)
from accountant.rdp import RdpAccountant
from planners.errors import ContradictoryRequest

Floats = NDArray[np.float64]

# One default order in so many is looked at first, then this many on either side of the best of those.
_STRIDE = 12
_WINDOW = 13


@dataclass(frozen=True, kw_only=True, slots=True)
class EventFamily:
    """Which event a step is, but for its sampling rate and noise.

    Args:
        bands: b of banded feedback, >= 1; 1 is none.
        feedback_ratio: ρ of the paper's feedback, finite and >= 0; 0 is none.

    Raises:
        InvalidValue: a value is out of range. ContradictoryRequest: both feedbacks at once.
    """

    bands: int = 1
    feedback_ratio: float = 0.0

    def __post_init__(self) -> None:
        require_count(self.bands, "bands", least=1)
        ratio = self.feedback_ratio
        if not (isinstance(ratio, int | float) and math.isfinite(ratio) and ratio >= 0):
            raise InvalidValue(f"Expected feedback_ratio={ratio!r} to be finite and >= 0 (2·C2·qN/C1).")
        if self.bands > 1 and ratio:
            raise ContradictoryRequest(
                f"Expected bands=1 or feedback_ratio=0, got bands={self.bands} and feedback_ratio={ratio!r}; "
                "a step has one error feedback."
            )

    @property
    def largest_rate(self) -> float:
        """The largest q that the events take: b·q is a probability."""
        rate = 1 / self.bands
        return rate if rate * self.bands <= 1 else math.nextafter(rate, 0)

    def event(self, *, sampling_rate: float, noise_multiplier: float) -> Event:
        """One step at this q and z.

        Raises:
            InvalidValue: a value is out of range, or b·q > 1.
        """
        if self.bands > 1:
            return BandedGaussian(sampling_rate=sampling_rate, noise_multiplier=noise_multiplier, bands=self.bands)
        if self.feedback_ratio:
            return HiddenFeedbackGaussian(
                sampling_rate=sampling_rate,
                noise_multiplier=noise_multiplier,
                feedback_ratio=self.feedback_ratio,
            )
        return SubsampledGaussian(sampling_rate=sampling_rate, noise_multiplier=noise_multiplier)

    def require_rate(self, sampling_rate: float) -> None:
        """Raise InvalidValue unless 0 < q <= 1/b."""
        require_sampling_rate(sampling_rate)
        self.event(sampling_rate=sampling_rate, noise_multiplier=1.0)


# A candidate is an event and how often; a cost function maps the searched number to one.
Candidate = Callable[[float], tuple[Event, int]]


def epsilon_by_rdp(event: Event, steps: int, budget: Budget) -> float:
    """ε of `steps` steps of one segment, at all default orders."""
    accountant = RdpAccountant(budget.neighbouring).compose(event, steps)
    return float(accountant.get_epsilon(budget.delta))


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

    def epsilon(self, event: Event, steps: int) -> float:
        """ε at the present orders."""
        return float(self._accountant(event, steps).get_epsilon(self._budget.delta))

    def focus(self, event: Event, steps: int) -> None:
        """Look only at orders near the best one for this candidate from here on."""
        best = self._accountant(event, steps).best_order(self._budget.delta)
        centre = int(np.searchsorted(self._all, best))
        low, high = max(0, centre - _WINDOW), min(len(self._all), centre + _WINDOW + 1)
        self._orders = np.union1d(self._all[low:high], self._all[[0]])

    def _accountant(self, event: Event, steps: int) -> RdpAccountant:
        accountant = RdpAccountant(self._budget.neighbouring, orders=self._orders)
        return accountant.compose(event, steps)


def bounds_by_prv(event: Event, steps: int, budget: Budget, *, eps_error: float | None = None) -> EpsilonBounds:
    """(lower, estimate, upper) of ε by PRV; `eps_error` None is the accountant's default."""
    # Loaded here: planning by RDP never needs it.
    from accountant.prv import PrvAccountant

    accountant = (
        PrvAccountant(budget.neighbouring)
        if eps_error is None
        else PrvAccountant(budget.neighbouring, eps_error=eps_error)
    )
    return accountant.compose(event, steps).get_epsilon_bounds(budget.delta)
