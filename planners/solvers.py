"""The inverse of accounting: the noise, the sampling rate or the number of steps that a budget allows.

Each solver knows two of the three and returns the third, rounded towards privacy: the value that is returned
was accounted once more, at the accountant's default precision, and its upper bound is at most ε. It is tight
too: `tolerance` (0.1 %) less noise or more sampling, or one more step, is over ε by the same accountant, unless
the answer is the end of the range that is searched. With `phases` the three describe a schedule: the solver scales
the noise, the rate or the number of steps of all its phases together (`planners.schedule`).

    >>> z = solve_noise_multiplier(epsilon=8.0, delta=1e-5, sampling_rate=0.04, iterations=2000)
    >>> round(z, 3)  # REFERENCE row 3: 1.3562 by Opacus' orders
    1.356
    >>> solve_iterations(epsilon=8.0, delta=1e-5, sampling_rate=0.04, noise_multiplier=z)
    2000

Source: DESIGN section 4; the accountants cite theirs.
"""

from __future__ import annotations

from collections.abc import Sequence

from accountant.budget import Budget, Neighbouring
from accountant.composition.segments import Composition
from accountant.errors import InvalidValue
from accountant.events import require_count, require_noise_multiplier
from planners.errors import ImpossiblePlan
from planners.schedule import WHOLE, PhaseShape
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
    phases: Sequence[PhaseShape] = WHOLE,
    before: Composition = (),
    tolerance: float = 1e-3,
) -> float:
    """The least noise that keeps (ε, δ).

    Args:
        epsilon: > 0, natural log. delta: in (0, 1).
        sampling_rate: q, in (0, 1/bands]. iterations: T, integer >= 1.
        accountant: "rdp", or "prv" for the tighter bound, which takes seconds.
        neighbouring: adjacency.
        bands: b of banded error feedback, >= 1. feedback_ratio: ρ = 2·C2·qN/C1 of the paper's, >= 0.
        phases: the shape of a schedule, whose noise is this z times each phase's factor, and its rate likewise.
        before: (event, steps) pairs that are charged beside the steps, such as a warm start's.
        tolerance: relative; so much less noise is over the budget. In (0, 0.5].

    Returns:
        z, noise std ÷ L2 sensitivity, between 0.01 and 1e6; 0.01 where even that keeps the budget.

    Raises:
        InvalidValue: a value is out of range.
        ImpossiblePlan: not even the largest noise keeps the budget.

    Guarantees: the accountant's upper bound at what is returned is at most ε.
    """
    budget = _checked(epsilon, delta, neighbouring, accountant, tolerance)
    family = EventFamily(bands=bands, feedback_ratio=feedback_ratio, phases=tuple(phases), before=before)
    family.require_rate(sampling_rate)
    require_count(iterations, "iterations", least=1)

    def candidate(z: float) -> Composition:
        return family.composition(sampling_rate=sampling_rate, noise_multiplier=z, iterations=iterations)

    found = crossing(
        candidate,
        budget,
        safest=LARGEST_NOISE_MULTIPLIER,
        riskiest=SMALLEST_NOISE_MULTIPLIER,
        tolerance=tolerance,
        accountant=accountant,
    )
    if found is None:
        raise ImpossiblePlan(
            f"No noise_multiplier up to {LARGEST_NOISE_MULTIPLIER:g} keeps ε = {epsilon:g} at δ = {delta:g} with "
            f"sampling_rate={sampling_rate:g} and iterations={iterations}"
            + _possible(candidate(LARGEST_NOISE_MULTIPLIER), budget)
        )
    return found


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
    phases: Sequence[PhaseShape] = WHOLE,
    before: Composition = (),
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
    family = EventFamily(bands=bands, feedback_ratio=feedback_ratio, phases=tuple(phases), before=before)
    require_noise_multiplier(noise_multiplier)
    require_count(iterations, "iterations", least=1)

    def candidate(q: float) -> Composition:
        return family.composition(sampling_rate=q, noise_multiplier=noise_multiplier, iterations=iterations)

    largest = family.largest_rate
    found = crossing(
        candidate,
        budget,
        safest=SMALLEST_SAMPLING_RATE,
        riskiest=largest,
        start=min(0.01, largest),
        tolerance=tolerance,
        accountant=accountant,
    )
    if found is None:
        raise ImpossiblePlan(
            f"No sampling_rate keeps ε = {epsilon:g} at δ = {delta:g} with noise_multiplier="
            f"{noise_multiplier:g} and iterations={iterations}" + _possible(candidate(SMALLEST_SAMPLING_RATE), budget)
        )
    return found


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
    phases: Sequence[PhaseShape] = WHOLE,
    before: Composition = (),
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
    family = EventFamily(bands=bands, feedback_ratio=feedback_ratio, phases=tuple(phases), before=before)
    family.require_rate(sampling_rate)
    require_noise_multiplier(noise_multiplier)

    def candidate(blocks: int) -> Composition:
        return family.composition(
            sampling_rate=sampling_rate, noise_multiplier=noise_multiplier, iterations=blocks * bands
        )

    def fits(blocks: int) -> bool:
        return epsilon_by_rdp(candidate(blocks), budget) <= epsilon

    blocks = largest_count(fits, at_most=LARGEST_ITERATIONS // bands)
    if accountant == "prv":
        blocks = tighten_count(candidate, budget, blocks, at_most=LARGEST_ITERATIONS // bands)
    if blocks == 0:
        one = epsilon_by_rdp(candidate(1), budget)
        raise ImpossiblePlan(
            f"One step with sampling_rate={sampling_rate:g} and noise_multiplier={noise_multiplier:g} costs "
            f"ε = {one:.4g} by RDP, more than {epsilon:g} at δ = {delta:g}; "
            "raise the noise or the budget, or lower the sampling rate."
        )
    return blocks * bands


def solve_feedback_ratio(
    *,
    epsilon: float,
    delta: float,
    sampling_rate: float,
    noise_multiplier: float,
    iterations: int,
    accountant: str = "rdp",
    neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE,
    phases: Sequence[PhaseShape] = WHOLE,
    before: Composition = (),
    tolerance: float = 1e-3,
) -> float:
    """What C2 a certified budget can afford: the largest ρ = 2·C2·qN/C1 of the published feedback.

    Args:
        sampling_rate: q, in (0, 1]. noise_multiplier: z, > 0. iterations: T, integer >= 1. The others: as
            `solve_noise_multiplier`.

    Returns:
        ρ >= 0; 0 where the steps fit the budget without feedback and with none of it; at most 1e4.

    Raises:
        InvalidValue: a value is out of range.
        ImpossiblePlan: the steps alone are over the budget.

    Guarantees: the accountant's upper bound at what is returned is at most ε.
    """
    budget = _checked(epsilon, delta, neighbouring, accountant, tolerance)
    phases = tuple(phases)
    EventFamily(phases=phases).require_rate(sampling_rate)
    require_noise_multiplier(noise_multiplier)
    require_count(iterations, "iterations", least=1)

    def candidate(ratio: float) -> Composition:
        return EventFamily(feedback_ratio=ratio, phases=phases, before=before).composition(
            sampling_rate=sampling_rate, noise_multiplier=noise_multiplier, iterations=iterations
        )

    found = crossing(
        candidate,
        budget,
        safest=_SMALLEST_RATIO,
        riskiest=_LARGEST_RATIO,
        start=0.01,
        tolerance=tolerance,
        accountant=accountant,
    )
    if found is not None:
        return found
    alone = epsilon_by_rdp(candidate(0.0), budget)
    if alone > epsilon and (accountant == "rdp" or bounds_by_prv(candidate(0.0), budget).upper > epsilon):
        raise ImpossiblePlan(
            f"{iterations} steps with noise_multiplier={noise_multiplier:g} cost ε = {alone:.4g} by RDP at "
            f"δ = {delta:g} before anything is fed back; raise the noise, or ε above {epsilon:g}."
        )
    return 0.0


def _checked(epsilon: float, delta: float, neighbouring: Neighbouring, accountant: str, tolerance: float) -> Budget:
    if accountant not in ("rdp", "prv"):
        raise InvalidValue(f"Expected accountant={accountant!r} to be rdp or prv.")
    if not 0 < tolerance <= 0.5:
        raise InvalidValue(f"Expected tolerance={tolerance!r} in (0, 0.5].")
    return Budget(epsilon=epsilon, delta=delta, neighbouring=neighbouring)


def _possible(safest: Composition, budget: Budget) -> str:
    """What is possible where the budget is not: the ε at the safe end."""
    least = epsilon_by_rdp(safest, budget)
    return (
        f"; the least possible there is ε = {least:.4g}. Raise ε or δ, or lower iterations, sampling rate or feedback."
    )
