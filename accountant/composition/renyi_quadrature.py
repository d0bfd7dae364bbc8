"""∫ P^α Q^(1−α) dx from above: the trapezoidal rule, with every error counted and added.

In terms of n, the density of N(0, σ²), both mixtures are n times a polynomial in e^(x/σ²), so the integrand is
n · exp(α·L_P − (α−1)·L_Q) with L = log(mixture / n). Three errors are bounded (docs/privacy.md, theorem 5a):

* the rule's, by the integrand's size in a strip around the line (Trefethen & Weideman 2014, SIAM Review 56(3),
  theorem 5.1);
* the tails', by the integrand's last values, from which it falls faster than exp(−12·x/σ);
* rounding, term by term, by what each term's own operations can be off.

Where the integral is close to 1 we integrate P^α Q^(1−α) − Q − α (P − Q) = Q·φ(P/Q − 1), which is never negative and
has the same integral less 1; so a divergence of 1e-20 is as accurate as one of 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accountant.composition.mixture_logs import SECOND_ORDER, MixtureLogs, mixture_logs
from accountant.composition.rounding import ELEMENTARY, SUM, U
from accountant.mixtures import Floats, Mixture, MixturePair

TAIL = 12.0
_LARGEST_GRID = 1 << 17
# Beyond its square's range nothing is computed, and ∞ is said.
_SMALLEST = 1e-70
# Elements of one matrix (orders × points) at a time.
_BLOCK = 1 << 20
# Where the largest exponent is above this, the integral is far from 1.
_FAR = 20.0
# Nats that the strip should give the rule at least, and candidates for the strip's half width.
_STRIP = 66.0
# Wide mixtures make do with 43 nats, an error of 1e-18, to fit the largest grid.
_WIDE = 4.0
_WIDTHS = np.geomspace(1e-6, 0.999, 300)
# Weights that are binomial to so much are meant to be.
_SAME = 1e-9
# Where first-order errors are not below this, nothing is claimed.
_LARGEST_ERROR = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Line:
    """The grid, and everything at its points that does not depend on the order."""

    step: float
    sigma: float
    base: Floats
    base_error: Floats
    over: MixtureLogs
    under: MixtureLogs
    turns: tuple[tuple[float, int], tuple[float, int]]

    @classmethod
    def covering(cls, pair: MixturePair, p: Mixture, q: Mixture, order: float) -> Line | None:
        """Points for all orders up to `order`; None where there would be too many.

        The slope of log P is a mean of P's component over σ², so every stationary point of the integrand lies
        in the hull of α·(means of P) − (α − 1)·(means of Q), and beyond it the integrand falls as a Gaussian.
        """
        sigma = pair.sigma
        if not _SMALLEST < sigma < 1 / _SMALLEST:
            return None
        p_means = [mean for _, mean in p.components]
        q_means = [mean for _, mean in q.components]
        turns = _turn(p), _turn(q)
        widest, (spread, power) = max(turns[0][0], turns[1][0]), turns[1]
        corners = [order * m - (order - 1) * n for m in p_means for n in q_means] + p_means + q_means + [0.0]
        low, high = min(corners) - TAIL * sigma, max(corners) + TAIL * sigma
        curvature = 1 / sigma**2 + power * (order - 1) * (spread / sigma**2) ** 2 / 4
        step = min(
            sigma / 4,
            sigma**2 / widest / (4 if widest < _WIDE else 2.2),
            2 * math.pi / math.sqrt(2 * _STRIP * curvature),
        )
        # A multiple of so few bits that every point is exact: none is off its place.
        mantissa, exponent = math.frexp(step)
        step = math.ldexp(math.floor(mantissa * 256), exponent - 8)
        first, last = math.floor(low / step), math.ceil(high / step)
        if not last - first < _LARGEST_GRID:
            return None
        x = np.arange(first, last + 1, dtype=np.float64) * step
        square = x * x / (2 * sigma * sigma)
        base = -square - (math.log(sigma) + 0.5 * math.log(2 * math.pi))
        return cls(
            step=step,
            sigma=sigma,
            base=base,
            base_error=U * (6 * square + 2 * ELEMENTARY * (abs(math.log(sigma)) + 1)),
            over=mixture_logs(p, x, sigma=sigma),
            under=mixture_logs(q, x, sigma=sigma),
            turns=turns,
        )

    def strip(self, order: float) -> float:
        """The rule's error relative to the integral of the integrand's modulus on the line, for orders up to this one.

        At height b a mixture's modulus is at most e^(b²/2σ²) times its value on the line, and at least
        cos(b·spread/2σ²)^power times that, as long as b·spread/σ² < π (`_turn`).
        """
        spread, power = self.turns[1]
        height = math.pi * _WIDTHS * self.sigma**2 / max(self.turns[0][0], spread)
        turned = np.log(np.cos(height * spread / (2 * self.sigma**2)))
        logs = (height / self.sigma) ** 2 / 2 - power * (order - 1) * turned - 2 * math.pi * height / self.step
        least = float(np.min(logs))
        return 2.1 * math.exp(least) if least < -1 else math.inf


def _turn(mixture: Mixture) -> tuple[float, int]:
    """(spread, power): how a mixture's modulus is bounded from below beside the line.

    No two components are turned further apart than b·(difference of their means)/σ²: spread is the largest, power 1.
    Binomial weights on means one apart make a polynomial in e^(x/σ²) with negative roots only (docs/privacy.md,
    theorem 8): each of its factors is turned by b/σ² at most, so spread is 1 and power the number of factors.
    """
    weights, means = zip(*mixture.components, strict=True)
    count = len(means) - 1
    if count < 2:
        return abs(means[-1] - means[0]), 1
    order = np.argsort(means)
    ratios = np.array(weights)[order][1:] / np.array(weights)[order][:-1]
    # q/(1−q) is the same from every ratio of neighbours, in one direction or mirrored.
    rising, falling = np.arange(1, count + 1), np.arange(count, 0, -1)
    same = [float(np.ptp(odds) / odds[0]) for odds in (ratios * rising / falling, ratios * falling / rising)]
    binomial = np.ptp(means) == count and min(same) <= _SAME
    return (1.0, count) if binomial else (float(np.ptp(means)), 1)


def log_integrals(line: Line, orders: Floats) -> tuple[Floats, Floats]:
    """(upper bound, computed value) of log ∫ P^α Q^(1−α) at each order; ∞ where no bound was found."""
    upper, value = np.empty(orders.shape), np.empty(orders.shape)
    strip = line.strip(float(orders.max()))
    rows = max(1, _BLOCK // len(line.base))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        for start in range(0, len(orders), rows):
            part = orders[start : start + rows]
            exponents = part[:, None] * line.over.log - (part - 1)[:, None] * line.under.log + line.base
            largest = exponents.max(axis=1)
            far = ~(largest <= _FAR)
            for which, integrate in ((far, _far_from_one), (~far, _near_one)):
                if which.any():
                    found = integrate(line, part[which], exponents[which], strip)
                    upper[start : start + rows][which], value[start : start + rows][which] = found
    return upper, value


def _far_from_one(line: Line, orders: Floats, exponents: Floats, strip: float) -> tuple[Floats, Floats]:
    largest = exponents.max(axis=1)
    terms = np.exp(exponents - largest[:, None])
    total = terms.sum(axis=1)
    logs = np.abs(line.over.log) + np.abs(line.under.log)
    of_order = terms @ (line.over.log_error + line.under.log_error + 6 * U * logs)
    of_base = terms @ (line.base_error + 6 * U * np.abs(line.base))
    off = orders * of_order + of_base + U * (np.abs(largest) + 2 * ELEMENTARY + SUM) * total
    ends = (terms[:, 0] + terms[:, -1]) * (line.sigma / TAIL / line.step)
    whole = (total + SECOND_ORDER * off + ends) / max(0.0, 1 - strip)
    upper = largest + np.log(whole * line.step)
    upper = upper + 4 * U * (np.abs(largest) + np.abs(upper) + ELEMENTARY)
    good = np.isfinite(upper) & (off <= _LARGEST_ERROR * total) & (strip < _LARGEST_ERROR)
    return np.where(good, upper, np.inf), largest + np.log(total * line.step)


def _near_one(line: Line, orders: Floats, exponents: Floats, strip: float) -> tuple[Floats, Floats]:
    over, under, order = line.over, line.under, orders[:, None]
    ratio = (over.excess - under.excess) / (1 + under.excess)
    ratio_error = (over.excess_error + (1 + np.abs(ratio)) * under.excess_error) / (1 + under.excess)
    ratio_error = ratio_error * SECOND_ORDER + 6 * U * np.abs(ratio)
    p, p_error = _density(line, over)
    q, q_error = _density(line, under)
    # P − Q: from the ratio where it is small, as a difference where it is large.
    small = np.abs(ratio) <= 1
    difference = np.where(small, q * ratio, p - q)
    difference_error = np.where(small, q * (ratio_error + q_error * np.abs(ratio)), p_error * p + q_error * q)
    # P^α Q^(1−α) itself, and its error where it is not lost in the difference.
    integrand = np.exp(exponents)
    log_error = over.log_error + under.log_error + 6 * U * (np.abs(over.log) + np.abs(under.log))
    direct = integrand - q - order * difference
    direct_error = integrand * (order * log_error + line.base_error + 6 * U * np.abs(line.base) + 3 * ELEMENTARY * U)
    direct_error += q * (q_error + 4 * U) + order * (difference_error + 4 * U * np.abs(difference))
    # The same by its series in the ratio, where that is small.
    close = np.abs(ratio) * np.maximum(order, 1.0) < 0.1
    series = q * _binomial_tail(order, np.where(close, ratio, 0.0))
    series_error = q * 1.2 * order * (order - 1) * np.abs(ratio) * ratio_error + series * (q_error + 64 * U)
    terms, errors = np.where(close, series, direct), np.where(close, series_error, direct_error)
    total = terms.sum(axis=1) * line.step
    off = errors.sum(axis=1) * line.step * SECOND_ORDER + (SUM + 4) * U * np.abs(terms).sum(axis=1) * line.step
    ends = integrand[:, 0] + integrand[:, -1] + (orders - 1) * (q[0] + q[-1])
    off += ends * line.sigma / TAIL + SECOND_ORDER * strip * (3 + np.abs(total) + 2 * orders)
    upper = np.log1p(total + off) * (1 + 2 * ELEMENTARY * U)
    good = np.isfinite(upper) & (off <= _LARGEST_ERROR * (1 + total)) & (strip < _LARGEST_ERROR)
    return np.where(good, upper, np.inf), np.log1p(total)


def _density(line: Line, mixture: MixtureLogs) -> tuple[Floats, Floats]:
    """The mixture's density at the points, and its relative error."""
    size = np.abs(line.base) + np.abs(mixture.log)
    return np.exp(line.base + mixture.log), line.base_error + mixture.log_error + U * (4 * size + ELEMENTARY)


def _binomial_tail(order: Floats, u: Floats) -> Floats:
    """(1 + u)^α − 1 − αu for α|u| < 0.1, without cancellation: its binomial series from u² on."""
    tail = np.zeros_like(u)
    for k in range(16, 2, -1):
        tail = (order - k + 1) / k * u * (1 + tail)
    return order * (order - 1) / 2 * u * u * (1 + tail)
