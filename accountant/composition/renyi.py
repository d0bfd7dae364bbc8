"""Rényi divergences of the dominating pairs, for many orders at once, by quadrature.

    D_α(P‖Q) = log ∫ P^α Q^(1−α) dx / (α − 1)

The integrand is analytic in a strip around the line and falls off as a Gaussian does, so the trapezoidal rule
converges exponentially (Trefethen & Weideman 2014, SIAM Review 56(3), theorem 5.1): with steps of σ/3 and at
most 0.4 σ² its error is far below the rounding error. Where the integral is close to 1 we integrate
P^α Q^(1−α) − Q − α (P − Q), which is never negative and has the same integral less 1; so a divergence of
1e-20 is as accurate as one of 1. There is no series that could fail; an order that would need too large a
grid, or that lies past every useful one, gets ∞, which is a valid upper bound.

    >>> from accountant.budget import Neighbouring
    >>> from accountant.events import SubsampledGaussian
    >>> event = SubsampledGaussian(sampling_rate=0.2, noise_multiplier=1.0)
    >>> float(curve(event, Neighbouring.ADD_OR_REMOVE_ONE, np.array([1.5]))[0])  # REFERENCE row 18
    0.04397050945...
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from accountant.budget import Neighbouring
from accountant.events import Event
from accountant.mixtures import Floats, Mixture, MixturePair

# Rounding is at most 2e-12 relative against mpmath over the tests' grid; this is added on top, so that what
# is returned is not below the truth.
ROUND_UP = 1e-11
# At its best order α an ε spends about as much on n charges' divergence as on log(1/δ)/(α−1). Where a single
# charge at the end of a chunk is beyond that for δ = 1e-26 by a factor of four, larger orders cannot be best.
_USEFUL = 240.0
_TAIL = 12.0
_LARGEST_GRID = 400_000
_CHUNKS = (1.2, 2.0, 4.0, 12.0, 32.0, 64.0, 256.0, 1024.0, 8192.0, np.inf)


def default_orders() -> Floats:
    """Rényi orders: dense near 1 for large ε, to 65 536 for small; they hold those that others use.

    1.0005 to 1.1 for ε up to 1000 and beyond (GS-WGAN's setting has its best order at 1.08), steps of 1/40 to
    5 and of 1/20 to 11, integers to 64, then steps of 4 %.
    """
    near_one = 1 + np.geomspace(5e-4, 0.1, 50)
    fine = np.arange(45, 200) / 40
    tenths = np.arange(100, 221) / 20
    integers = np.arange(12, 65)
    geometric = np.unique(np.round(np.geomspace(64, 65536, 177)))
    return np.unique(np.concatenate([near_one, fine, tenths, integers, geometric]))


def curve(event: Event, neighbouring: Neighbouring, orders: Floats, group_size: int = 1) -> Floats:
    """RDP of a first step of an event, which for a banded one pays a block. See `pair_curve`.

    Args:
        group_size: records that are added, removed or replaced together, integer >= 1.
    """
    one = pair_curve(event.dominating_pair(neighbouring, group_size), orders)
    charges = event.charges(1, group_size=group_size)
    return one if charges == 1 else charges * one


def pair_curve(pair: MixturePair, orders: Floats) -> Floats:
    """The larger of D_α(P‖Q) and D_α(Q‖P) at each order, read-only and cached.

    Args:
        pair: what one charge is dominated by. orders: α > 1, float64.

    Returns:
        (len(orders),), not to be written to; ∞ where no finite bound was computed, never NaN.
    """
    return _cached(pair, np.ascontiguousarray(orders, dtype=np.float64).tobytes())


@lru_cache(maxsize=256)
def _cached(pair: MixturePair, orders: bytes) -> Floats:
    result = divergences(pair, np.frombuffer(orders))
    result.setflags(write=False)
    return result


def divergences(pair: MixturePair, orders: Floats) -> Floats:
    """max(D_α(P‖Q), D_α(Q‖P)) at each order, rounded up."""
    mean = pair.gaussian_mean
    if mean is not None:
        return np.asarray(orders * (mean / pair.sigma) ** 2 / 2 * (1 + ROUND_UP))
    result = _one_way(pair, pair.p, pair.q, orders)
    # Q‖P is the smaller for the plain subsampled Gaussian (Mironov, Talwar & Zhang 2019, arXiv 1908.10530,
    # theorem 5), and equal for a mirrored pair.
    if pair.subsampling_weight is None and not pair.symmetric:
        result = np.maximum(result, _one_way(pair, pair.q, pair.p, orders))
    return result


def _one_way(pair: MixturePair, p: Mixture, q: Mixture, orders: Floats) -> Floats:
    result = np.full(orders.shape, np.inf)
    lower = 0.0
    for upper in _CHUNKS:
        inside = (orders > lower) & (orders <= upper)
        lower = upper
        if not inside.any():
            continue
        chunk = orders[inside]
        grid = _grid(pair, p, q, float(chunk.max()))
        if grid is None:
            break
        values = _log_integrals(pair, p, q, chunk, grid) / (chunk - 1)
        with np.errstate(invalid="ignore"):
            good = (values >= 0) & np.isfinite(values)
        result[inside] = np.where(good, values * (1 + ROUND_UP), np.inf)
        if not good.all() or values[-1] > _USEFUL / (chunk[-1] - 1):
            break
    return result


def _grid(pair: MixturePair, p: Mixture, q: Mixture, order: float) -> tuple[Floats, float] | None:
    """Points that cover all of P^α Q^(1−α), and their distance; None where there would be too many.

    The slope of log P is a mean of P's component over σ², so every stationary point of the integrand lies
    in the hull of α·(means of P) − (α − 1)·(means of Q), and beyond it the integrand falls as a Gaussian.
    """
    p_means = [mean for _, mean in p.components]
    q_means = [mean for _, mean in q.components]
    corners = [order * m - (order - 1) * n for m in p_means for n in q_means] + p_means + q_means + [0.0]
    low, high = min(corners) - _TAIL * pair.sigma, max(corners) + _TAIL * pair.sigma
    step = min(pair.sigma / 3, 0.4 * pair.sigma**2)
    count = int((high - low) / step) + 2
    if count > _LARGEST_GRID:
        return None
    return np.asarray(low + step * np.arange(count), dtype=np.float64), step


def _log_integrals(pair: MixturePair, p: Mixture, q: Mixture, orders: Floats, grid: tuple[Floats, float]) -> Floats:
    x, step = grid
    log_p, log_q = pair.log_density(p, x), pair.log_density(q, x)
    density_p, density_q = np.exp(log_p), np.exp(log_q)
    near = pair.relative_excess(p, x) - pair.relative_excess(q, x)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        ratio_less_one = near / (1 + pair.relative_excess(q, x))
    ratio_less_one = np.where(np.isfinite(ratio_less_one), ratio_less_one, np.inf)
    result = np.empty(orders.shape)
    for index, order in enumerate(orders):
        exponent = order * log_p - (order - 1) * log_q
        largest = exponent.max()
        if largest > 20 or not np.isfinite(largest):
            result[index] = largest + np.log(np.exp(exponent - largest).sum() * step)
            continue
        excess = np.exp(exponent) - density_q - order * (density_p - density_q)
        close = np.abs(ratio_less_one) * max(order, 1.0) < 0.1
        excess[close] = density_q[close] * _binomial_tail(order, ratio_less_one[close])
        result[index] = np.log1p(excess.sum() * step)
    return result


def _binomial_tail(order: float, u: Floats) -> Floats:
    """(1 + u)^α − 1 − αu for small u, without cancellation: its binomial series from u² on."""
    tail = np.zeros_like(u)
    for k in range(16, 2, -1):
        tail = (order - k + 1) / k * u * (1 + tail)
    return order * (order - 1) / 2 * u * u * (1 + tail)
