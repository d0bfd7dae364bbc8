"""`PrvAccountant`: the tight referee, by numerical composition of privacy losses.

The composition is that of Gopi, Lee & Wutschitz 2021 (arXiv 2106.02848; `accountant.composition.convolution`).
Given to it are
our own privacy losses (`accountant.composition.privacy_loss`), so that both directions of every event are composed, the
paper's feedback and replace-one too, and the domain comes from our own RDP bound. Where every record is in
every batch (q = 1) the analytic Gaussian is exact and nothing is composed.

    >>> from accountant.events import SubsampledGaussian
    >>> event = SubsampledGaussian(sampling_rate=1.0, noise_multiplier=2.0)
    >>> bounds = PrvAccountant().compose(event, 4).get_epsilon_bounds(1e-5)
    >>> round(bounds.upper, 6)  # REFERENCE row 16: four steps at σ = 2 are one at σ = 1
    4.377178

Guarantees: `upper` bounds ε from above and `lower` from below (theorem 5.5 there: an error of at most
`eps_error` in ε and `delta_error` in δ; the rounding error of the transforms is added to `delta_error`).
`upper` is never above the RDP bound. Where no sound numerical answer exists the bounds are (0, rdp, rdp) and
say so in `fallback`. This is for events fixed in advance: against an adaptive choice of events only RDP is a
filter.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from accountant.budget import EpsilonBounds, Neighbouring, require_delta, require_neighbouring
from accountant.composition.block_meter import BlockMeter
from accountant.composition.conversion import Conversion, delta_of, epsilon_of
from accountant.composition.convolution import Composed, Grid, compose, discretise
from accountant.composition.gaussian import gaussian_delta, gaussian_epsilon
from accountant.composition.privacy_loss import PrivacyLoss
from accountant.composition.renyi import default_orders, pair_curve
from accountant.errors import InvalidValue, PrvFailure
from accountant.events import Event, require_count, require_event
from accountant.mixtures import Floats, MixturePair

Charges = tuple[tuple[MixturePair, int], ...]

_ORDERS = default_orders()
_LARGEST_DOMAIN = 1 << 22
# Rounding in F(f)^T: a few units in the last place for each of T factors, in the sum over a tail (theorem 6, b).
_ROUNDING = 32 * float(np.finfo(np.float64).eps)


class PrvAccountant:
    """Composes events by numerical composition.

    Args:
        neighbouring: adjacency.
        eps_error: the error in ε that is allowed for and added, > 0.
        delta_error: the same in δ, or None for target_delta / 1000.
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
        if not (math.isfinite(eps_error) and eps_error > 0):
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
        charges = self._meter.charge(event, count)
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
        if not target_epsilon >= 0:
            raise InvalidValue(f"Expected target_epsilon={target_epsilon!r} >= 0.")
        return _delta(
            tuple(self._charges.items()),
            target_epsilon,
            # δ falls by a factor with ε's error: a finer mesh than for ε keeps it within a percent.
            self.eps_error / 10,
            self.delta_error,
        )


@lru_cache(maxsize=1024)
def _epsilon_bounds(charges: Charges, delta: float, eps_error: float, delta_error: float) -> EpsilonBounds:
    if not charges:
        return EpsilonBounds(0.0, 0.0, 0.0)
    mu = _joint_gaussian(charges)
    if mu is not None:
        exact = gaussian_epsilon(mu, delta=delta)
        return EpsilonBounds(max(0.0, exact - 1e-9), exact, exact + 1e-9)
    rdp = _rdp_epsilon(charges, delta)
    try:
        ways = [
            _one_way_epsilon(charges, delta, eps_error, delta_error, forward=forward)
            for forward in _directions(charges)
        ]
    except PrvFailure as failure:
        return EpsilonBounds(0.0, rdp, rdp, fallback=str(failure))
    lower, estimate, upper = (max(0.0, *values) for values in zip(*ways, strict=True))
    if not lower <= rdp:
        return EpsilonBounds(0.0, rdp, rdp, fallback="the numerical lower bound is above the RDP bound")
    upper = min(upper, rdp)
    return EpsilonBounds(lower, min(max(lower, estimate), upper), upper)


def _one_way_epsilon(
    charges: Charges,
    delta: float,
    eps_error: float,
    delta_error: float,
    *,
    forward: bool,
) -> tuple[float, float, float]:
    composed, eps_error = _compose(charges, eps_error, delta_error, forward=forward)
    allowed = delta_error + _rounding(charges)
    if allowed > delta / 2:
        raise PrvFailure(f"δ = {delta:g} is below what double precision resolves for so many steps")
    deltas = (delta - allowed, delta, delta + allowed)
    upper, estimate, lower = composed.epsilons(deltas, least=-eps_error)
    if not math.isfinite(upper):
        raise PrvFailure("the composed distribution has no finite ε")
    return lower - eps_error, estimate, upper + eps_error


@lru_cache(maxsize=256)
def _delta(
    charges: Charges,
    epsilon: float,
    eps_error: float,
    delta_error: float | None,
) -> float:
    if not charges:
        return 0.0
    mu = _joint_gaussian(charges)
    if mu is not None:
        return min(1.0, gaussian_delta(mu, epsilon=epsilon) * (1 + 1e-9))
    rdp = delta_of(_rdp_total(charges), _ORDERS, epsilon=epsilon)
    if delta_error is None:
        delta_error = max(rdp / 1000, 1e-13)
    worst = 0.0
    try:
        for forward in _directions(charges):
            composed, error = _compose(charges, eps_error, delta_error, forward=forward)
            found = composed.delta(epsilon - error)
            worst = max(worst, found + delta_error + _rounding(charges))
    except PrvFailure:
        return rdp
    return min(rdp, worst) if math.isfinite(worst) else rdp


def _joint_gaussian(charges: Charges) -> float | None:
    """μ of the whole where every charge is a plain Gaussian mechanism, else None."""
    total = 0.0
    for pair, count in charges:
        if pair.gaussian_mean is None:
            return None
        total += count * (pair.gaussian_mean / pair.sigma) ** 2
    return math.sqrt(total)


def _directions(charges: Charges) -> tuple[bool, ...]:
    """Both, or one where they cost the same."""
    symmetric = all(pair.symmetric for pair, _ in charges)
    return (True,) if symmetric else (True, False)


def _rdp_total(charges: Charges) -> Floats:
    return np.asarray(sum((count * pair_curve(pair, _ORDERS) for pair, count in charges), np.zeros(len(_ORDERS))))


def _rdp_epsilon(charges: Charges, delta: float) -> float:
    return epsilon_of(_rdp_total(charges), Conversion.at(_ORDERS, delta=delta))


def _rounding(charges: Charges) -> float:
    return _ROUNDING * sum(count for _, count in charges)


def _compose(charges: Charges, eps_error: float, delta_error: float, *, forward: bool) -> tuple[Composed, float]:
    """The composed privacy loss on a grid, and the error in ε that the grid's width allows.

    Raises:
        PrvFailure: there is no finite domain, or the discretisation does not hold.
    """
    steps = sum(count for _, count in charges)
    reach = _domain_reach(charges, eps_error, delta_error)
    # Theorem 5.5 of arXiv 2106.02848; where that many points do not fit, a wider mesh and a larger error.
    mesh_per_error = 1 / math.sqrt(steps / 2 * math.log(12 / delta_error))
    smallest_mesh = 2 * reach / _LARGEST_DOMAIN
    eps_error = max(eps_error, smallest_mesh / mesh_per_error)
    grid = Grid.covering(reach=reach, mesh=eps_error * mesh_per_error)
    parts = ((discretise(PrivacyLoss(pair, forward), grid), count) for pair, count in charges)
    try:
        return compose(parts, grid), eps_error
    except MemoryError as error:
        raise PrvFailure("the grid is too large for this machine") from error


def _domain_reach(charges: Charges, eps_error: float, delta_error: float) -> float:
    """Half the domain's width, by remark 5.6 of arXiv 2106.02848 with our RDP bounds."""
    steps = sum(count for _, count in charges)
    reach = _rdp_epsilon(charges, delta_error / 4)
    for pair, _ in charges:
        reach = max(reach, _rdp_epsilon(((pair, 1),), delta_error / 8 / steps))
    if not math.isfinite(reach):
        raise PrvFailure("the privacy loss has no finite domain")
    return max(reach, eps_error) + 3
