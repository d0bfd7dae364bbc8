"""Where a monotone cost crosses its target: few evaluations, and the answer is always on the safe side.

A cost is a function of one positive number that says log(ε / target): at most 0 keeps the budget. The
bracket has a feasible and an infeasible end, in either direction; every answer is a feasible end that was
itself evaluated.

    >>> found = narrow(lambda z: -math.log(z / 2.0), feasible=8.0, infeasible=0.5, tolerance=1e-6)
    >>> 2.0 <= found.feasible < 2.0 * (1 + 1e-6)
    True
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Cost = Callable[[float], float]

# Stands for log(ε / target) where ε is 0 or infinite.
FAR = 40.0
_MOST_EVALUATIONS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Bracket:
    """Two points on either side of the target, and the cost at each.

    Args:
        feasible: keeps the budget. infeasible: does not.
        slack: cost at `feasible`, <= 0. excess: cost at `infeasible`, > 0.
    """

    feasible: float
    infeasible: float
    slack: float
    excess: float

    @property
    def width(self) -> float:
        """|log(feasible / infeasible)|."""
        return abs(math.log(self.feasible / self.infeasible))


def log_ratio(epsilon: float, target: float) -> float:
    """log(epsilon / target), kept between −FAR and FAR; NaN counts as infinite."""
    if math.isnan(epsilon):
        return FAR
    if epsilon <= 0:
        return -FAR
    return max(-FAR, min(FAR, math.log(epsilon) - math.log(target)))


def bracket(cost: Cost, *, start: float, safest: float, riskiest: float, factor: float = 2.0) -> Bracket | float | None:
    """Go from `start` by growing factors until the cost has changed its sign.

    Args:
        start: first guess, > 0, between the limits. safest, riskiest: limits in either order of size.
        factor: of the first move, > 1; the next one is its square.

    Returns:
        A bracket; `riskiest` where even that is feasible; None where even `safest` is not.
    """
    here, value = start, cost(start)
    limit = safest if value > 0 else riskiest
    while here != limit:
        following = _towards(here, limit, factor)
        there = cost(following)
        if (there > 0) != (value > 0):
            if there > 0:
                return Bracket(feasible=here, infeasible=following, slack=value, excess=there)
            return Bracket(feasible=following, infeasible=here, slack=there, excess=value)
        here, value, factor = following, there, min(factor * factor, 1e4)
    return riskiest if value <= 0 else None


def _towards(here: float, limit: float, factor: float) -> float:
    return min(limit, here * factor) if limit > here else max(limit, here / factor)


def narrow(cost: Cost, *, feasible: float, infeasible: float, tolerance: float) -> Bracket:
    """The bracket [feasible, infeasible] narrowed until its ends differ by at most a relative `tolerance`.

    Raises:
        AssertionError: the ends are not what they are called; our own bug.
    """
    slack, excess = cost(feasible), cost(infeasible)
    assert slack <= 0 < excess
    whole = Bracket(feasible=feasible, infeasible=infeasible, slack=slack, excess=excess)
    return narrow_bracket(cost, whole, tolerance=tolerance)


def narrow_bracket(cost: Cost, known: Bracket, *, tolerance: float) -> Bracket:
    """The same, from a bracket whose costs are known.

    A secant through the ends in log–log, aimed a quarter of the tolerance past the crossing in turn towards
    either side, so that both ends move; bisection whenever the bracket has not shrunk to a third in two steps.
    """
    target_width = math.log1p(tolerance)
    history = [known.width]
    for turn in range(_MOST_EVALUATIONS):
        if known.width <= target_width:
            break
        slow = len(history) > 2 and history[-1] > history[-3] / 3
        middle = 0.5 if slow and turn % 2 else _secant(known, target_width, towards_safe=turn % 2 == 0)
        x = known.infeasible * (known.feasible / known.infeasible) ** middle
        if x in (known.feasible, known.infeasible):
            break
        known = _replaced(known, x, cost(x))
        history.append(known.width)
    return known


def _secant(known: Bracket, target_width: float, *, towards_safe: bool) -> float:
    """Where between infeasible (0) and feasible (1) the line through both crosses 0, and a bit past it."""
    share = known.excess / (known.excess - known.slack)
    step = 0.45 * target_width / known.width
    share += step if towards_safe else -step
    return min(1 - step / 2, max(step / 2, share))


def _replaced(known: Bracket, x: float, value: float) -> Bracket:
    if value <= 0:
        return Bracket(feasible=x, infeasible=known.infeasible, slack=value, excess=known.excess)
    return Bracket(feasible=known.feasible, infeasible=x, slack=known.slack, excess=value)


def largest_count(fits: Callable[[int], bool], *, at_most: int) -> int:
    """The largest integer from 0 to `at_most` that fits, where fitting is monotone and 0 always fits.

    >>> largest_count(lambda n: n * n <= 1000, at_most=10**9)
    31
    """
    low, high = 0, 1
    while high < at_most and fits(high):
        low, high = high, min(at_most, 2 * high)
    if high == at_most and fits(high):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
