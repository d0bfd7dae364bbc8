"""The privacy loss of a dominating pair as a random variable, for numerical composition.

In direction "P‖Q" it is Y = log P(x)/Q(x) with x drawn from P; in direction "Q‖P" it is −log P(x)/Q(x) with x
drawn from Q. Because log P/Q increases with x, the law of Y is a mixture's law at the inverse.

    >>> from accountant.budget import Neighbouring
    >>> from accountant.events import SubsampledGaussian
    >>> event = SubsampledGaussian(sampling_rate=1.0, noise_multiplier=1.0)
    >>> pair = event.dominating_pair(Neighbouring.ADD_OR_REMOVE_ONE)
    >>> float(PrivacyLoss(pair, forward=True).cdf(np.array([0.5]))[0])  # the median of N(1/2, 1)
    0.5
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accountant.errors import PrvFailure
from accountant.mixtures import Floats, Mixture, MixturePair

_PANELS, _NODES = 256, 16
_REACH = 14.0
# Φ(−9.6) < 1e-21.
_TAIL = 9.6
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


@dataclass(frozen=True, slots=True)
class PrivacyLoss:
    """Y in one direction.

    Args:
        pair: the dominating pair. forward: True for P‖Q, False for Q‖P.
    """

    pair: MixturePair
    forward: bool

    def cdf(self, t: Floats) -> Floats:
        """P(Y <= t)."""
        if self.forward:
            return self.pair.cdf(self.pair.p, inverse_log_ratio(self.pair, t))
        return self.pair.sf(self.pair.q, inverse_log_ratio(self.pair, -t))

    def support(self) -> tuple[float, float]:
        """Ends of an interval outside of which Y has a mass below 1e-21."""
        source = self.pair.p if self.forward else self.pair.q
        means = [m for _, m in source.components]
        reach = _TAIL * self.pair.sigma
        low, high = self.pair.log_ratio(np.array([min(means) - reach, max(means) + reach]))
        return (float(low), float(high)) if self.forward else (-float(high), -float(low))

    def masses(self, edges: Floats) -> Floats:
        """P(a < Y <= b) for adjacent a, b of rising `edges`, accurate in both tails; never negative."""
        source = self.pair.p if self.forward else self.pair.q
        # At increasing t the x increases forward; backward it is the other way round.
        x = inverse_log_ratio(self.pair, edges) if self.forward else -inverse_log_ratio(self.pair, -edges)
        law = source if self.forward else source.mirrored()
        split = int(np.searchsorted(x, sum(w * m for w, m in law.components)))
        below, above = self.pair.cdf(law, x[: split + 1]), self.pair.sf(law, x[split:])
        masses = np.empty(len(edges) - 1)
        masses[:split] = np.diff(below)[:split]
        masses[split:] = -np.diff(above)
        return np.maximum(masses, 0.0)

    def mean_between(self, low: float, high: float) -> float:
        """E[Y; low < Y <= high], by Gauss–Legendre panels over x."""
        sign = 1.0 if self.forward else -1.0
        source = self.pair.p if self.forward else self.pair.q
        ends = np.array([low, high]) if self.forward else np.array([-high, -low])
        x_low, x_high = inverse_log_ratio(self.pair, ends)
        means = [m for _, m in source.components]
        x_low = max(x_low, min(means) - _REACH * self.pair.sigma)
        x_high = min(x_high, max(means) + _REACH * self.pair.sigma)
        if x_high <= x_low:
            return 0.0
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        edges = np.linspace(x_low, x_high, _PANELS + 1)
        half = (edges[1] - edges[0]) / 2
        x = ((edges[:-1] + half)[:, None] + half * nodes).ravel()
        density = np.exp(self.pair.log_density(source, x))
        return float(sign * half * np.dot(np.tile(weights, _PANELS), density * self.pair.log_ratio(x)))
