"""From a solution by RDP to the tighter one by PRV.

The RDP solution keeps the budget by PRV too, so it is one end of a bracket; the other is found by growing steps, and
the bracket is narrowed as RDP's was. A PRV evaluation takes some hundredths of a second, and every answer was itself
evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from accountant.budget import Budget
from accountant.composition.segments import Composition
from planners.solving.bracketing import Bracket, bracket, log_ratio, narrow_bracket
from planners.solving.cost import Candidate, bounds_by_prv

# The first step from RDP's answer: PRV asks for a few per cent less noise at most budgets.
_FIRST_STEP = 1.04
# PRV's allowance in ε uses most of what an answer may stay above the least; an evaluation more leaves the rest alone.
_CLOSER = 0.2


def tighten(candidate: Candidate, budget: Budget, rdp: Bracket, *, riskiest: float, tolerance: float) -> float:
    """The riskiest value that PRV's upper bound allows, from the bracket that RDP found.

    Args:
        candidate: maps the searched number to what is released.
        riskiest: end of the range that is searched. tolerance: relative.

    Guarantees: PRV's upper bound at what is returned, at the default precision, is at most ε.
    """
    if rdp.feasible == riskiest:
        return riskiest

    def cost(x: float) -> float:
        return log_ratio(bounds_by_prv(candidate(x), budget).upper, budget.epsilon)

    found = bracket(cost, start=rdp.feasible, safest=rdp.feasible, riskiest=riskiest, factor=_FIRST_STEP)
    if found is None:
        # PRV's upper bound is never above RDP's; only the last bit of a cached sum could say otherwise.
        return rdp.feasible
    if not isinstance(found, Bracket):
        return found
    return narrow_bracket(cost, found, tolerance=_CLOSER * tolerance).feasible


def tighten_count(candidate: Callable[[int], Composition], budget: Budget, by_rdp: int, *, at_most: int) -> int:
    """The most blocks that PRV's upper bound allows, given those that RDP allows; one more does not fit.

    Guarantees: PRV's upper bound at what is returned is at most ε, or nothing is allowed and it is 0.
    """
    known: dict[int, float] = {}

    def gap(blocks: int) -> float:
        if blocks not in known:
            upper = bounds_by_prv(candidate(blocks), budget).upper
            known[blocks] = log_ratio(upper, budget.epsilon)
        return known[blocks]

    low, high = by_rdp, at_most + 1
    if low == at_most:
        return low
    guess = max(1, low)
    while high - low > 1:
        value = gap(guess)
        low, high = (max(low, guess), high) if value <= 0 else (low, min(high, guess))
        guess = _next_count(known, low, high)
    return low


def _next_count(known: dict[int, float], low: int, high: int) -> int:
    """Where a line in log–log through the two counts nearest to the target crosses it, inside (low, high)."""
    near = sorted(known, key=lambda n: abs(known[n]))[:2]
    if len(near) < 2:
        n = near[0]
        guess = n * math.exp(max(-0.7, min(0.7, -known[n]))) * 1.0
    else:
        a, b = near
        slope = (known[b] - known[a]) / math.log(b / a)
        guess = a * math.exp(max(-0.7, min(0.7, -known[a] / slope))) if slope > 0 else (low + high) / 2
    # Cannot leave the bracket, and when its ends are far apart it may not creep along one of them.
    return min(high - 1, max(low + 1, math.floor(guess)))
