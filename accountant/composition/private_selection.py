"""What choosing the best of several private runs costs: hyper-parameter search is a release too.

Draw the number of runs K at random, independently of the data, run the mechanism K times, keep only the best by
a score that is part of each run's private output, and show nothing of the others. If one run has divergences
ε(α), the choice has (Papernot & Steinke 2022, arXiv 2110.03620 v2)

    truncated negative binomial K, shape η > −1, γ (theorem 2), for any orders α, α̂ > 1:
        ε'(α) = ε(α) + (1 + η) (1 − 1/α̂) ε(α̂) + (1 + η) log(1/γ) / α̂ + log(E K) / (α − 1)
    Poisson K of mean μ (theorem 6), where e^ε̂ = 1 + 1/(α − 1) and one run is (ε̂, δ̂)-DP:
        ε'(α) = ε(α) + μ δ̂ + log(μ) / (α − 1)

A fixed number of runs has no such bound: charge each of them in full, by composing it.

    >>> from accountant.events import SubsampledGaussian
    >>> from accountant.composition.rdp import RdpAccountant
    >>> run = RdpAccountant().compose(SubsampledGaussian(sampling_rate=256 / 60000, noise_multiplier=1.07), 20000)
    >>> round(run.get_epsilon(1e-5), 2), round(search_epsilon(run, RandomRuns(mean=10.0), delta=1e-5), 2)
    (3.3, 6.24)

Guarantees: an upper bound on the ε of keeping the best run, if K was drawn from just this distribution (`draw`),
every candidate has at most the divergences that were composed, and the score reads no data of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accountant.composition.conversion import Conversion, delta_of, epsilon_of
from accountant.composition.rdp import RdpAccountant
from accountant.errors import InvalidValue
from accountant.mixtures import Floats
from accountant.scalars import is_number, keep_plain

# The tail of K that `draw` gives up on: below what a double's uniform number reaches.
_LARGEST_DRAW = 10**7


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomRuns:
    """How many runs there are: a distribution on the integers.

    Args:
        mean: expected number of runs; >= 1 (and > 0 for Poisson).
        shape: η > −1 of the truncated negative binomial; 1 is geometric, 0 logarithmic, ∞ Poisson. Smaller
            shapes are more spread out and cost less for one mean.

    Raises:
        InvalidValue: a value is out of range.
    """

    mean: float
    shape: float = 1.0

    def __post_init__(self) -> None:
        keep_plain(self)
        if not (is_number(self.shape) and self.shape > -1):
            raise InvalidValue(f"Expected shape={self.shape!r} > -1; 1 is geometric, 0 logarithmic, inf Poisson.")
        least = 0.0 if self.poisson else 1.0
        good = is_number(self.mean) and math.isfinite(self.mean) and self.mean >= least
        if not (good and self.mean > 0):
            raise InvalidValue(f"Expected mean={self.mean!r} to be a finite number of runs >= 1.")

    @property
    def poisson(self) -> bool:
        """Whether K is Poisson; then it may be 0, and nothing is released."""
        return self.shape == math.inf

    @property
    def gamma(self) -> float:
        """γ in (0, 1] at which the truncated negative binomial has this mean; 1 is exactly one run."""
        if self.poisson:
            raise InvalidValue("A Poisson number of runs has no gamma.")
        if self.mean == 1:
            return 1.0
        low, high = -1.0, 0.0
        while _mean_of(low, self.shape) < self.mean:
            low *= 2
            if low < -700:
                raise InvalidValue(
                    f"Expected shape={self.shape!r} further above -1: no gamma gives {self.mean!r} runs."
                )
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if _mean_of(middle, self.shape) > self.mean else (low, middle)
        return math.exp(low)

    def draw(self, generator: np.random.Generator) -> int:
        """One K. The generator must be seeded from the operating system, and K kept secret until the end."""
        if self.poisson:
            return int(generator.poisson(self.mean))
        if self.mean == 1:
            return 1
        gamma, eta = self.gamma, self.shape
        # P(K = 1), and P(K = k + 1) / P(K = k) = (1 − γ)(k + η)/(k + 1) (definition 1 of the paper).
        probability = (1 - gamma) * (_slope(eta, gamma))
        left, runs = float(generator.random()), 1
        while left > probability and runs < _LARGEST_DRAW:
            left -= probability
            probability *= (1 - gamma) * (runs + eta) / (runs + 1)
            runs += 1
        return runs


def _slope(eta: float, gamma: float) -> float:
    """η / (γ^−η − 1), and its limit 1 / log(1/γ) at η = 0."""
    exponent = -eta * math.log(gamma)
    return 1 / -math.log(gamma) if eta == 0 else eta / math.expm1(exponent)


def _mean_of(log_gamma: float, eta: float) -> float:
    """E K of the truncated negative binomial: η (1 − γ) / (γ (1 − γ^η)), or (1/γ − 1) / log(1/γ)."""
    rest = -math.expm1(log_gamma) * math.exp(-log_gamma)
    return rest / -log_gamma if eta == 0 else rest * eta / -math.expm1(eta * log_gamma)


def search_divergences(orders: Floats, divergences: Floats, runs: RandomRuns) -> Floats:
    """Rényi divergences of keeping the best of a random number of runs.

    Args:
        orders: (n,) α > 1, increasing. divergences: (n,) of one run, at these orders.
        runs: how many there are.

    Returns:
        (n,); ∞ where nothing is proved.

    Source: theorems 2 and 6 of arXiv 2110.03620 v2; docs/privacy.md, theorem 9.
    """
    if not runs.poisson and runs.mean == 1:
        return divergences.copy()
    several = math.log(runs.mean) / (orders - 1)
    if runs.poisson:
        tight = np.array([delta_of(divergences, orders, epsilon=math.log1p(1 / (a - 1))) for a in orders])
        result = divergences + runs.mean * tight + several
    else:
        spread = 1 + runs.shape
        constants = (1 - 1 / orders) * divergences - math.log(runs.gamma) / orders
        result = divergences + spread * float(np.min(constants)) + several
    # A divergence does not decrease with its order, so that a larger order's bound holds at a smaller one.
    return np.minimum.accumulate(result[::-1])[::-1]


def search_epsilon(one_run: RdpAccountant, runs: RandomRuns, *, delta: float) -> float:
    """Upper bound on the ε of the best of a random number of runs.

    Args:
        one_run: what each run composed, or the costliest of them. Unchanged.
        runs: how many there are. delta: of the whole, in (0, 1).

    Raises:
        InvalidValue: delta is out of range.
    """
    one_run.get_epsilon(delta)
    result = search_divergences(one_run.orders, one_run.divergences(), runs)
    return epsilon_of(result, Conversion.at(one_run.orders, delta=delta))
