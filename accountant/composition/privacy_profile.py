"""The privacy profile of a composition, δ at every ε, from above: one ε at a time, or many from a few compositions.

Many serve a trade-off curve (`accountant.audit.risk`): each of a few tilts gives a bound at every ε, good
near its own; the least of them, and of what Rényi's divergences prove, is taken.

Source: docs/privacy.md, theorems 5 and 6.

    >>> from accountant.budget import Neighbouring
    >>> from accountant.events import SubsampledGaussian
    >>> event = SubsampledGaussian(sampling_rate=1.0, noise_multiplier=1.0)
    >>> charges = ((event.dominating_pair(Neighbouring.ADD_OR_REMOVE_ONE), 1),)
    >>> [round(float(delta), 6) for delta in deltas_at(charges, np.array([0.0, 1.0]))]  # 2Φ(1/2) − 1, …
    [0.382925, 0.126937]
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from accountant.composition.conversion import Conversion, delta_of, epsilon_of
from accountant.composition.gaussian import gaussian_delta
from accountant.composition.profile import TiltedSum
from accountant.composition.prv_bounds import Charges, Composition
from accountant.composition.renyi import default_orders, pair_curve
from accountant.composition.rounding import U
from accountant.composition.scales import Scales
from accountant.errors import PrvFailure
from accountant.mixtures import Floats

ORDERS = default_orders()
# Roundings of μ: a quotient, its square and product, their sum over up to 2^20 charges, the root.
ROOTS = 64
# Tilts that are best at these δ serve the whole profile; the mesh may add so much to ε, or so large a part of it.
_TILTED_FOR = (0.3, 1e-2, 1e-5)
_ERROR, _RELATIVE_ERROR = 3e-4, 2e-3
# Groups and the published feedback are inverted by Newton's method, which takes time; their last tilt is left to Rényi.
_COARSE_ERROR = 2e-3
# With that much at δ = 0.3 every attack succeeds, and nothing is worth a closer look.
_HOPELESS = 15.0


@lru_cache(maxsize=256)
def delta_at(charges: Charges, epsilon: float, eps_error: float, delta_error: float | None) -> float:
    """δ at one ε >= 0, within a thousandth of the least; see `PrvAccountant.get_delta`."""
    if not charges:
        return 0.0
    squares = joint_gaussian(charges)
    if squares is not None:
        return min(1.0, gaussian_delta(math.sqrt(squares) * (1 + ROOTS * U), epsilon=epsilon))
    total = rdp_total(charges)
    rdp = delta_of(total, ORDERS, epsilon=epsilon)
    if not rdp > 0:
        return rdp
    steps = sum(count for _, count in charges)
    with np.errstate(invalid="ignore"):
        best = int(np.argmin((ORDERS - 1) * (total - epsilon)))
    # δ falls by the tilt times ε's error: a mesh so fine keeps it within a thousandth, or two where ε is small.
    error = min(eps_error, 1e-3 / float(ORDERS[best]), _part_of_epsilon(total))
    try:
        scales = Scales.near(ORDERS, total, best=best, steps=steps, delta=delta_error or rdp / 1000, error=error)
        composition = Composition.of(charges, scales)
        above = [composition.above(way) for way in range(len(composition.ways))]
    except PrvFailure:
        return rdp
    # Below the nodes nothing is known; near ε = 0 the tilts that serve many are closer.
    own = max(one.upper_delta(epsilon) if epsilon >= one.ends[0] else 1.0 for one in above)
    return min(rdp, own, float(deltas_at(charges, np.array([epsilon]))[0]))


def deltas_at(charges: Charges, epsilons: Floats) -> Floats:
    """δ at each of many ε >= 0, from above."""
    if not charges:
        return np.zeros(len(epsilons))
    squares = joint_gaussian(charges)
    if squares is not None:
        mu = math.sqrt(squares) * (1 + ROOTS * U)
        return np.array([min(1.0, gaussian_delta(mu, epsilon=float(epsilon))) for epsilon in epsilons])
    total = rdp_total(charges)
    found = np.array([delta_of(total, ORDERS, epsilon=float(epsilon)) for epsilon in epsilons])
    closed = all(pair.inverts_in_closed_form for pair, _ in charges)
    hopeless = epsilon_of(total, Conversion.at(ORDERS, delta=_TILTED_FOR[0])) > _HOPELESS
    for target in () if hopeless else _TILTED_FOR if closed else _TILTED_FOR[:2]:
        try:
            composed = _tilted_for(charges, total, target, error=_ERROR if closed else _COARSE_ERROR)
        except PrvFailure:
            continue
        found = np.minimum(found, np.max([way.upper_deltas(epsilons) for way in composed], axis=0))
    return found


def _part_of_epsilon(total: Floats) -> float:
    """What the mesh may add to ε where ε itself is small; 0 where nothing is spent."""
    return _RELATIVE_ERROR * epsilon_of(total, Conversion.at(ORDERS, delta=min(_TILTED_FOR)))


def _tilted_for(charges: Charges, total: Floats, delta: float, *, error: float) -> list[TiltedSum]:
    """The composition from above in each direction, tilted so that it is good where the profile is δ."""
    conversion = Conversion.at(ORDERS, delta=delta)
    error = min(error, _part_of_epsilon(total))
    if not error > 0:
        raise PrvFailure("nothing is spent")
    best = int(np.argmin(total + conversion.added))
    steps = sum(count for _, count in charges)
    scales = Scales.near(ORDERS, total, best=best, steps=steps, delta=delta / 1000, error=error)
    composition = Composition.of(charges, scales)
    return [composition.above(way) for way in range(len(composition.ways))]


def joint_gaussian(charges: Charges) -> float | None:
    """μ² of the whole where every charge is a plain Gaussian mechanism, else None."""
    total = 0.0
    for pair, count in charges:
        if pair.gaussian_mean is None:
            return None
        total += count * (pair.gaussian_mean / pair.sigma) ** 2
    return total


def rdp_total(charges: Charges) -> Floats:
    """Rényi divergences of the whole at `ORDERS`, rounded up."""
    total = sum((count * pair_curve(pair, ORDERS) for pair, count in charges), np.zeros(len(ORDERS)))
    return np.asarray(total * (1 + (2 * len(charges) + 2) * U))
