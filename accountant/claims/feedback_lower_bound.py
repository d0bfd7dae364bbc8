"""A lower bound for the published error feedback: what one record that is drawn once can do.

The error that is fed back is clipped in each step, but not the error itself. Let the other records push it to −H·u
and then have no gradient, and let ours have the gradient 2H·u, H large. Until ours is drawn, each step is fed −C2·u;
ever after it is fed +C2·u. So each step after the first draw is shifted by 2·C2, ρ in units of C1/(qN), whatever its
own batch is. Whoever watches the mean of the last m of T outputs sees, with z the noise multiplier,

    with the record:     N(ρ · (steps of the m after the first draw) / (z √m), 1)        without it:   N(0, 1)

and a test that separates these proves ε >= log((P(X > x) − δ) / Q(X > x)) at any threshold x. (That none of the
others is in the first batch has probability (1 − q)^(N−1), which is taken for nothing beside δ.)

    >>> steered = steering_epsilon(sampling_rate=0.02, noise_multiplier=1.0, feedback_ratio=2.0, iterations=150,
    ...                            delta=1e-5)
    >>> steered > 100
    True
"""

from __future__ import annotations

import numpy as np

_THRESHOLDS = 200
_SHARES = (1.0, 0.75, 0.5, 0.25, 0.1)


def steering_epsilon(
    *, sampling_rate: float, noise_multiplier: float, feedback_ratio: float, iterations: int, delta: float
) -> float:
    """Lower bound on the ε of the published update with gradients that have no bound of their own.

    Args:
        sampling_rate: q, in (0, 1]. noise_multiplier: z, in units of C1/(qN), > 0.
        feedback_ratio: ρ = 2·C2·qN/C1, >= 0. iterations: T >= 1. delta: in (0, 1).

    Returns:
        ε >= 0 such that the mechanism is (ε', δ)-DP for no ε' below it.
    """
    from scipy.special import log_ndtr, ndtr

    best = 0.0
    first = np.arange(iterations)
    drawn = sampling_rate * (1 - sampling_rate) ** first
    for share in _SHARES:
        watched = max(1, int(share * iterations))
        shifted = np.minimum(iterations - 1 - first, watched)
        means = feedback_ratio * shifted / (noise_multiplier * np.sqrt(watched))
        x = np.linspace(0.0, float(means.max()) + 5, _THRESHOLDS)
        with_record = ndtr(means - x[:, None]) @ drawn + (1 - sampling_rate) ** iterations * ndtr(-x)
        gap = with_record - delta
        seen = gap > 0
        if seen.any():
            best = max(best, float((np.log(gap[seen]) - log_ndtr(-x[seen])).max()))
    return best
