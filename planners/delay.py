"""What more bands cost and save: how late a gradient arrives, and how much less noise it meets.

Banded feedback with b = K + 1 bands gives a gradient longer than C1 + R at once C1 of it, and R in K equal parts one a
step (docs/privacy.md, theorem 3). Per unit of the total clip norm C = C1 + R, with r = R/C1:

    noise of a step     z_b · Δ,  Δ/C = sqrt(1 + r²/K) / (1 + r)     least at r = K, where it is 1/√b
    mean delay          D = r/(1 + r) · (K + 1)/2 steps

Less R at the same b is less delay and more noise; z_b does not depend on R.

    >>> mean_delay(4, 3.0), round(relative_sensitivity(4, 3.0), 3)
    (1.5, 0.5)
    >>> mean_delay(1, 0.0), relative_sensitivity(1, 0.0)
    (0.0, 1.0)
"""

from __future__ import annotations

import math

from accountant.errors import InvalidValue
from accountant.events import require_count

# How much a step of mean delay takes from the proxy: signal to noise counts 1/(1 + DELAY_WEIGHT · D). No theory: with
# it b = 1, 2, 4, 8, 16 rank as three seeds of a classifier did at ε = 3, T = 2000, and nearly so at ε = 10
# (docs/results/clipping-bias.md). Of b = 1, 2, 4, 8 at T = 600 it puts 2 first and 8 last, and 4 before 1 on a GAN
# (one seed each).
DELAY_WEIGHT = 0.23


def mean_delay(bands: int, residual_ratio: float) -> float:
    """D, steps by which a gradient longer than the total clip norm arrives late, on average over its length.

    Args:
        bands: b >= 1. residual_ratio: R/C1 >= 0.
    """
    _require(bands, residual_ratio)
    return residual_ratio / (1 + residual_ratio) * bands / 2 if bands > 1 else 0.0


def relative_sensitivity(bands: int, residual_ratio: float) -> float:
    """Δ / (C1 + R): 1 for DP-SGD, 1/√b at best.

    Args:
        bands: b >= 1. residual_ratio: R/C1 >= 0, and 0 at one band.
    """
    _require(bands, residual_ratio)
    if bands == 1:
        return 1.0
    return math.hypot(1, residual_ratio / math.sqrt(bands - 1)) / (1 + residual_ratio)


def noise_saved(noise_ratio: float, *, bands: int, residual_ratio: float) -> float:
    """The share of DP-SGD's noise that is saved, at the same ε, steps, batch and total clip norm.

    Args:
        noise_ratio: DP-SGD's noise multiplier z_1 ÷ that of the banded steps, > 0.
    """
    return 1 - relative_sensitivity(bands, residual_ratio) / noise_ratio


def weight_of_delay(delay: float) -> float:
    """What a mean delay leaves of the signal, by the proxy: 1/(1 + DELAY_WEIGHT · D)."""
    return 1 / (1 + DELAY_WEIGHT * delay)


def _require(bands: int, residual_ratio: float) -> None:
    require_count(bands, "bands", least=1)
    if not (math.isfinite(residual_ratio) and residual_ratio >= 0):
        raise InvalidValue(f"Expected residual_ratio={residual_ratio!r} to be finite and >= 0 (R/C1).")
