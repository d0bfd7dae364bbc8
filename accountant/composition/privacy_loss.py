"""Where the privacy loss log P/Q of a dominating pair has a given value: it increases with x, so there is one such x.

By a formula for the two pairs that nearly every plan has, by Newton's method for the rest. Nothing is trusted:
`accountant.composition.loss_cells` measures how far off each x is.

    >>> from accountant.mixtures import AT_ZERO, drawn
    >>> pair = MixturePair(p=drawn(1, rate=0.5, shift=0.0), q=AT_ZERO, sigma=2.0)
    >>> inverse_log_ratio(pair, np.array([0.0]))
    array([0.5])
"""

from __future__ import annotations

import math

import numpy as np

from accountant.errors import PrvFailure
from accountant.mixtures import Floats, Mixture, MixturePair

# Standard deviations beyond which a Gaussian has no mass in double precision, points in the table that
# Newton's method starts from, and its steps: the table's error is squared by each.
_NO_MASS, _TABLE, _NEWTON_STEPS = 39.0, 1 << 16, 3


def inverse_log_ratio(pair: MixturePair, t: Floats) -> Floats:
    """The x at which log P/Q is t; −∞ or ∞ where it never gets there."""
    weight = pair.subsampling_weight
    if weight is not None:
        return _inverse_subsampled(weight, pair.sigma, t)
    mirrored = pair.mirrored_weight
    if mirrored is not None:
        return _inverse_mirrored(mirrored, pair.sigma, t)
    return _inverse_by_newton(pair, t)


def _inverse_subsampled(w: float, sigma: float, t: Floats) -> Floats:
    """Of log(1 − w + w e^((2x − 1) / 2σ²))."""
    up = t > 0
    logs = np.empty(len(t))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        high, low = t[up], t[~up]
        logs[up] = high + np.log1p(-(1 - w) * np.exp(-high))
        logs[~up] = np.log(np.expm1(low) + w)
    x = 0.5 + sigma**2 * (logs - math.log(w))
    return np.where(np.isnan(x), -np.inf, x)


def _inverse_mirrored(w: float, sigma: float, t: Floats) -> Floats:
    """Of the ratio of (1−w) N(0) + w N(1) to its mirror image: a quadratic in e^(x/σ²), odd in t."""
    variance = sigma**2
    size = np.abs(t)
    half = (1 - w) * -np.expm1(-size) / 2
    root = np.sqrt(half**2 + (w * math.exp(-1 / (2 * variance))) ** 2 * np.exp(-size))
    with np.errstate(divide="ignore"):
        x = variance * (size + np.log(half + root) - math.log(w)) + 0.5
    return np.asarray(np.sign(t) * np.maximum(x, 0.0))


def _inverse_by_newton(pair: MixturePair, t: Floats) -> Floats:
    """Newton's method from a table's answer; beyond the table no mass is left on either side.

    Raises:
        PrvFailure: it did not converge.
    """
    means = [m for mixture in (pair.p, pair.q) for _, m in mixture.components]
    reach = _NO_MASS * pair.sigma
    table_x = np.linspace(min(means) - reach, max(means) + reach, _TABLE)
    table_t = pair.log_ratio(table_x)
    x = np.interp(t, table_t, table_x)
    inside = (t > table_t[0]) & (t < table_t[-1])
    target, inner = t[inside], x[inside]
    for _ in range(_NEWTON_STEPS):
        inner = inner - (pair.log_ratio(inner) - target) / _slope(pair, inner)
    gap = np.max(np.abs(pair.log_ratio(inner) - target) / (1 + np.abs(target)), initial=0.0)
    if not gap < 1e-10:
        raise PrvFailure(f"the privacy loss could not be inverted (off by {gap:g})")
    x[inside] = inner
    x[t <= table_t[0]], x[t >= table_t[-1]] = -np.inf, np.inf
    return np.asarray(x)


def _slope(pair: MixturePair, x: Floats) -> Floats:
    return (_component_mean(pair, pair.p, x) - _component_mean(pair, pair.q, x)) / pair.sigma**2


def _component_mean(pair: MixturePair, mixture: Mixture, x: Floats) -> Floats:
    """The mean of the component that x came from, given x."""
    (_, first), *others = mixture.components
    if not others:
        return np.full_like(x, first)
    if len(others) == 1:
        (w0, m0), (w1, m1) = mixture.components
        logit = math.log(w1 / w0) + ((x - m0) ** 2 - (x - m1) ** 2) / (2 * pair.sigma**2)
        return np.asarray(m0 + (m1 - m0) / (1 + np.exp(-np.clip(logit, -700, 700))))
    weights, means = np.array(mixture.components).T[:, :, None]
    logs = np.log(weights) - (x - means) ** 2 / (2 * pair.sigma**2)
    shares = np.exp(logs - logs.max(axis=0))
    return np.asarray((shares * means).sum(axis=0) / shares.sum(axis=0))
