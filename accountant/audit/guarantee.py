"""What a ledger guarantees, which is not always what it charged so far.

Whoever stops a run by looking at what it releases chooses which reading of the odometer is printed, and no reading
chosen so is a guarantee. What is one was fixed before the first step (docs/privacy.md, "Stopping"):

| of a run | guaranteed is |
|---|---|
| with a plan | ε of all that the plan's caps allow, however often it crashed and whenever it was stopped |
| that was extended | the budget's ε: the extension is what remained of it beside the caps |
| with a budget only, or a plan whose caps cost more | the budget's ε: the guard stops there |
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from accountant.composition.certified import Certified, certify
from accountant.composition.segments import Composition
from accountant.ledger.state import LedgerState, charged
from accountant.plans.caps import Caps


@dataclass(frozen=True, kw_only=True, slots=True)
class Guarantee:
    """An ε at the budget's δ, and by what it holds.

    Args:
        epsilon: upper bound, may be infinite. by: what was fixed beforehand, in a clause.
        composition: all that can ever be charged, where that was fixed; else None, and (ε, δ) is all that is known.
    """

    epsilon: float
    by: str
    composition: Composition | None = None


NOTHING = Guarantee(epsilon=0.0, by="nothing was spent", composition=())


def guarantee_of(state: LedgerState, spent: Certified) -> Guarantee:
    """What holds of a ledger whose charges cost `spent`; more than the budget where nothing better does."""
    budget = state.budget.epsilon
    if not state.steps_charged:
        return NOTHING
    within = spent.epsilon <= budget
    if state.caps is None:
        return Guarantee(epsilon=budget, by="the budget") if within else _overspent(spent)
    capped = _price(state, state.caps, spent)
    if capped <= budget:
        if state.extra_blocks:
            return Guarantee(epsilon=budget, by="the budget, which an extension may use up")
        allowed = state.caps.composition()
        return Guarantee(epsilon=capped, by="all that the plan's caps allow", composition=allowed)
    kinds = {segment.event for segment in state.segments if segment.reserved}
    if within and (len(kinds) == 1 or not state.crashes):
        return Guarantee(epsilon=budget, by="the budget, at which the guard stops, for the plan's caps would cost more")
    # Several kinds of blocks, and crashes at moments that may have been chosen: no fixed numbers of them are known.
    return Guarantee(epsilon=max(capped, spent.epsilon), by="all that the plan's caps allow, which is over the budget")


def _overspent(spent: Certified) -> Guarantee:
    return Guarantee(epsilon=spent.epsilon, by="what was charged, which is over the budget")


def _price(state: LedgerState, caps: Caps, spent: Certified) -> float:
    allowed = caps.composition()
    if allowed == charged(state.segments):
        return spent.epsilon
    try:
        return certify(allowed, delta=state.budget.delta, neighbouring=state.budget.neighbouring).epsilon
    except ArithmeticError:
        return math.inf
