"""The analytic Gaussian mechanism: ε and δ where every step takes every record (q = 1), enclosed.

    δ(ε) = Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ)      μ = sensitivity ÷ noise std; μ² adds under composition

With ε = μ²/2 + μ·s this is φ(s) · (m(s) − m(s + μ)), m Mills' ratio: no large numbers cancel, so that an ε of 5·10⁷ has
as many digits as one of 1.

Source: Balle & Wang 2018 (arXiv 1805.06530, theorem 8).

    >>> round(gaussian_epsilon(1.0, delta=1e-5), 9)  # REFERENCE row 16
    4.377178096
    >>> low, high = gaussian_epsilon_bounds(1e4, delta=1e-5)
    >>> low < high < low * (1 + 1e-12)
    True
"""

from __future__ import annotations

import math

from accountant.composition.rounding import U

# Relative error of erfcx, in units of U; scipy's is within a few, and the tests hold it to arb.
_MILLS = 32.0


def gaussian_delta(mu: float, *, epsilon: float) -> float:
    """δ of a Gaussian mechanism at ε >= 0, rounded up in its last digits.

    Args:
        mu: sensitivity ÷ noise std, > 0.
    """
    # Rounded down, by more than its own rounding, so that δ is rounded up.
    s = epsilon / mu - mu / 2 - 4 * U * (epsilon / mu + mu / 2)
    return _delta_bounds(mu, s)[1]


def gaussian_epsilon(mu: float, *, delta: float) -> float:
    """The smallest ε >= 0 at which the mechanism is (ε, δ)-DP.

    Args:
        mu: sensitivity ÷ noise std, > 0. delta: in (0, 1).
    """
    return sum(gaussian_epsilon_bounds(mu, delta=delta)) / 2


def gaussian_epsilon_bounds(mu: float, *, delta: float) -> tuple[float, float]:
    """Two numbers between which that ε lies, by worst-case rounding.

    Args:
        mu: sensitivity ÷ noise std, > 0. delta: in (0, 1).
    """
    from scipy.optimize import brentq

    least = -mu / 2
    if _delta_bounds(mu, least)[1] <= delta:
        return 0.0, 0.0
    most = math.sqrt(2 * math.log(1 / delta)) + 1
    middle = float(brentq(lambda s: sum(_delta_bounds(mu, s)) / 2 - delta, least, most, xtol=1e-13, rtol=1e-14))
    low = high = middle
    step = 1e-15 * (1 + abs(middle))
    while _delta_bounds(mu, high)[1] > delta:
        high += step
        step *= 2
    step = 1e-15 * (1 + abs(middle))
    while low > least and _delta_bounds(mu, low)[0] < delta:
        low -= step
        step *= 2
    bounds = [mu * (mu / 2 + s) for s in (low, high)]
    off = [4 * U * mu * (mu / 2 + abs(s)) for s in (low, high)]
    return max(0.0, bounds[0] - off[0]), bounds[1] + off[1]


def _delta_bounds(mu: float, s: float) -> tuple[float, float]:
    """δ at ε = μ²/2 + μ·s, from below and from above."""
    from scipy.special import ndtr

    density, second = math.exp(-s * s / 2), _scaled(s + mu)
    if s < -5:
        # Mills' ratio is huge there; Φ(−s) is close to 1, and the difference has nothing to lose.
        first, second = float(ndtr(-s)), second * density
        off = 4 * _MILLS * U * (first + second * (1 + s * s))
        return max(0.0, first - second - off), min(1.0, first - second + off)
    first = _scaled(s)
    # Rounding the argument moves Mills' ratio by at most (1 + s²)·U of itself, and the density likewise.
    off = U * (_MILLS + 4 + 4 * s * s) * (first + second)
    return max(0.0, density * (first - second - off) * (1 - 16 * U)), density * (first - second + off) * (1 + 16 * U)


def _scaled(s: float) -> float:
    """Mills' ratio ÷ √(2π): Φ(−s)·e^(s²/2)."""
    from scipy.special import erfcx

    return float(erfcx(s / math.sqrt(2))) / 2
