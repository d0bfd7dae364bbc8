"""Pairs of Gaussian mixtures on the line: the form in which every event says what it can cost.

A pair has one standard deviation σ, and log P/Q increases with x (docs/privacy.md, lemma 1). An event's
`dominating_pair` is one of these; an accountant reads its Rényi curve and its privacy loss off it, and asks no more.

    >>> pair = MixturePair(p=drawn(1, rate=0.5, shift=0.0), q=AT_ZERO, sigma=2.0)
    >>> pair.log_ratio(np.array([0.5]))
    array([0.])
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, Decimal, localcontext

import numpy as np
from numpy.typing import NDArray

from accountant.errors import InvalidValue

Floats = NDArray[np.float64]
_LOG_ROOT_TWO_PI = 0.5 * math.log(2 * math.pi)
# Weights may be off by their own rounding, and by those that underflow and are rounded up.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Mixture:
    """Σ weight · N(mean, σ²); σ belongs to the pair.

    Args:
        components: (weight, mean) of each component that has mass; weights sum to 1.
    """

    components: tuple[tuple[float, float], ...]

    def mirrored(self) -> Mixture:
        """Of −x."""
        return Mixture(tuple((weight, -mean) for weight, mean in self.components))


AT_ZERO = Mixture(((1.0, 0.0),))


@dataclass(frozen=True, kw_only=True, slots=True)
class MixturePair:
    """P and Q with one σ. No mean of Q is above a mean of P, so log P/Q increases.

    Args:
        p, q: the mixtures. sigma: standard deviation, in units of the sensitivity, > 0.

    Raises:
        InvalidValue: a mixture does not sum to 1, σ is out of range, or a mean of Q is above one of P: the privacy
            loss would not increase, and no accountant's bound would hold.
    """

    p: Mixture
    q: Mixture
    sigma: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and self.sigma > 0):
            raise InvalidValue(f"Expected sigma={self.sigma!r} to be finite and > 0.")
        for name, mixture in (("p", self.p), ("q", self.q)):
            weights = [weight for weight, _ in mixture.components]
            if not (all(weight > 0 for weight in weights) and abs(math.fsum(weights) - 1) <= _ROUNDING):
                raise InvalidValue(f"Expected the weights of {name} to be > 0 and to sum to 1, got {weights}.")
        if not max(mean for _, mean in self.q.components) <= min(mean for _, mean in self.p.components):
            raise InvalidValue("Expected no mean of q above a mean of p: the privacy loss must increase with x.")

    @property
    def gaussian_mean(self) -> float | None:
        """Distance of the means where P and Q are plain Gaussians, else None."""
        if len(self.p.components) == 1 and len(self.q.components) == 1:
            return self.p.components[0][1] - self.q.components[0][1]
        return None

    @property
    def subsampling_weight(self) -> float | None:
        """w where this is (1−w) N(0) + w N(1) against N(0), the plain subsampled Gaussian, else None."""
        plain = self.q == AT_ZERO and [mean for _, mean in self.p.components] == [0.0, 1.0]
        return self.p.components[1][0] if plain else None

    @property
    def sampling_rate(self) -> float | None:
        """q where this is the Gaussian mechanism of sensitivity 1, Poisson-subsampled at q (1 for all), else None."""
        if self.gaussian_mean == 1:
            return 1.0
        return self.subsampling_weight

    @property
    def mirrored_weight(self) -> float | None:
        """w where this is (1−w) N(0) + w N(1) against its mirror image, else None."""
        plain = self.symmetric and [mean for _, mean in self.p.components] == [0.0, 1.0]
        return self.p.components[1][0] if plain else None

    @property
    def inverts_in_closed_form(self) -> bool:
        """Whether the x of a given privacy loss has a formula; a numerical composition is then quick."""
        closed = (self.gaussian_mean, self.subsampling_weight, self.mirrored_weight)
        return any(value is not None for value in closed)

    @property
    def symmetric(self) -> bool:
        """Whether Q is P mirrored, so that both directions cost the same."""
        return self.q == self.p.mirrored()

    def log_density(self, mixture: Mixture, x: Floats) -> Floats:
        """Natural logarithm of a mixture's density at x."""
        variance = self.sigma**2
        terms = [math.log(weight) - (x - mean) ** 2 / (2 * variance) for weight, mean in mixture.components]
        total = terms[0]
        for term in terms[1:]:
            total = np.logaddexp(total, term)
        return np.asarray(total - _LOG_ROOT_TWO_PI - math.log(self.sigma))

    def relative_excess(self, mixture: Mixture, x: Floats) -> Floats:
        """density / N(0, σ²) − 1, accurate when it is tiny; overflows to inf where it is huge."""
        variance = self.sigma**2
        with np.errstate(over="ignore"):
            terms = [
                weight * np.expm1((2 * mean * x - mean * mean) / (2 * variance))
                for weight, mean in mixture.components
                if mean
            ]
        return np.asarray(sum(terms, np.zeros_like(x)))

    def log_ratio(self, x: Floats) -> Floats:
        """The privacy loss log P(x)/Q(x); increases with x."""
        near = self.relative_excess(self.p, x) - self.relative_excess(self.q, x)
        base = 1 + self.relative_excess(self.q, x)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            small = np.log1p(near / base)
        far = self.log_density(self.p, x) - self.log_density(self.q, x)
        return np.asarray(np.where(np.abs(far) < 1e-3, small, far))

    def cdf(self, mixture: Mixture, x: Floats) -> Floats:
        """Mass of a mixture at and below x."""
        # Loaded here: RDP alone does without it, and `privgen plan` starts in half the time.
        from scipy.special import ndtr

        return np.asarray(sum(w * ndtr((x - mean) / self.sigma) for w, mean in mixture.components))

    def sf(self, mixture: Mixture, x: Floats) -> Floats:
        """Mass of a mixture above x, accurate in the tail."""
        from scipy.special import ndtr

        return np.asarray(sum(w * ndtr((mean - x) / self.sigma) for w, mean in mixture.components))


def drawn(group_size: int, *, rate: float, shift: float) -> Mixture:
    """Σ_j Binom(k, q)(j) N(shift + j): j of the k records are in the batch.

    Args:
        group_size: k >= 1. rate: q, in (0, 1]. shift: what is added whether a record is in the batch or not.
    """
    if rate == 1:
        return Mixture(((1.0, shift + group_size),))
    # A weight that underflows is rounded up: towards more loss.
    return Mixture(
        tuple((max(_binomial(group_size, rate, j), sys.float_info.min), shift + j) for j in range(group_size + 1))
    )


def _binomial(count: int, rate: float, successes: int) -> float:
    """Binom(count, rate)(successes), without overflow."""
    if count == 1:
        return rate if successes else 1 - rate
    # With fifty digits, so that the weight is rounded once: it decides how often a group is drawn.
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 50, MIN_EMIN, MAX_EMAX
        q = Decimal(rate)
        return float(Decimal(math.comb(count, successes)) * q**successes * (1 - q) ** (count - successes))
