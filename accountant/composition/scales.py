"""What a composition looks like near the ε that is asked for, by its Rényi curve: tilt, window and mesh.

Guesses, never bounds: whatever they are, `accountant.composition.prv_bounds` bounds ε; good ones make it tight and
quick.
With K(θ) = θ·D_{θ+1}, the sum tilted by θ has mean K′ and variance K″, and Chernoff's bounds are differences of K.

    >>> orders = np.linspace(1.5, 40.0, 200)
    >>> scales = Scales.near(orders, orders / 2, best=20, steps=1, delta=1e-5, error=1e-3)  # a Gaussian, μ = 1
    >>> scales.window > 5.0
    True
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accountant.errors import PrvFailure
from accountant.mixtures import Floats

# Tilt times deviation is about √(2 log 1/δ) for a Gaussian; so many times that is wide.
_WIDE = 2.5
# Tilted mass outside of the window: about e^(−this). Never narrower than so many deviations.
_OUTSIDE, _NARROWEST = 18.0, 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Scales:
    """What a composition looks like near the ε that is asked for, by its Rényi curve; a guess, never a bound.

    Args:
        theta: tilt, order − 1. others: tilts for the bounds on what lies beyond the window, and below it.
        window: half the width of what the nodes cover, around the tilted mean. mesh: of the nodes.
        reach: standard deviations of a single release that are cut into cells.
    """

    theta: float
    others: tuple[tuple[float, float], tuple[float, float]]
    window: float
    mesh: float
    reach: float

    @classmethod
    def near(cls, orders: Floats, divergences: Floats, *, best: int, steps: int, delta: float, error: float) -> Scales:
        """For the order at index `best`, so fine that the mesh adds about `error` to ε.

        Raises:
            PrvFailure: the curve is not finite around that order, or δ is too small for tails in double precision.
        """
        while True:
            theta, mean, deviation = _tilted_moments(orders, divergences, best)
            # Where rare large losses begin to weigh, the tilted sum gets wide: a smaller tilt serves as well.
            if best == 0 or theta * deviation <= _WIDE * math.sqrt(2 * math.log(1 / delta)):
                break
            best -= 1
        top, beyond = _edge(orders, divergences, best, upwards=True)
        bottom, below = _edge(orders, divergences, best, upwards=False)
        gaussian = math.sqrt(2 * _OUTSIDE) * deviation
        window = max(_NARROWEST * deviation, min(top - mean, 1e3 * gaussian), min(mean - bottom, gaussian))
        others = (beyond, theta + gaussian / deviation**2), (below, theta - gaussian / deviation**2)
        mesh = math.sqrt(12 * error / (steps * (theta + 1)))
        reach = math.sqrt(2 * math.log(1e6 * steps / delta)) + 1
        if reach > 37:
            raise PrvFailure(f"δ = {delta:g} is below what tails in double precision resolve")
        return cls(theta=theta, others=others, window=window, mesh=mesh, reach=reach)


def _tilted_moments(orders: Floats, divergences: Floats, index: int) -> tuple[float, float, float]:
    """(θ, mean, deviation) of the sum tilted by this order less 1: K(θ) = (α − 1)·D_α and its two derivatives.

    Raises:
        PrvFailure: the curve is not finite there.
    """
    theta = float(orders[index]) - 1
    near = slice(max(0, index - 3), index + 4)
    tilts, logs = orders[near] - 1, (orders[near] - 1) * divergences[near]
    good = np.isfinite(logs)
    if good.sum() < 3:
        raise PrvFailure("the Rényi curve is not finite around its best order")
    curvature, mean, _ = (float(c) for c in np.polyfit(tilts[good] - theta, logs[good], 2))
    floor = 1e-3 * float(logs[good][-1]) / max(theta * (theta + 1), 1e-12)
    return theta, mean, math.sqrt(max(2 * curvature, floor, 1e-300))


def _edge(orders: Floats, divergences: Floats, index: int, *, upwards: bool) -> tuple[float, float]:
    """Where Chernoff's bound on the tilted sum's tail is e^(−_OUTSIDE), and its tilt; ±∞ where no order says."""
    tilts = orders - 1
    with np.errstate(invalid="ignore"):
        logs = tilts * divergences
        side = (tilts > tilts[index]) if upwards else (tilts < tilts[index])
        side &= np.isfinite(logs)
        if not side.any():
            return (math.inf if upwards else -math.inf), float(tilts[index])
        slope = np.where(side, tilts - tilts[index], 1.0)
        ends = (logs - logs[index] + _OUTSIDE) / slope
    ends = np.where(side, ends, math.inf if upwards else -math.inf)
    best = int(np.argmin(ends) if upwards else np.argmax(ends))
    return float(ends[best]), float(tilts[best])
