"""The analytic Gaussian mechanism: exact ε and δ where every step takes every record (q = 1).

    δ(ε) = Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ)      μ = sensitivity ÷ noise std; μ² adds under composition

Source: Balle & Wang 2018 (arXiv 1805.06530, theorem 8).

    >>> round(gaussian_epsilon(1.0, delta=1e-5), 9)  # REFERENCE row 16
    4.377178096
"""

from __future__ import annotations

import math


def gaussian_delta(mu: float, *, epsilon: float) -> float:
    """Exact δ of a Gaussian mechanism at ε >= 0.

    Args:
        mu: sensitivity ÷ noise std, > 0.
    """
    from scipy.special import log_ndtr

    first = float(log_ndtr(mu / 2 - epsilon / mu))
    second = epsilon + float(log_ndtr(-mu / 2 - epsilon / mu))
    return math.exp(first) * -math.expm1(min(0.0, second - first))


def gaussian_epsilon(mu: float, *, delta: float) -> float:
    """The smallest ε >= 0 at which the mechanism is (ε, δ)-DP, to 1e-12.

    Args:
        mu: sensitivity ÷ noise std, > 0. delta: in (0, 1).
    """
    from scipy.optimize import brentq

    if gaussian_delta(mu, epsilon=0.0) <= delta:
        return 0.0
    high = mu * mu / 2 + mu * math.sqrt(2 * math.log(1 / delta)) + 1
    return float(brentq(lambda e: gaussian_delta(mu, epsilon=e) - delta, 0.0, high, xtol=1e-13, rtol=1e-14))
