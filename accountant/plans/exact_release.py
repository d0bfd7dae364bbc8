"""What an exact release owes a plan, in directed rounding: the grid, the noise on it, and the joint cost of a tuple.

A sum is released as integers in units of a grid step h, a power of two, with noise ⌊N(0, (σ/h)²)⌋ (docs/privacy.md,
theorem 11). The theorem wants σ/h ≥ z·Δ/h, joint noise of at least the event's, and a feedback ratio of at most the
event's, for the numbers that stand there: comparisons are made in fractions, exactly, and what is computed is rounded
up.

    >>> grid_step_for(0.5) == 0.5 * 2.0**-20
    True
    >>> noise_on_grid(noise_multiplier=1.0, clip_norm=3.0, residual_clip_norm=4.0, bands=2, grid_step=0.5)
    10.0
    >>> joint_covers([2.0, 2.0], 2**0.5), joint_covers([2.0, 2.0], 1.41)
    (False, True)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

# Of a clip norm: 20 bits below it, so that cutting to integers takes less than a millionth of it from a number.
_BITS = 20
# Clip norms between these have squares and ratios far from where floating point ends.
SMALLEST_NORM, LARGEST_NORM = 1e-12, 1e12
# Sums of integers are exact below 2^53; a factor of two is left for planted records and a data set a little larger.
LARGEST_SUM = 2**52


def grid_step_for(clip_norm: float) -> float:
    """h: the power of two that is at most clip_norm · 2⁻²⁰ and more than half of it.

    Args:
        clip_norm: C1, in [1e-12, 1e12].
    """
    return math.ldexp(0.5, math.frexp(clip_norm)[1] - _BITS)


def is_power_of_two(value: float) -> bool:
    """Whether a positive float is one, so that dividing by it is exact."""
    return value > 0 and math.isfinite(value) and math.frexp(value)[0] == 0.5


def noise_on_grid(
    *, noise_multiplier: float, clip_norm: float, residual_clip_norm: float, bands: int, grid_step: float
) -> float:
    """σ/h in grid units: the smallest float found that is at least z · sqrt(C1² + R²/K) / h.

    Args:
        noise_multiplier: z of the part. clip_norm, residual_clip_norm: C1 and R. bands: b; K = b − 1, and R counts only
            where K ≥ 1. grid_step: h, a power of two.
    """
    squared = Fraction(clip_norm) ** 2
    if bands > 1:
        squared += Fraction(residual_clip_norm) ** 2 / (bands - 1)
    squared *= (Fraction(noise_multiplier) / Fraction(grid_step)) ** 2
    return _root_upwards(squared)


def joint_covers(noise_multipliers: Iterable[float], noise_multiplier: float) -> bool:
    """Whether 1/z² ≥ Σ 1/z_k², exactly: the parts' joint noise is at least z."""
    return Fraction(noise_multiplier) ** 2 * sum(1 / Fraction(z) ** 2 for z in noise_multipliers) <= 1


def raised_to_cover(noise_multipliers: Iterable[float], noise_multiplier: float) -> tuple[float, ...]:
    """The parts' noise multipliers, each raised by units in the last place until they cover z together."""
    raised = tuple(noise_multipliers)
    while not joint_covers(raised, noise_multiplier):
        raised = tuple(math.nextafter(z, math.inf) for z in raised)
    return raised


def feedback_ratio_upwards(
    parts: Iterable[tuple[float, float, float]], *, noise_multiplier: float, batch_size: float
) -> float:
    """ρ = z · sqrt(Σ (ρ_k/z_k)²), ρ_k = 2·C2·B/C1, rounded up: of a tuple of parts with the published feedback.

    Args:
        parts: (C1, C2, z_k) of each. noise_multiplier: z, joint. batch_size: B = qN.
    """
    total = Fraction(0)
    for clip_norm, feedback_clip_norm, z in parts:
        total += (2 * Fraction(feedback_clip_norm) * Fraction(batch_size) / Fraction(clip_norm) / Fraction(z)) ** 2
    return _root_upwards(total * Fraction(noise_multiplier) ** 2)


def _root_upwards(squared: Fraction) -> float:
    """A float that is at least the square root, and one unit in the last place below it is not."""
    if squared == 0:
        return 0.0
    # The square of a float can be too small or too large to be a float: so it is rooted near 1.
    exponent = (squared.numerator.bit_length() - squared.denominator.bit_length()) // 2
    root = math.ldexp(math.sqrt(squared / Fraction(4) ** exponent), exponent)
    while Fraction(root) ** 2 < squared:
        root = math.nextafter(root, math.inf)
    while Fraction(below := math.nextafter(root, 0.0)) ** 2 >= squared:
        root = below
    return root
