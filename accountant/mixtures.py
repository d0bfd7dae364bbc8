"""The pair of distributions that dominates one charged release, for each event and adjacency.

Each is a mixture of two Gaussians with one standard deviation σ on the line, and log P/Q increases with x
(DESIGN sections 3.1 and 3.2). Everything that an accountant says follows from these pairs:

| event | adjacency | P | Q |
|---|---|---|---|
| subsampled, a banded block (q is then b·q) | add or remove | (1−q) N(0) + q N(1) | N(0) |
| the same | replace | (1−q) N(0) + q N(1) | (1−q) N(0) + q N(−1) |
| hidden feedback | add or remove | (1−q) N(ρ) + q N(ρ+1) | N(0) |
| hidden feedback | replace | (1−q) N(ρ/2) + q N(ρ/2+1) | P mirrored |

    >>> pair = dominating_pair(SubsampledGaussian(sampling_rate=0.5, noise_multiplier=2.0),
    ...                        Neighbouring.ADD_OR_REMOVE_ONE)
    >>> pair.log_ratio(np.array([0.5]))
    array([0.])
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accountant.budget import Neighbouring
from accountant.errors import InvalidValue
from accountant.events import BandedGaussian, Event, HiddenFeedbackGaussian, SubsampledGaussian

Floats = NDArray[np.float64]
_LOG_ROOT_TWO_PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixture:
    """(1 − weight) N(low, σ²) + weight N(high, σ²); σ belongs to the pair.

    Args:
        low, high: means, low <= high or the mirror image of such. weight: of `high`, in [0, 1].
    """

    low: float
    high: float
    weight: float

    def components(self) -> tuple[tuple[float, float], ...]:
        """(weight, mean) of the components that have mass."""
        both = ((1 - self.weight, self.low), (self.weight, self.high))
        return tuple(component for component in both if component[0] > 0)

    def mirrored(self) -> Mixture:
        """Of −x."""
        return Mixture(low=-self.low, high=-self.high, weight=self.weight)


@dataclass(frozen=True, kw_only=True, slots=True)
class MixturePair:
    """P and Q with one σ, and log P/Q increasing.

    Args:
        p, q: the mixtures. sigma: standard deviation, in units of the sensitivity, > 0.
    """

    p: Mixture
    q: Mixture
    sigma: float

    @property
    def gaussian_mean(self) -> float | None:
        """Distance of the means where P and Q are plain Gaussians, else None."""
        if len(self.p.components()) == 1 and len(self.q.components()) == 1:
            return self.p.components()[0][1] - self.q.components()[0][1]
        return None

    @property
    def symmetric(self) -> bool:
        """Whether Q is P mirrored, so that both directions cost the same."""
        return self.q == self.p.mirrored()

    def log_density(self, mixture: Mixture, x: Floats) -> Floats:
        """Natural logarithm of a mixture's density at x."""
        variance = self.sigma**2
        terms = [math.log(weight) - (x - mean) ** 2 / (2 * variance) for weight, mean in mixture.components()]
        total = terms[0] if len(terms) == 1 else np.logaddexp(terms[0], terms[1])
        return np.asarray(total - _LOG_ROOT_TWO_PI - math.log(self.sigma))

    def relative_excess(self, mixture: Mixture, x: Floats) -> Floats:
        """density / N(0, σ²) − 1, accurate when it is tiny; overflows to inf where it is huge."""
        variance = self.sigma**2
        with np.errstate(over="ignore"):
            terms = [
                weight * np.expm1((2 * mean * x - mean * mean) / (2 * variance))
                for weight, mean in mixture.components()
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

        return np.asarray(sum(w * ndtr((x - mean) / self.sigma) for w, mean in mixture.components()))

    def sf(self, mixture: Mixture, x: Floats) -> Floats:
        """Mass of a mixture above x, accurate in the tail."""
        from scipy.special import ndtr

        return np.asarray(sum(w * ndtr((mean - x) / self.sigma) for w, mean in mixture.components()))


def dominating_pair(event: Event, neighbouring: Neighbouring) -> MixturePair:
    """The pair for one charge of an event: one step, or one block of a banded event.

    Source: DESIGN 3.1 (theorem and replace-one) and 3.2; docs/privacy.md has the proofs.
    """
    replace_one = neighbouring is Neighbouring.REPLACE_ONE
    if isinstance(event, BandedGaussian):
        event = event.per_block
    if isinstance(event, SubsampledGaussian):
        shift = 0.0
    elif isinstance(event, HiddenFeedbackGaussian):
        shift = event.feedback_ratio
    else:
        raise InvalidValue(f"Expected event={event!r} to be one of accountant.events.")
    if replace_one:
        shift /= 2
    p = Mixture(low=shift, high=shift + 1, weight=event.sampling_rate)
    q = p.mirrored() if replace_one else Mixture(low=0.0, high=0.0, weight=0.0)
    return MixturePair(p=p, q=q, sigma=event.noise_multiplier)
