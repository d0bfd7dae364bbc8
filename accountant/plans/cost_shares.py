"""Who spends what: each part's share of a step's release, and what error feedback takes of it.

The parts of a step are one joint Gaussian release, 1/z² = Σ 1/z_k² (docs/privacy.md, theorem 1), so part k's share is
(1/z_k²) / Σ (1/z_j²). Within a part of banded feedback Δ² = C1² + R²/K (theorem 3): the fed-back part's share of it
is (R²/K) / Δ².

    >>> from accountant.plans.plan import Feedback, Part
    >>> plan = Plan(epsilon=10.0, delta=1e-5, dataset_size=1437, feedback=Feedback.BANDED, bands=2, sampling_rate=0.1,
    ...     iterations=10, noise_multiplier=1.0, parts=(
    ...     Part(name="critic", clip_norm=3.0, residual_clip_norm=4.0, noise_multiplier=1.25),
    ...     Part(name="encoder", clip_norm=3.0, noise_multiplier=5.0 / 3.0)))
    >>> [(s.name, round(s.share, 2), round(s.feedback, 2)) for s in shares_of(plan)]
    [('critic', 0.64, 0.41), ('encoder', 0.36, 0.0)]

The shares say how the noise was divided, not a privacy guarantee of a part alone: the whole tuple is charged once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from accountant.plans.parts import Feedback, Part
from accountant.plans.plan import Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """One part of what every step releases.

    Args:
        name: the part's.
        clip_norm, residual_clip_norm, feedback_clip_norm: C1, R and C2 (docs/notation.md).
        noise_multiplier: z_k in the first phase.
        share: of the step's 1/z², in [0, 1]; all parts sum to 1.
        feedback: what of `share` error feedback takes, in [0, share]; 0 without feedback, and None for the published
            one, whose cost is not a part of Δ² (docs/privacy.md, theorem 4).
    """

    name: str
    clip_norm: float
    residual_clip_norm: float
    feedback_clip_norm: float
    noise_multiplier: float
    share: float
    feedback: float | None


def shares_of(plan: Plan) -> tuple[Share, ...]:
    """The plan's parts, in its order; every phase divides its noise alike."""
    # Scaled by the smallest z so that tiny noise does not overflow.
    smallest = min(part.noise_multiplier for part in plan.parts)
    weights = [(smallest / part.noise_multiplier) ** 2 for part in plan.parts]
    total = math.fsum(weights)
    return tuple(
        Share(
            name=part.name,
            clip_norm=part.clip_norm,
            residual_clip_norm=part.residual_clip_norm,
            feedback_clip_norm=part.feedback_clip_norm,
            noise_multiplier=part.noise_multiplier,
            share=weight / total,
            feedback=_of_feedback(plan, part, weight / total),
        )
        for part, weight in zip(plan.parts, weights, strict=True)
    )


def _of_feedback(plan: Plan, part: Part, share: float) -> float | None:
    if plan.feedback is Feedback.PAPER:
        return None
    return float(share * (1 - (part.clip_norm / part.sensitivity(plan.bands)) ** 2))
