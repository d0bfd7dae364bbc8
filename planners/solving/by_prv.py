"""From a solution by RDP to the tighter one by PRV, in few evaluations.

A PRV evaluation takes a second, its point estimate hardly depends on `eps_error`, and ε is close to a power
of noise, rate or steps. So the estimate is followed by secants in log–log at a coarse `eps_error`, aimed at ε
less what the default precision adds to its upper bound, and the end is verified at the default precision.
Whatever happens, the RDP solution that we start from keeps the budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from accountant.budget import Budget
from accountant.composition.segments import Composition
from planners.solving.bracketing import Bracket, log_ratio
from planners.solving.cost import Candidate, bounds_by_prv, epsilon_by_rdp

# How far PRV's upper bound lies above its estimate at the default precision: eps_error and a little.
MARGIN = 0.0107
_COARSE_EPS_ERROR = 0.1
_MOST_SECANTS, _MOST_CHECKS = 6, 6


def tighten(candidate: Candidate, budget: Budget, rdp: Bracket, *, riskiest: float, tolerance: float) -> float:
    """The riskiest value that PRV's upper bound allows, from the bracket that RDP found.

    Args:
        candidate: maps the searched number to what is released.
        riskiest: end of the range that is searched. tolerance: relative.

    Guarantees: PRV's upper bound at what is returned, at the default precision, is at most ε.
    """
    if rdp.feasible == riskiest:
        return riskiest
    x, slope = _follow_estimate(candidate, budget, rdp.feasible, riskiest=riskiest, tolerance=tolerance)
    return _verify(candidate, budget, x, slope, fallback=rdp.feasible, riskiest=riskiest, tolerance=tolerance)


def _follow_estimate(
    candidate: Candidate, budget: Budget, x: float, *, riskiest: float, tolerance: float
) -> tuple[float, float]:
    """Where the estimate is ε less the margin, and d log ε / d log x there."""
    slope = _rdp_slope(candidate, budget, x)
    # Inside of what the final check accepts, so that one check is enough.
    inside = budget.epsilon * math.exp(-abs(slope) * tolerance / 4)
    aim = max(inside - MARGIN, budget.epsilon / 2)
    coarse = max(1e-3, min(_COARSE_EPS_ERROR, budget.epsilon / 20))

    def gap(at: float) -> float:
        return log_ratio(bounds_by_prv(candidate(at), budget, eps_error=coarse).estimate, aim)

    here = gap(x)
    for _ in range(_MOST_SECANTS):
        following = _step(x, here, slope, riskiest=riskiest)
        if abs(math.log(following / x)) <= tolerance / 8:
            return following, slope
        there = gap(following)
        measured = (there - here) / math.log(following / x)
        slope = measured if measured * slope > 0 else slope
        x, here = following, there
    return x, slope


def _rdp_slope(candidate: Candidate, budget: Budget, x: float) -> float:
    """d log ε / d log x by RDP, which PRV's is close to."""
    near = x * 1.01 if _grows(candidate, x) else x / 1.01
    first, second = (log_ratio(epsilon_by_rdp(candidate(v), budget), budget.epsilon) for v in (x, near))
    return (second - first) / math.log(near / x)


def _grows(candidate: Candidate, x: float) -> bool:
    """Whether a number slightly larger than x is still a candidate."""
    try:
        candidate(x * 1.01)
    except ValueError:
        return False
    return True


def _step(x: float, gap: float, slope: float, *, riskiest: float) -> float:
    """x moved along the line to a gap of 0, by a factor of 2 at most and not past the riskiest."""
    moved = x * math.exp(max(-0.7, min(0.7, -gap / slope)))
    return min(moved, riskiest) if riskiest > x else max(moved, riskiest)


def _verify(
    candidate: Candidate,
    budget: Budget,
    x: float,
    slope: float,
    *,
    fallback: float,
    riskiest: float,
    tolerance: float,
) -> float:
    """Move x until its upper bound keeps the budget and `tolerance` more does not, by the local slope."""
    best = fallback
    towards = math.copysign(1.0, riskiest - fallback)
    # As far as a tolerance goes, ε may stay below its target.
    slack = abs(slope) * tolerance
    for _ in range(_MOST_CHECKS):
        gap = log_ratio(bounds_by_prv(candidate(x), budget).upper, budget.epsilon)
        if gap <= 0 and towards * (x - best) > 0:
            best = x
        if -0.9 * slack <= gap <= 0 or (gap <= 0 and x == riskiest):
            break
        x = _step(x, gap + slack / 3, slope, riskiest=riskiest)
    return best


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
