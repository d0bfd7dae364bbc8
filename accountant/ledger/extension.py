"""How far a run may be extended: what remains of the budget beside all of a plan's caps, fixed before it is used.

    ε(caps, and m more blocks of the last phase) <= budget      by the smaller of the RDP and the PRV upper bound

m depends on the plan alone, so a run that may be extended is one whose caps are larger from the start: whoever decides
whether to extend by what was released, or stops on the way, stays within the budget's ε, and that is what is printed.
"""

from __future__ import annotations

import math

from accountant.composition.certified import certify
from accountant.plans.plan import Plan


def blocks_beside(plan: Plan) -> int:
    """m, the most blocks of the last phase's event that fit beside the plan's caps; 0 where none does."""

    def fits(extra: int) -> bool:
        try:
            capped = plan.caps(extra_blocks=extra).composition()
            spent = certify(capped, delta=plan.delta, neighbouring=plan.neighbouring).epsilon
        except ArithmeticError:
            spent = math.inf
        return spent <= plan.epsilon

    if not fits(1):
        return 0
    high = 1
    while fits(2 * high):
        high *= 2
    low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
