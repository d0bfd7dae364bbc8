"""Rényi divergences of the dominating pairs, for many orders at once, from above.

    D_α(P‖Q) = log ∫ P^α Q^(1−α) dx / (α − 1)

The integral is `accountant.composition.renyi_quadrature`'s, with every error added, so that no value is below the
truth. There is no series that could fail; an order that would need too large a grid, or that lies past every useful
one, gets ∞, which is a valid upper bound.

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
from accountant.composition.renyi_quadrature import Line, log_integrals
from accountant.composition.rounding import U
from accountant.events import Event
from accountant.mixtures import Floats, Mixture, MixturePair

# At its best order α an ε spends about as much on n charges' divergence as on log(1/δ)/(α−1). Where a single
# charge at the end of a chunk is beyond that for δ = 1e-26 by a factor of four, larger orders cannot be best.
_USEFUL = 240.0
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


@lru_cache(maxsize=4096)
def _cached(pair: MixturePair, orders: bytes) -> Floats:
    result = divergences(pair, np.frombuffer(orders))
    result.setflags(write=False)
    return result


def divergences(pair: MixturePair, orders: Floats) -> Floats:
    """max(D_α(P‖Q), D_α(Q‖P)) at each order, rounded up."""
    mean = pair.gaussian_mean
    if mean is not None:
        # Six roundings, three of them counted twice by the square.
        ratio = mean / pair.sigma
        return np.asarray(orders * (ratio * ratio) / 2 * (1 + 16 * U))
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
        line = Line.covering(pair, p, q, float(chunk.max()))
        if line is None:
            break
        bounds, values = log_integrals(line, chunk)
        with np.errstate(invalid="ignore"):
            good = (bounds >= 0) & np.isfinite(bounds)
        result[inside] = np.where(good, bounds / (chunk - 1) * (1 + 8 * U), np.inf)
        if not good.all() or values[-1] > _USEFUL:
            break
    return result
