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

Source: the accountants cite theirs.
"""

from __future__ import annotations

from collections.abc import Sequence

from accountant.budget import Budget, Neighbouring
from accountant.composition.segments import Composition
from planners.schedule import WHOLE, PhaseShape
from planners.solving.cost import EventFamily
from planners.solving.solutions import Target, largest_feedback, largest_rate, least_noise, most_iterations


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
    target = _target(epsilon, delta, neighbouring, accountant, tolerance)
    family = EventFamily(bands=bands, feedback_ratio=feedback_ratio, phases=tuple(phases), before=before)
    return least_noise(target, family, sampling_rate=sampling_rate, iterations=iterations)


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
    target = _target(epsilon, delta, neighbouring, accountant, tolerance)
    family = EventFamily(bands=bands, feedback_ratio=feedback_ratio, phases=tuple(phases), before=before)
    return largest_rate(target, family, noise_multiplier=noise_multiplier, iterations=iterations)


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
    target = _target(epsilon, delta, neighbouring, accountant)
    family = EventFamily(bands=bands, feedback_ratio=feedback_ratio, phases=tuple(phases), before=before)
    return most_iterations(target, family, sampling_rate=sampling_rate, noise_multiplier=noise_multiplier)


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
    return largest_feedback(
        _target(epsilon, delta, neighbouring, accountant, tolerance),
        EventFamily(phases=tuple(phases), before=before),
        sampling_rate=sampling_rate,
        noise_multiplier=noise_multiplier,
        iterations=iterations,
    )


def _target(
    epsilon: float, delta: float, neighbouring: Neighbouring, accountant: str, tolerance: float = 1e-3
) -> Target:
    budget = Budget(epsilon=epsilon, delta=delta, neighbouring=neighbouring)
    return Target(budget=budget, accountant=accountant, tolerance=tolerance)
