"""The privacy profile δ(ε) of a composed loss, from a tilted sum, from above and from below.

    δ(ε) = e^(K − θε) · Σ_{t > ε} c(t) e^(−θ(t−ε)) (1 − e^(ε−t))

where c(t) are the masses of the tilted sum and K = Σ log M. From above, each c gets the largest error that it may have,
and what lies beyond the nodes is added; from below both are taken away (theorem 6, d).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from accountant.composition.rounding import U
from accountant.mixtures import Floats

# Nats of e^(−θt) after which a tail is added as a whole.
_SHOWN = 40.0
# K up to which e^K and what it is taken times are floats.
_LARGEST_MOMENT = 500.0
# More than what underflows then: 2^22 numbers below 2^−1074, times e^500.
_LOST = 1e-90


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TiltedSum:
    """Masses c at the nodes (lowest + j) · mesh + shift, tilted by θ.

    Args:
        masses: (size,) each a bound already. log_moment: K, a bound, too. theta: θ >= 0.
        constant: added to δ(ε): what lies at infinity and beyond the nodes.
        lost: tilted mass that may be missing from, or be too much in, all masses together.
    """

    masses: Floats
    lowest: int
    mesh: float
    shift: float
    theta: float
    log_moment: float
    constant: float
    lost: float

    @property
    def ends(self) -> tuple[float, float]:
        """The range of ε of which the nodes know."""
        return self.lowest * self.mesh + self.shift, (self.lowest + len(self.masses) - 1) * self.mesh + self.shift

    def upper_delta(self, epsilon: float) -> float:
        """δ(ε) from above, for an ε not below the lowest node."""
        away, first, stop = self._shown(epsilon)
        shown = float(np.dot(self.masses[first:stop], _weights(away, self.theta)))
        rest = float(self.masses[stop:].sum()) * math.exp(-self.theta * float(away[-1])) if len(away) else 0.0
        # A node that rounding put below ε would have counted with less than this.
        near = float(self.masses[max(0, first - 1) : first + 1].sum()) * 4 * U * self._farthest(epsilon)
        return (shown + rest + near) * self._scale(epsilon) * (1 + self._rounding(epsilon)) + self.constant

    def upper_deltas(self, epsilons: Floats) -> Floats:
        """δ from above at many ε >= 0, by running sums; 1 where nothing is known. Good to about 1e-10, absolute.

        With s = ε − shift it is e^K · (Σ c(t) e^(−θt) − e^s · Σ c(t) e^(−(θ+1)t)) over the nodes t > s; what the
        difference and the running sums round is at most their size times the bound below.
        """
        if self.log_moment > _LARGEST_MOMENT:
            return np.ones(len(epsilons))
        losses = np.asarray(epsilons, dtype=np.float64) - self.shift
        nodes = np.arange(self.lowest, self.lowest + len(self.masses)) * self.mesh
        kept = nodes > float(losses.min(initial=0.0)) - 2 * self.mesh
        nodes, masses = nodes[kept], self.masses[kept]
        with np.errstate(under="ignore"):
            weighted = masses * np.exp(-self.theta * nodes)
            sums = [np.append(np.cumsum(one[::-1])[::-1], 0.0) for one in (weighted, weighted * np.exp(-nodes))]
        first = np.searchsorted(nodes, losses, side="right")
        shown = sums[0][first] - np.exp(losses) * sums[1][first]
        # The node before, too: rounding may have put it below ε.
        size = sums[0][np.maximum(first - 1, 0)] + 1e-290
        farthest = self._farthest(float(np.max(epsilons, initial=0.0)))
        off = U * (4 * len(masses) + 16 * (self.theta + 1) * farthest + 8 * abs(self.log_moment) + 256)
        bounds = np.exp(self.log_moment) * (np.maximum(shown, 0.0) + off * size) * (1 + off) + self.constant + _LOST
        return np.where(epsilons >= self.ends[0], np.minimum(bounds, 1.0), 1.0)

    def lower_delta(self, epsilon: float) -> float:
        """δ(ε) from below, for an ε not below the lowest node."""
        away, first, stop = self._shown(epsilon)
        shown = float(np.dot(self.masses[first:stop], _weights(away, self.theta)))
        missing = self.lost * _largest_weight(self.theta)
        return max(0.0, shown - missing) * self._scale(epsilon) * (1 - self._rounding(epsilon))

    def _shown(self, epsilon: float) -> tuple[Floats, int, int]:
        """How far the nodes above ε are from it, as many as count, and which those are."""
        losses = epsilon - self.shift
        first = max(math.floor(losses / self.mesh) + 1 - self.lowest, 0)
        stop = len(self.masses)
        if self.theta >= 1:
            stop = min(stop, first + math.ceil(_SHOWN / self.theta / self.mesh) + 2)
        away = np.arange(first + self.lowest, stop + self.lowest) * self.mesh - losses
        return np.maximum(away, 0.0), first, stop

    def _scale(self, epsilon: float) -> float:
        return math.exp(min(self.log_moment - self.theta * (epsilon - self.shift), 600.0))

    def _farthest(self, epsilon: float) -> float:
        return (abs(self.lowest) + len(self.masses)) * self.mesh + abs(self.shift) + abs(epsilon)

    def _rounding(self, epsilon: float) -> float:
        """The nodes' own rounding moves a loss by at most 4 U of its size, which counts θ + 1 times.

        A scalar product of n terms, none below 0, is within n·U of itself in whatever order they are added.
        """
        logs = 4 * (self.theta + 1) * self._farthest(epsilon) + 4 * abs(self.log_moment)
        return U * (logs + len(self.masses) + _SHOWN * 2 + 128)


def _weights(away: Floats, theta: float) -> Floats:
    """e^(−θt)(1 − e^(−t)) at the distances t."""
    return np.asarray(np.exp(-theta * away) * -np.expm1(-away))


def _largest_weight(theta: float) -> float:
    """max over t >= 0 of e^(−θt)(1 − e^(−t)) = (θ/(θ+1))^θ/(θ+1)."""
    return math.exp(theta * math.log(theta / (theta + 1))) / (theta + 1) * (1 + 1e-12) if theta > 0 else 1.0


def crossing(profile: Callable[[float], float], delta: float, *, low: float, high: float, upper: bool) -> float | None:
    """An ε in [low, high] at which the falling profile is at most δ (`upper`), or still at least δ.

    Returns:
        The bound that was found, within a millionth of its size; None where the end that should keep it does not.
    """
    safe, other = (high, low) if upper else (low, high)
    sign = 1.0 if upper else -1.0

    def excess(epsilon: float) -> float:
        """log(profile / δ), from the side on which the answer must have it at most 0."""
        value = profile(epsilon)
        return sign * (math.log(value / delta) if value > 0 else -800.0)

    at_safe, at_other = excess(safe), excess(other)
    if at_safe > 0:
        return None
    if at_other <= 0:
        return other
    for turn in range(100):
        if abs(safe - other) <= 1e-6 * max(abs(safe), abs(other)) + 1e-15:
            break
        share = at_other / (at_other - at_safe) if turn % 3 != 2 else 0.5
        # A little past the crossing in turn towards either side, so that both ends move.
        share += (1 if turn % 2 else -1) * 3e-7 * max(abs(safe), abs(other)) / abs(safe - other)
        middle = other + (safe - other) * min(0.999, max(0.001, share))
        value = excess(middle)
        if value <= 0:
            safe, at_safe = middle, value
        else:
            other, at_other = middle, value
    return safe
