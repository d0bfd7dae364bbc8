"""What the published feedback costs a certified budget: how large C2 may be at how much noise, and what was claimed.

What C2 feeds back is not amplified by sampling (docs/privacy.md, theorem 4), so a budget affords little of it: each
row gives a noise multiplier and the largest C2 that keeps (ε, δ) there.

    >>> rows = affordable(epsilon=10.0, delta=1e-5, sampling_rate=256 / 60000, iterations=1000, batch_size=256.0,
    ...                   clip_norm=1.0, times=(1.5,))
    >>> 0.01 < rows[0].feedback_ratio < 0.05
    True
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from accountant.budget import Budget, Neighbouring
from accountant.claims.claims import claimed_epsilon_of
from accountant.composition.segments import Composition
from planners.schedule import WHOLE, PhaseShape
from planners.solving.cost import EventFamily
from planners.solving.solutions import Target, largest_feedback, least_noise

# Of the noise that the same steps need without feedback.
TIMES = (1.1, 1.5, 2.0, 4.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Affordable:
    """The largest feedback at one noise multiplier.

    Args:
        times: noise ÷ what the same steps need without feedback. noise_multiplier: z.
        feedback_ratio: the largest ρ = 2·C2·qN/C1. feedback_clip_norm: its C2, on the scale of the mean.
        claimed: ε that the published analysis would print there; not a bound.
    """

    times: float
    noise_multiplier: float
    feedback_ratio: float
    feedback_clip_norm: float
    claimed: float


def affordable(
    *,
    epsilon: float,
    delta: float,
    sampling_rate: float,
    iterations: int,
    batch_size: float,
    clip_norm: float,
    neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE,
    phases: Sequence[PhaseShape] = WHOLE,
    before: Composition = (),
    times: Sequence[float] = TIMES,
) -> tuple[Affordable, ...]:
    """One row for each multiple of the noise that the steps need without feedback, by RDP, to 1 %.

    Args:
        epsilon: of the certified budget. delta: of it. sampling_rate: q. iterations: T. batch_size: B = qN, > 0.
        clip_norm: C1, > 0. neighbouring: adjacency. phases: shape of a schedule. before: what is
            charged beside the steps. times: multiples, > 1.

    Raises:
        InvalidValue: a value is out of range. ImpossiblePlan: no noise keeps the budget.
    """
    target = Target(budget=Budget(epsilon=epsilon, delta=delta, neighbouring=neighbouring), tolerance=1e-2)
    family = EventFamily(phases=tuple(phases), before=before)
    alone = least_noise(target, family, sampling_rate=sampling_rate, iterations=iterations)
    rows = []
    for factor in times:
        z = factor * alone
        ratio = largest_feedback(target, family, sampling_rate=sampling_rate, noise_multiplier=z, iterations=iterations)
        released = replace(family, feedback_ratio=ratio).composition(
            sampling_rate=sampling_rate, noise_multiplier=z, iterations=iterations
        )
        rows.append(
            Affordable(
                times=factor,
                noise_multiplier=z,
                feedback_ratio=ratio,
                feedback_clip_norm=ratio * clip_norm / (2 * batch_size),
                claimed=claimed_epsilon_of(released, delta=delta),
            )
        )
    return tuple(rows)
