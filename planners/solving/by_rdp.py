"""Where the cost of a plan crosses its budget: found by RDP at few orders, verified at all, tightened by PRV if asked.

>>> from planners.solving.cost import EventFamily
>>> def candidate(z):
...     return EventFamily().composition(sampling_rate=0.04, noise_multiplier=z, iterations=2000)
>>> z = crossing(candidate, Budget(epsilon=8.0, delta=1e-5), safest=1e6, riskiest=0.01)
>>> round(z, 3)  # REFERENCE row 3
1.356
"""

from __future__ import annotations

from collections.abc import Callable

from accountant.budget import Budget
from planners.solving.bracketing import Bracket, bracket, log_ratio, narrow_bracket
from planners.solving.by_prv import tighten
from planners.solving.cost import Candidate, FewOrders, epsilon_by_rdp

_COARSE = 0.02
# What is returned keeps its promise at all orders; a last bit that says otherwise is stepped over.
_NUDGE = 1e-9
# A rough answer's tolerance, and how far a neighbour's answer is likely to be off.
_ROUGH, _NEAR = 0.01, 1.3


def crossing(
    candidate: Candidate,
    budget: Budget,
    *,
    safest: float,
    riskiest: float,
    start: float = 1.0,
    tolerance: float = 1e-3,
    accountant: str = "rdp",
) -> float | None:
    """The riskiest number that keeps the budget, or None where even `safest` does not.

    Args:
        candidate: maps the searched number, > 0, to what is released; ε must be monotone in it.
        safest, riskiest: limits, in either order of size. start: first guess.
        tolerance: relative; so much further is over the budget. accountant: "rdp" or "prv".

    Guarantees: the accountant's upper bound at what is returned is at most ε.
    """
    found = _solve_by_rdp(candidate, budget, safest=safest, riskiest=riskiest, start=start, tolerance=tolerance)
    if found is None or accountant == "rdp":
        return found.feasible if found else None
    return tighten(candidate, budget, found, riskiest=riskiest, tolerance=tolerance)


def rough_crossing(
    candidate: Candidate, budget: Budget, *, safest: float, riskiest: float, start: float
) -> float | None:
    """The same by RDP to 1 %, at few orders only: it keeps the budget, and may stay further from it than it must.

    Args:
        start: first guess, best a neighbour's answer.
    """
    few = FewOrders(budget)

    def cost(x: float) -> float:
        return log_ratio(few.epsilon(candidate(x)), budget.epsilon)

    ends = bracket(cost, start=start, safest=safest, riskiest=riskiest, factor=_NEAR)
    if isinstance(ends, Bracket):
        ends = narrow_bracket(cost, ends, tolerance=5 * _ROUGH)
        few.focus(candidate(ends.feasible))
        ends = _around(cost, ends, safest=safest, riskiest=riskiest)
    if isinstance(ends, Bracket):
        return narrow_bracket(cost, ends, tolerance=_ROUGH).feasible
    return ends


def _solve_by_rdp(
    candidate: Candidate,
    budget: Budget,
    *,
    safest: float,
    riskiest: float,
    start: float,
    tolerance: float,
) -> Bracket | None:
    """A tight bracket around the crossing, its feasible end verified at all orders; None where there is none.

    Where even `riskiest` keeps the budget it is both ends.
    """
    few = FewOrders(budget)

    def cost(x: float) -> float:
        return log_ratio(few.epsilon(candidate(x)), budget.epsilon)

    ends = bracket(cost, start=start, safest=safest, riskiest=riskiest)
    if ends is None:
        # At the limit the few orders may be too few.
        few.focus(candidate(safest))
        ends = bracket(cost, start=safest, safest=safest, riskiest=riskiest)
    if isinstance(ends, Bracket):
        ends = narrow_bracket(cost, ends, tolerance=_COARSE)
        few.focus(candidate(ends.feasible))
        ends = _around(cost, ends, safest=safest, riskiest=riskiest)
        if isinstance(ends, Bracket):
            ends = narrow_bracket(cost, ends, tolerance=tolerance / 4)
    if ends is None:
        return None
    if not isinstance(ends, Bracket):
        ends = Bracket(feasible=riskiest, infeasible=riskiest, slack=0.0, excess=0.0)
    return _verified(candidate, budget, ends, safest=safest)


def _around(cost: Callable[[float], float], ends: Bracket, *, safest: float, riskiest: float) -> Bracket | float | None:
    """The bracket again, after the cost has become sharper: it is lower, so the crossing may lie beyond."""
    return bracket(cost, start=ends.feasible, safest=safest, riskiest=riskiest, factor=1 + 2 * ends.width)


def _verified(candidate: Candidate, budget: Budget, ends: Bracket, *, safest: float) -> Bracket | None:
    """The same bracket, its feasible end moved until all orders agree that it keeps the budget."""
    towards_safe = 1 if safest > ends.feasible else -1
    x, step = ends.feasible, _NUDGE
    while epsilon_by_rdp(candidate(x), budget) > budget.epsilon:
        if step > 1:
            return None
        x *= (1 + step) ** towards_safe
        step *= 10
    return Bracket(feasible=x, infeasible=ends.infeasible, slack=ends.slack, excess=ends.excess)
