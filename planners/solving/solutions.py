"""The four answers: the least noise, the largest rate, the most steps, the largest feedback that keep a budget.

Each knows all but one of the numbers and returns that one, rounded towards privacy: what is returned was accounted
once more, at the accountant's default precision, and its upper bound is at most ε. It is tight too, to `tolerance`,
unless it is the end of the range that is searched.

    >>> target = Target(budget=Budget(epsilon=8.0, delta=1e-5))
    >>> z = least_noise(target, EventFamily(), sampling_rate=0.04, iterations=2000)
    >>> round(z, 3)  # REFERENCE row 3: 1.3562 by Opacus' orders
    1.356
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from accountant.bound_text import upper_text
from accountant.budget import Budget
from accountant.composition.segments import Composition
from accountant.errors import InvalidValue
from accountant.events import require_count, require_noise_multiplier
from planners.errors import ImpossiblePlan
from planners.solving.bracketing import largest_count
from planners.solving.by_prv import tighten_count
from planners.solving.by_rdp import crossing
from planners.solving.cost import EventFamily, bounds_by_prv, epsilon_by_rdp

# Noise a million times the clip norm leaves nothing to learn from; less than a hundredth no longer hides it.
LARGEST_NOISE_MULTIPLIER = 1e6
SMALLEST_NOISE_MULTIPLIER = 0.01
SMALLEST_SAMPLING_RATE = 1e-12
LARGEST_ITERATIONS = 10**9

# Feedback that is a billionth of the clip norm's scale is none; at ten thousand times it nothing is certified.
_SMALLEST_RATIO, _LARGEST_RATIO = 1e-9, 1e4


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What must be kept, by which bound, and how tightly.

    Args:
        budget: (ε, δ) and adjacency. accountant: "rdp", or "prv" for the tighter bound, which takes seconds.
        tolerance: relative, in (0, 0.5]; so much further is over the budget.

    Raises:
        InvalidValue: a value is out of range.
    """

    budget: Budget
    accountant: str = "rdp"
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        if self.accountant not in ("rdp", "prv"):
            raise InvalidValue(f"Expected accountant={self.accountant!r} to be rdp or prv.")
        if not 0 < self.tolerance <= 0.5:
            raise InvalidValue(f"Expected tolerance={self.tolerance!r} in (0, 0.5].")

    def __str__(self) -> str:
        return f"ε = {self.budget.epsilon:g} at δ = {self.budget.delta:g}"


def least_noise(target: Target, family: EventFamily, *, sampling_rate: float, iterations: int) -> float:
    """z, between 0.01 and 1e6; 0.01 where even that keeps the budget.

    Args:
        family: what a run is made of. sampling_rate: q, in (0, 1/bands]. iterations: T, integer >= 1.

    Raises:
        InvalidValue: a value is out of range. ImpossiblePlan: not even the largest noise keeps the budget.

    Guarantees: the accountant's upper bound at what is returned is at most ε.
    """
    family.require_rate(sampling_rate)
    require_count(iterations, "iterations", least=1)

    def candidate(z: float) -> Composition:
        return family.composition(sampling_rate=sampling_rate, noise_multiplier=z, iterations=iterations)

    found = crossing(
        candidate,
        target.budget,
        safest=LARGEST_NOISE_MULTIPLIER,
        riskiest=SMALLEST_NOISE_MULTIPLIER,
        tolerance=target.tolerance,
        accountant=target.accountant,
    )
    if found is None:
        raise ImpossiblePlan(
            f"No noise_multiplier up to {LARGEST_NOISE_MULTIPLIER:g} keeps {target} with "
            f"sampling_rate={sampling_rate:g} and iterations={iterations}"
            + _possible(candidate(LARGEST_NOISE_MULTIPLIER), target.budget)
        )
    return found


def largest_rate(target: Target, family: EventFamily, *, noise_multiplier: float, iterations: int) -> float:
    """q in (0, 1/bands]; 1/bands where even that keeps the budget. Raises and guarantees as `least_noise`."""
    require_noise_multiplier(noise_multiplier)
    require_count(iterations, "iterations", least=1)

    def candidate(q: float) -> Composition:
        return family.composition(sampling_rate=q, noise_multiplier=noise_multiplier, iterations=iterations)

    largest = family.largest_rate
    found = crossing(
        candidate,
        target.budget,
        safest=SMALLEST_SAMPLING_RATE,
        riskiest=largest,
        start=min(0.01, largest),
        tolerance=target.tolerance,
        accountant=target.accountant,
    )
    if found is None:
        raise ImpossiblePlan(
            f"No sampling_rate keeps {target} with noise_multiplier={noise_multiplier:g} and iterations={iterations}"
            + _possible(candidate(SMALLEST_SAMPLING_RATE), target.budget)
        )
    return found


def most_iterations(target: Target, family: EventFamily, *, sampling_rate: float, noise_multiplier: float) -> int:
    """T >= 1, a multiple of the bands (a block is charged at its start), at most 10⁹; one block more does not fit."""
    family.require_rate(sampling_rate)
    require_noise_multiplier(noise_multiplier)
    budget, bands = target.budget, family.bands

    def candidate(blocks: int) -> Composition:
        return family.composition(
            sampling_rate=sampling_rate, noise_multiplier=noise_multiplier, iterations=blocks * bands
        )

    def fits(blocks: int) -> bool:
        return epsilon_by_rdp(candidate(blocks), budget) <= budget.epsilon

    blocks = largest_count(fits, at_most=LARGEST_ITERATIONS // bands)
    if target.accountant == "prv":
        blocks = tighten_count(candidate, budget, blocks, at_most=LARGEST_ITERATIONS // bands)
    if blocks == 0:
        one = epsilon_by_rdp(candidate(1), budget)
        raise ImpossiblePlan(
            f"One step with sampling_rate={sampling_rate:g} and noise_multiplier={noise_multiplier:g} costs "
            f"ε = {upper_text(one)} by RDP, more than {budget.epsilon:g} at δ = {budget.delta:g}; "
            "raise the noise or the budget, or lower the sampling rate."
        )
    return blocks * bands


def largest_feedback(
    target: Target, family: EventFamily, *, sampling_rate: float, noise_multiplier: float, iterations: int
) -> float:
    """ρ of the published feedback, at most 1e4; 0 where the steps fit the budget without it and with none of it.

    Args:
        family: of one band and without feedback. The others as in `least_noise`.
    """
    budget = target.budget
    family.require_rate(sampling_rate)
    require_noise_multiplier(noise_multiplier)
    require_count(iterations, "iterations", least=1)

    def candidate(ratio: float) -> Composition:
        return replace(family, feedback_ratio=ratio).composition(
            sampling_rate=sampling_rate, noise_multiplier=noise_multiplier, iterations=iterations
        )

    found = crossing(
        candidate,
        budget,
        safest=_SMALLEST_RATIO,
        riskiest=_LARGEST_RATIO,
        start=0.01,
        tolerance=target.tolerance,
        accountant=target.accountant,
    )
    if found is not None:
        return found
    alone = epsilon_by_rdp(candidate(0.0), budget)
    by_rdp = target.accountant == "rdp"
    if alone > budget.epsilon and (by_rdp or bounds_by_prv(candidate(0.0), budget).upper > budget.epsilon):
        raise ImpossiblePlan(
            f"{iterations} steps with noise_multiplier={noise_multiplier:g} cost ε = {upper_text(alone)} by RDP at "
            f"δ = {budget.delta:g} before anything is fed back; raise the noise, or ε above {budget.epsilon:g}."
        )
    return 0.0


def _possible(safest: Composition, budget: Budget) -> str:
    """What is possible where the budget is not: the ε at the safe end."""
    least = epsilon_by_rdp(safest, budget)
    return (
        f"; the least possible there is ε = {upper_text(least)}. "
        "Raise ε or δ, or lower iterations, sampling rate or feedback."
    )
