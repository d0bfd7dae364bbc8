"""The pair of distributions that dominates one charged release, for each event, adjacency and group size.

Each is a mixture of Gaussians with one standard deviation σ on the line, and log P/Q increases with x
(docs/privacy.md, lemma 1). Everything that an accountant says follows from these pairs:

| event | adjacency | P | Q |
|---|---|---|---|
| subsampled, a banded block (q is then b·q) | add or remove | (1−q) N(0) + q N(1) | N(0) |
| the same | replace | (1−q) N(0) + q N(1) | (1−q) N(0) + q N(−1) |
| hidden feedback | add or remove | (1−q) N(ρ) + q N(ρ+1) | N(0) |
| hidden feedback | replace | (1−q) N(ρ/2) + q N(ρ/2+1) | P mirrored |

For a group of k records, q N(· + 1) becomes Σ_j Binom(k, q)(j) N(· + j); a banded event of more than one band
is charged k blocks of one record at noise multiplier z/√k instead (theorem 8).

    >>> pair = dominating_pair(SubsampledGaussian(sampling_rate=0.5, noise_multiplier=2.0),
    ...                        Neighbouring.ADD_OR_REMOVE_ONE)
    >>> pair.log_ratio(np.array([0.5]))
    array([0.])
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accountant.budget import Neighbouring
from accountant.errors import InvalidValue
from accountant.events import BandedGaussian, Event, HiddenFeedbackGaussian, SubsampledGaussian, require_count

Floats = NDArray[np.float64]
_LOG_ROOT_TWO_PI = 0.5 * math.log(2 * math.pi)


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


@dataclass(frozen=True, kw_only=True, slots=True)
class MixturePair:
    """P and Q with one σ. No mean of Q is above a mean of P, so log P/Q increases.

    Args:
        p, q: the mixtures. sigma: standard deviation, in units of the sensitivity, > 0.
    """

    p: Mixture
    q: Mixture
    sigma: float

    @property
    def gaussian_mean(self) -> float | None:
        """Distance of the means where P and Q are plain Gaussians, else None."""
        if len(self.p.components) == 1 and len(self.q.components) == 1:
            return self.p.components[0][1] - self.q.components[0][1]
        return None

    @property
    def subsampling_weight(self) -> float | None:
        """w where this is (1−w) N(0) + w N(1) against N(0), the plain subsampled Gaussian, else None."""
        plain = self.q.components == ((1.0, 0.0),) and [mean for _, mean in self.p.components] == [0.0, 1.0]
        return self.p.components[1][0] if plain else None

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


def dominating_pair(event: Event, neighbouring: Neighbouring, group_size: int = 1) -> MixturePair:
    """The pair for one charge of an event: one step, or one block of a banded event.

    Args:
        event: what was released. neighbouring: adjacency.
        group_size: k, records that are added, removed or replaced together, integer >= 1. `charges_per_block`
            says how often a banded block is charged then.

    Raises:
        InvalidValue: no event, or no group.

    Guarantees: the privacy profile of the charge is at most the pair's, in both directions.

    Source: docs/privacy.md, lemma 1 and theorems 2, 3, 4 and 8.
    """
    require_count(group_size, "group_size", least=1)
    if isinstance(event, BandedGaussian):
        noise = event.noise_multiplier / math.sqrt(charges_per_block(event, group_size))
        group_size = group_size if event.bands == 1 else 1
        event = SubsampledGaussian(sampling_rate=event.per_block.sampling_rate, noise_multiplier=noise)
    if isinstance(event, SubsampledGaussian):
        shift = 0.0
    elif isinstance(event, HiddenFeedbackGaussian):
        shift = event.feedback_ratio
    else:
        raise InvalidValue(f"Expected event={event!r} to be one of accountant.events.")
    replace_one = neighbouring is Neighbouring.REPLACE_ONE
    p = _drawn(group_size, event.sampling_rate, shift / 2 if replace_one else shift)
    q = p.mirrored() if replace_one else Mixture(((1.0, 0.0),))
    return MixturePair(p=p, q=q, sigma=event.noise_multiplier)


def charges_per_block(event: Event, group_size: int) -> int:
    """How many charges of its dominating pair one step, or one banded block, costs a group of records.

    One; but k for a banded event of several bands, whose k records may sit in k groups with overlapping blocks
    (docs/privacy.md, theorem 8).
    """
    return group_size if isinstance(event, BandedGaussian) and event.bands > 1 else 1


def _drawn(group_size: int, rate: float, shift: float) -> Mixture:
    """Σ_j Binom(k, q)(j) N(shift + j): j of the k records are in the batch."""
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
    log = (
        math.lgamma(count + 1)
        - math.lgamma(successes + 1)
        - math.lgamma(count - successes + 1)
        + successes * math.log(rate)
        + (count - successes) * math.log1p(-rate)
    )
    return math.exp(log)
