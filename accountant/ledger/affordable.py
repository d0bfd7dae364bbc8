"""How many steps still fit into a budget: the largest number for which a bound holds.

>>> largest(10, lambda steps: steps <= 7)
7
"""

from __future__ import annotations

from collections.abc import Callable

from accountant.budget import Budget
from accountant.composition.prv import PrvAccountant
from accountant.composition.segments import Composition, compose_segments
from accountant.events import Event


def largest(wanted: int, fits: Callable[[int], bool]) -> int:
    """The largest number from 0 to `wanted` that fits, where fitting is monotone and 0 always does."""
    if wanted <= 0 or fits(wanted):
        return max(0, wanted)
    low, high = 0, wanted
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def most_by_prv(budget: Budget, closed: Composition, event: Event, *, at_least: int) -> int:
    """Steps of an event that numerical composition certifies in a segment behind closed ones.

    Args:
        closed: (event, steps) pairs, each a segment that has ended. at_least: steps of this one that are charged
            already.
    """

    def fits(steps: int) -> bool:
        composed = compose_segments(PrvAccountant(neighbouring=budget.neighbouring), (*closed, (event, steps)))
        return composed.get_epsilon(budget.delta) <= budget.epsilon

    if not fits(max(1, at_least)):
        return at_least
    high = max(1, at_least)
    while fits(2 * high):
        high *= 2
    return high + largest(high - 1, lambda more: fits(high + more))
