"""From Rényi DP to (ε, δ): Canonne, Kamath & Steinke 2020, proposition 12 of arXiv 2004.00010 v4.

    δ = exp((α − 1)(ρ − ε)) / (α − 1) · (1 − 1/α)^α      and its inverse in ε, at the best order.

Beside it the Bretagnolle–Huber bound: a divergence ρ of any order bounds the total variation distance by
√(1 − e^−ρ), so where δ is at least that, ε = 0.

    >>> curve = np.array([2.0]) / 2 / 4.530877117**2
    >>> round(epsilon_of(curve, Conversion.at(np.array([2.0]), delta=0.5)), 3)
    0.0
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accountant.composition.rounding import U
from accountant.mixtures import Floats


@dataclass(frozen=True, slots=True)
class Conversion:
    """What the inverse needs of the orders for one δ, computed once.

    Args:
        added: log((α − 1)/α) − (log δ + log α)/(α − 1), at each order.
        free: divergences up to this cost nothing at this δ.
    """

    added: Floats
    free: float

    @classmethod
    def at(cls, orders: Floats, *, delta: float) -> Conversion:
        """For these orders and this δ in (0, 1)."""
        first, second = np.log1p(-1 / orders), (math.log(delta) + np.log(orders)) / (orders - 1)
        # Both terms' own rounding, that of what goes into them, and that of the sum (theorem 5a, e).
        spread = (abs(math.log(delta)) + np.log(orders)) / (orders - 1)
        added = first - second + U * (16 * np.abs(first) + 16 * spread)
        return cls(added=added, free=-math.log1p(-delta * delta) * (1 - 16 * U))


def epsilon_of(divergences: Floats, conversion: Conversion) -> float:
    """The smallest ε that the divergences prove, >= 0; ∞ where they prove nothing."""
    epsilon = float(np.min(divergences + conversion.added + 2 * U * divergences))
    if epsilon <= 0 or float(np.min(divergences)) <= conversion.free:
        return 0.0
    return epsilon if not math.isnan(epsilon) else math.inf


def delta_of(divergences: Floats, orders: Floats, *, epsilon: float) -> float:
    """The smallest δ that the divergences prove at ε >= 0; at most 1."""
    with np.errstate(invalid="ignore", over="ignore"):
        logs = (orders - 1) * (divergences - epsilon + np.log1p(-1 / orders)) - np.log(orders)
        logs = logs + U * (16 * (orders - 1) * (divergences + epsilon + 1 / orders) + 8 * np.log(orders))
    smallest = float(np.min(logs))
    total_variation = math.sqrt(-math.expm1(-float(np.min(divergences)))) * (1 + 16 * U)
    if math.isnan(smallest):
        return 1.0
    return min(1.0, math.exp(min(0.0, smallest)) * (1 + 8 * U), total_variation)
