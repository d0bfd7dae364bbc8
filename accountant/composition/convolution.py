"""Sums of independent losses by Fourier transform, with a worst-case bound on every rounding error.

Laws are tilted first: mass p at the loss y becomes p·e^(θy)/M, so that the sum lies around the ε that is asked for, and
what a transform's rounding leaves everywhere is small beside the masses that matter. The composition is circular, on as
many nodes as the tilted sum needs; what wraps round is bounded by the laws' own moments. The bound on rounding is
theorem 6's (docs/privacy.md), computed after the fact from the transforms themselves.

    >>> fair = Tilted(weights=np.array([0.5, 0.5]), first=0, moved=np.zeros(2))
    >>> sums, error = convolve([(fair, 4)], size=8, lowest=0)
    >>> [round(float(mass) * 16, 9) for mass in sums[:5]], error < 1e-13
    ([1.0, 4.0, 6.0, 4.0, 1.0], True)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from accountant.composition.rounding import U
from accountant.errors import PrvFailure
from accountant.mixtures import Floats

if TYPE_CHECKING:
    from accountant.composition.discretise import Law

# A transform of 2^k numbers is off by at most this many roundings for each doubling, relative and in 2-norm: 2 + √5 for
# a radix-2 butterfly with rounded factors (Higham 2002, section 24.1), up to 4 for the factors, the rest is room.
TRANSFORM = 12.0
# One complex product, relative (Brent, Percival & Zimmermann 2007), and its factor's rounding.
_PRODUCT = math.sqrt(5) * U * 1.0001
_TINY = 1e-290


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tilted:
    """A law with weights proportional to mass · e^(θ · node), which sum to 1 up to rounding.

    Args:
        weights: (n,). first: node of the first. moved: (n,), how far each loss is from its node.
    """

    weights: Floats
    first: int
    moved: Floats


def tilt(law: Law, theta: float, *, upwards: bool) -> tuple[Tilted, float]:
    """The tilted law and log M.

    Args:
        theta: θ >= 0. upwards: whether weights · M · e^(−θ · node) is to be at least the masses, or at most.
    """
    slope = _slope(law, theta)
    exponents = law.logs + slope
    largest = float(exponents.max())
    with np.errstate(under="ignore", invalid="ignore"):
        weights = np.exp(exponents - largest)
        off = U * (4 * np.abs(slope) + 8 * np.abs(law.logs) + 2 * abs(largest) + 24)
        weights = np.where(weights > 0, weights * (1 + off if upwards else 1 - off), 0.0)
    total = float(weights.sum())
    # Dividing rounds once more; the logarithm takes it back.
    rounded = 80 * U + 4 * U * (abs(largest) + 8)
    log_moment = largest + math.log(total) + (rounded if upwards else -rounded)
    return Tilted(weights=weights / total, first=law.first, moved=law.moved), log_moment


def log_moment(law: Law, theta: float) -> float:
    """log Σ mass · e^(θ · node) from above, for any θ."""
    slope = _slope(law, theta)
    exponents = law.logs + slope
    largest = float(exponents.max())
    with np.errstate(under="ignore"):
        total = float(np.exp(exponents - largest).sum())
    return (
        largest + math.log(total) + U * (8 * max(abs(float(slope[0])), abs(float(slope[-1]))) + 4 * abs(largest) + 128)
    )


def _slope(law: Law, theta: float) -> Floats:
    return np.asarray((theta * law.mesh) * np.arange(law.first, law.first + len(law.logs)))


class _Bound:
    """Collects what ‖error of the product of all transforms‖₁ needs, one factor after another (theorem 6, c)."""

    def __init__(self, size: int) -> None:
        frequencies = size // 2 + 1
        self._size = size
        self._log_product: Floats = np.zeros(frequencies)
        self._weighted: Floats = np.zeros(frequencies)
        self._total, self._products = 0.0, 0.0

    def add(self, transform: NDArray[np.complex128], weights: Floats, count: int) -> None:
        """One law's transform, taken `count` times; each frequency can carry all of the transform's error."""
        norm = float(np.sqrt(np.dot(weights, weights)))
        off = TRANSFORM * math.log2(self._size) * U * math.sqrt(self._size) * norm * 1.01
        modulus = np.abs(transform) * (1 + 8 * U) + off
        self._log_product += count * np.log(modulus)
        self._weighted += (count * off) / (modulus * modulus)
        self._total += count * off
        self._products += count

    def norm(self) -> float:
        """Upper bound on Σ_k |error of the product at frequency k|, over all `size` frequencies."""
        with np.errstate(under="ignore"):
            product = np.exp(self._log_product)
            transforms = math.sqrt(self._total * 2 * float(np.dot(product * product, self._weighted)))
            products = self._products * _PRODUCT * 2 * float(product.sum())
        # The logarithms' own error, relative to a modulus of at most e^(their sum).
        return (transforms + products) * (1 + 1e-6 + 4 * U * self._products) + _TINY


def convolve(parts: Iterable[tuple[Tilted, int]], *, size: int, lowest: int) -> tuple[Floats, float]:
    """The sum's law at the nodes lowest … lowest + size − 1, circular, and the largest error of any of its masses.

    Args:
        parts: each law, and how often it is taken. size: a power of two.

    Raises:
        PrvFailure: nothing was composed, or the result is not finite.
    """
    from scipy.fft import irfft, rfft

    assert size & (size - 1) == 0
    product, bound, offset = None, _Bound(size), 0
    for law, count in parts:
        weights = _wrapped(law.weights, size)
        transform = rfft(weights)
        bound.add(transform, weights, count)
        with np.errstate(under="ignore"):
            factor = _power(transform, count)
            product = factor if product is None else np.multiply(product, factor, out=product)
        offset += count * law.first
    if product is None:
        raise PrvFailure("nothing was composed")
    sums = np.asarray(irfft(product, size), dtype=np.float64)
    # The inverse transform's error in 2-norm, from the result's own norm (Parseval), and the product's in every mass.
    inverse = TRANSFORM * math.log2(size) * U * float(np.sqrt(np.dot(sums, sums))) * 1.1
    error = inverse + bound.norm() / size
    if not (np.isfinite(sums).all() and math.isfinite(error)):
        raise PrvFailure("the composed distribution is not finite")
    return np.roll(sums, (offset - lowest) % size), error


def _wrapped(weights: Floats, size: int) -> Floats:
    """(size,) weights at their index modulo size."""
    rows = -(-len(weights) // size)
    padded = np.zeros(rows * size)
    padded[: len(weights)] = weights
    return np.asarray(padded.reshape(rows, size).sum(axis=0)) if rows > 1 else padded


def _power(base: NDArray[np.complex128], exponent: int) -> NDArray[np.complex128]:
    """base ** exponent by repeated squaring; the relative error is that many times a product's. Uses up `base`."""
    result = None
    while True:
        if exponent & 1:
            result = base.copy() if result is None else np.multiply(result, base, out=result)
        exponent >>= 1
        if not exponent:
            assert result is not None
            return result
        np.multiply(base, base, out=base)
