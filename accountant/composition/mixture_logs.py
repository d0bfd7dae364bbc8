"""log(mixture / n) and mixture / n − 1 for n = N(0, σ²), each with a bound on its own rounding error.

Both are a polynomial's in e^(x/σ²): the middle is taken by log1p of Σ w·expm1(·), accurate when it is tiny, the rest by
adding logarithms. Quadrature and cells are made of these.

    >>> from accountant.mixtures import Mixture
    >>> logs = mixture_logs(Mixture(((0.5, 0.0), (0.5, 1.0))), np.array([0.5]), sigma=1.0)
    >>> float(logs.log[0]), bool(logs.log_error[0] < 1e-14)
    (0.0, True)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accountant.composition.rounding import ELEMENTARY, U
from accountant.mixtures import Floats, Mixture

# Times a first-order sum of errors: the second order is below a hundredth of it where it is below 1e-3.
SECOND_ORDER = 1.01


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MixtureLogs:
    """A mixture over n = N(0, σ²), at the points of a grid; each error is absolute and a bound.

    Args:
        log, log_error: L. excess, excess_error: mixture / n − 1; ∞ where it is too large to be used.
    """

    log: Floats
    log_error: Floats
    excess: Floats
    excess_error: Floats


def mixture_logs(mixture: Mixture, x: Floats, *, sigma: float) -> MixtureLogs:
    """At each x, for a mixture of components of standard deviation σ."""
    variance = sigma * sigma
    count = len(mixture.components)
    if count == 1 and mixture.components[0][1] == 0:
        zero = np.zeros_like(x)
        return MixtureLogs(log=zero, log_error=zero, excess=zero, excess_error=zero)
    excess, excess_error = np.zeros_like(x), np.zeros_like(x)
    log, size = np.full(x.shape, -np.inf), np.zeros_like(x)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for weight, mean in mixture.components:
            # Σ weight is 1, up to the weights' own rounding, which is counted with every component's.
            exponent = mean * (2 * x - mean) / (2 * variance)
            magnitude = abs(mean) * (2 * np.abs(x) + abs(mean)) / (2 * variance)
            grown = weight * np.expm1(exponent)
            excess += grown
            excess_error += U * ((2 * count + 12) * np.abs(grown) + 8 * weight * np.exp(exponent) * magnitude)
            log = np.logaddexp(log, exponent + math.log(weight))
            size = np.maximum(size, 8 * magnitude + 2 * ELEMENTARY * abs(math.log(weight)))
        inner = np.log1p(excess)
        inner_error = SECOND_ORDER * excess_error / (1 + excess) + 2 * ELEMENTARY * U * np.abs(inner)
        outer_error = U * (size + count * (3 * ELEMENTARY + 2) + np.abs(log) * (count + 2) + count + 6)
    middle = np.isfinite(excess) & (excess > -0.5) & (excess < 1e290)
    return MixtureLogs(
        log=np.where(middle, inner, log),
        log_error=np.where(middle, inner_error, outer_error),
        excess=np.where(middle | (excess <= -0.5), excess, np.inf),
        excess_error=np.where(middle | (excess <= -0.5), excess_error, np.inf),
    )
