"""One of K workers, drawn at random, makes each release: the cost when the draws are as good as known.

A record belongs to one worker, whose state changes only when it is drawn. Later releases then show when it was
drawn, and "subsampled at 1/K" is no bound; giving the draws away is. Given them, the releases of the record's
worker are Gaussian mechanisms, each of μ = sensitivity ÷ noise std, so that with n ~ Bin(T, p) draws, p = 1/K,

    δ(ε) = E_n [ δ of the Gaussian mechanism of μ √n at ε ]
    D_α  = T/(α − 1) · log(1 − p + p e^(α(α−1)μ²/2))

in both directions (docs/privacy.md, theorem 7). Stretches with another μ multiply out.

    >>> gs_wgan = (Stretch(steps=20000, mu=32**0.5 / 1.07),)
    >>> round(selected_epsilon(gs_wgan, probability=1 / 1000, delta=1e-5), 1)
    610.3
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accountant.mixtures import Floats

# Numbers of draws whose total mass is below this share of δ count as disclosed altogether.
_LEFT_OUT = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """Steps with one release size.

    Args:
        steps: T, integer >= 1. mu: sensitivity ÷ noise std of the release of the worker that is drawn, > 0.
    """

    steps: int
    mu: float


def selected_divergences(orders: Floats, stretches: tuple[Stretch, ...], *, probability: float) -> Floats:
    """Rényi divergence of all releases together with the draws, at each order α > 1.

    Args:
        orders: (n,). stretches: what ran. probability: 1/K, in (0, 1].
    """
    total = np.zeros(len(orders))
    for stretch in stretches:
        exponent = orders * (orders - 1) * stretch.mu**2 / 2
        # log(1 − p + p e^x): for small x without cancellation, for large x without overflow.
        small = np.log1p(probability * np.expm1(np.minimum(exponent, 1.0)))
        large = np.logaddexp(np.log1p(-probability) if probability < 1 else -np.inf, np.log(probability) + exponent)
        total += stretch.steps * np.where(exponent < 1.0, small, large) / (orders - 1)
    return total


def selected_delta(stretches: tuple[Stretch, ...], *, probability: float, epsilon: float, left_out: float) -> float:
    """Upper bound on δ at ε >= 0: the expectation above, plus at most `left_out` for draws that are not summed."""
    from scipy.special import log_ndtr

    weights, squares, beyond = _draws(stretches, probability, left_out)
    mu = np.sqrt(squares[squares > 0])
    first = log_ndtr(mu / 2 - epsilon / mu)
    second = epsilon + log_ndtr(-mu / 2 - epsilon / mu)
    deltas = np.exp(first) * -np.expm1(np.minimum(0.0, second - first))
    return float(np.dot(weights[squares > 0], deltas)) + beyond


def selected_epsilon(stretches: tuple[Stretch, ...], *, probability: float, delta: float) -> float:
    """Upper bound on ε at δ in (0, 1), to 1e-9 relative.

    Args:
        stretches: what ran. probability: 1/K, in (0, 1].
    """

    def spent(epsilon: float) -> float:
        return selected_delta(stretches, probability=probability, epsilon=epsilon, left_out=_LEFT_OUT * delta)

    if spent(0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while spent(high) > delta:
        low, high = high, 2 * high
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if spent(middle) > delta else (low, middle)
    return high * (1 + 1e-9)


def _draws(stretches: tuple[Stretch, ...], probability: float, left_out: float) -> tuple[Floats, Floats, float]:
    """(weight of each number of draws, Σ n μ² of it, mass that is left out)."""
    from scipy.stats import binom

    weights, squares, beyond = np.ones(1), np.zeros(1), 0.0
    for stretch in stretches:
        most = int(binom.isf(left_out / len(stretches), stretch.steps, probability))
        counts = np.arange(most + 1)
        beyond += float(binom.sf(most, stretch.steps, probability))
        weights = np.outer(weights, binom.pmf(counts, stretch.steps, probability)).ravel()
        squares = np.add.outer(squares, counts * stretch.mu**2).ravel()
    return weights, squares, beyond
