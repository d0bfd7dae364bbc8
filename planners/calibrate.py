"""The inverse of accounting: the noise, the sampling rate or the number of steps that a budget allows.

Each solver knows two of the three and returns the third, rounded towards privacy: the value that is returned
was accounted once more, at the accountant's default precision, and its upper bound is at most ε. It is tight
too: `tolerance` (0.1 %) less noise or more sampling, or one more step, is over ε by the same accountant, unless
the answer is the end of the range that is searched.

    >>> z = solve_noise_multiplier(epsilon=8.0, delta=1e-5, sampling_rate=0.04, iterations=2000)
    >>> round(z, 3)  # REFERENCE row 3: 1.3562 by Opacus' orders
    1.356
    >>> solve_iterations(epsilon=8.0, delta=1e-5, sampling_rate=0.04, noise_multiplier=z)
    2000

Source: DESIGN section 4; the accountants cite theirs.
"""

from __future__ import annotations

from collections.abc import Callable

from accountant.budget import Budget, Neighbouring
from accountant.errors import InvalidValue
from accountant.events import Event, require_count, require_noise_multiplier
from accountant.rdp import RdpAccountant
from planners.cost import Candidate, EventFamily, FewOrders, epsilon_by_rdp
from planners.errors import ImpossiblePlan
from planners.search import Bracket, bracket, largest_count, log_ratio, narrow_bracket
from planners.tighten import tighten, tighten_count

# Noise a million times the clip norm leaves nothing to learn from; less than a hundredth no longer hides it.
LARGEST_NOISE_MULTIPLIER = 1e6
SMALLEST_NOISE_MULTIPLIER = 0.01
SMALLEST_SAMPLING_RATE = 1e-12
LARGEST_ITERATIONS = 10**9

_COARSE = 0.02
# What is returned keeps its promise at all orders; a last bit that says otherwise is stepped over.
_NUDGE = 1e-9


def solve_noise_multiplier(
    *,
    epsilon: float,
    delta: float,
    sampling_rate: float,
    iterations: int,
    accountant: str = "rdp",
    neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE,
    bands: int = 1,
    feedback_ratio: float = 0.0,
    tolerance: float = 1e-3,
) -> float:
    """The least noise that keeps (ε, δ).

    Args:
        epsilon: > 0, natural log. delta: in (0, 1).
        sampling_rate: q, in (0, 1/bands]. iterations: T, integer >= 1.
        accountant: "rdp", or "prv" for the tighter bound, which takes seconds.
        neighbouring: adjacency.
        bands: b of banded error feedback, >= 1. feedback_ratio: ρ = 2·C2·qN/C1 of the paper's, >= 0.
        tolerance: relative; so much less noise is over the budget. In (0, 0.5].

    Returns:
        z, noise std ÷ L2 sensitivity, between 0.01 and 1e6; 0.01 where even that keeps the budget.

    Raises:
        InvalidValue: a value is out of range.
        ImpossiblePlan: not even the largest noise keeps the budget.

    Guarantees: the accountant's upper bound at what is returned is at most ε.
    """
    budget = _checked(epsilon, delta, neighbouring, accountant, tolerance)
    family = EventFamily(bands=bands, feedback_ratio=feedback_ratio)
    family.require_rate(sampling_rate)
    require_count(iterations, "iterations", least=1)

    def candidate(z: float) -> tuple[Event, int]:
        return family.event(sampling_rate=sampling_rate, noise_multiplier=z), iterations

    found = _solve_by_rdp(
        candidate,
        budget,
        safest=LARGEST_NOISE_MULTIPLIER,
        riskiest=SMALLEST_NOISE_MULTIPLIER,
        tolerance=tolerance,
    )
    if found is None:
        raise ImpossiblePlan(
            f"No noise_multiplier up to {LARGEST_NOISE_MULTIPLIER:g} keeps ε = {epsilon:g} at δ = {delta:g} with "
            f"sampling_rate={sampling_rate:g} and iterations={iterations}"
            + _possible(candidate(LARGEST_NOISE_MULTIPLIER), budget)
        )
    if accountant == "rdp":
        return found.feasible
    return tighten(candidate, budget, found, riskiest=SMALLEST_NOISE_MULTIPLIER, tolerance=tolerance)


def solve_sampling_rate(
    *,
    epsilon: float,
    delta: float,
    noise_multiplier: float,
    iterations: int,
    accountant: str = "rdp",
    neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE,
    bands: int = 1,
    feedback_ratio: float = 0.0,
    tolerance: float = 1e-3,
) -> float:
    """The largest sampling rate that keeps (ε, δ).

    Args:
        noise_multiplier: z, > 0. iterations: T, integer >= 1. The others: as `solve_noise_multiplier`.

    Returns:
        q in (0, 1/bands]; 1/bands where even that keeps the budget.

    Raises:
        InvalidValue: a value is out of range.
        ImpossiblePlan: not even q = 1e-12 keeps the budget.

    Guarantees: the accountant's upper bound at what is returned is at most ε.
    """
    budget = _checked(epsilon, delta, neighbouring, accountant, tolerance)
    family = EventFamily(bands=bands, feedback_ratio=feedback_ratio)
    require_noise_multiplier(noise_multiplier)
    require_count(iterations, "iterations", least=1)

    def candidate(q: float) -> tuple[Event, int]:
        return family.event(sampling_rate=q, noise_multiplier=noise_multiplier), iterations

    largest = family.largest_rate
    found = _solve_by_rdp(
        candidate,
        budget,
        safest=SMALLEST_SAMPLING_RATE,
        riskiest=largest,
        start=min(0.01, largest),
        tolerance=tolerance,
    )
    if found is None:
        raise ImpossiblePlan(
            f"No sampling_rate keeps ε = {epsilon:g} at δ = {delta:g} with noise_multiplier="
            f"{noise_multiplier:g} and iterations={iterations}" + _possible(candidate(SMALLEST_SAMPLING_RATE), budget)
        )
    if accountant == "rdp":
        return found.feasible
    return tighten(candidate, budget, found, riskiest=largest, tolerance=tolerance)


def solve_iterations(
    *,
    epsilon: float,
    delta: float,
    sampling_rate: float,
    noise_multiplier: float,
    accountant: str = "rdp",
    neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE,
    bands: int = 1,
    feedback_ratio: float = 0.0,
) -> int:
    """The most steps that keep (ε, δ); one more does not.

    Args:
        sampling_rate: q, in (0, 1/bands]. noise_multiplier: z, > 0. The others: as `solve_noise_multiplier`.

    Returns:
        T >= 1, a multiple of `bands` (a block is charged at its start), at most 10⁹.

    Raises:
        InvalidValue: a value is out of range.
        ImpossiblePlan: a single step is over the budget.

    Guarantees: the accountant's upper bound at what is returned is at most ε.
    """
    budget = _checked(epsilon, delta, neighbouring, accountant, tolerance=1e-3)
    family = EventFamily(bands=bands, feedback_ratio=feedback_ratio)
    family.require_rate(sampling_rate)
    require_noise_multiplier(noise_multiplier)
    event = family.event(sampling_rate=sampling_rate, noise_multiplier=noise_multiplier)
    ledger = RdpAccountant(neighbouring)

    def fits(blocks: int) -> bool:
        return bool(ledger.epsilon_after(event, blocks * bands, delta) <= epsilon)

    blocks = largest_count(fits, at_most=LARGEST_ITERATIONS // bands)
    if accountant == "prv":
        blocks = tighten_count(lambda n: (event, n * bands), budget, blocks, at_most=LARGEST_ITERATIONS // bands)
    if blocks == 0:
        one = ledger.epsilon_after(event, 1, delta)
        raise ImpossiblePlan(
            f"One step with sampling_rate={sampling_rate:g} and noise_multiplier={noise_multiplier:g} costs "
            f"ε = {one:.4g} by RDP, more than {epsilon:g} at δ = {delta:g}; "
            "raise the noise or the budget, or lower the sampling rate."
        )
    return blocks * bands


def _checked(epsilon: float, delta: float, neighbouring: Neighbouring, accountant: str, tolerance: float) -> Budget:
    if accountant not in ("rdp", "prv"):
        raise InvalidValue(f"Expected accountant={accountant!r} to be rdp or prv.")
    if not 0 < tolerance <= 0.5:
        raise InvalidValue(f"Expected tolerance={tolerance!r} in (0, 0.5].")
    return Budget(epsilon=epsilon, delta=delta, neighbouring=neighbouring)


def _possible(safest: tuple[Event, int], budget: Budget) -> str:
    """What is possible where the budget is not: the ε at the safe end, and the steps that would fit."""
    event, steps = safest
    least = epsilon_by_rdp(event, steps, budget)
    return (
        f"; the least possible there is ε = {least:.4g}. Raise ε or δ, or lower iterations, sampling rate or feedback."
    )


def _solve_by_rdp(
    candidate: Candidate,
    budget: Budget,
    *,
    safest: float,
    riskiest: float,
    start: float = 1.0,
    tolerance: float,
) -> Bracket | None:
    """A tight bracket around the crossing, its feasible end verified at all orders; None where there is none.

    Where even `riskiest` keeps the budget it is both ends.
    """
    few = FewOrders(budget)

    def cost(x: float) -> float:
        return log_ratio(few.epsilon(*candidate(x)), budget.epsilon)

    ends = bracket(cost, start=start, safest=safest, riskiest=riskiest)
    if isinstance(ends, Bracket):
        ends = narrow_bracket(cost, ends, tolerance=_COARSE)
        few.focus(*candidate(ends.feasible))
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
    while epsilon_by_rdp(*candidate(x), budget) > budget.epsilon:
        if step > 1:
            return None
        x *= (1 + step) ** towards_safe
        step *= 10
    return Bracket(feasible=x, infeasible=ends.infeasible, slack=ends.slack, excess=ends.excess)
