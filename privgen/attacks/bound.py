"""`lower_bound`: from attack scores in two worlds, an ε below which no guarantee can be true.

If a mechanism is (ε, δ)-DP, then for every event E and both orders of the two worlds

    P(E) <= e^ε Q(E) + δ        so        ε >= log((P(E) − δ) / Q(E))

E is "the score is above t" or its complement. t, the side and the order are chosen on separate
trials; on the others P(E) is bounded below and Q(E) above by Clopper & Pearson (1934), each with half of the permitted
error. Nothing is assumed about the scores: a bad score only makes the bound small.

    >>> rng = np.random.default_rng(0)
    >>> found = lower_bound(rng.normal(1, 1, 100_000), rng.normal(0, 1, 100_000), delta=0.01, confidence=0.999)
    >>> 1.8 < found.epsilon < 2.318  # a Gaussian mechanism of noise multiplier 1 has ε = 2.318 at δ = 0.01
    True
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from accountant.budget import require_delta
from privgen.errors import EvaluationError

Scores = NDArray[np.float64]

_CANDIDATES = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class LowerBound:
    """What one threshold, chosen in advance, proves.

    Args:
        epsilon: no ε below this is true at `delta`, >= 0. delta, confidence: of the statement, in (0, 1).
        trials: in each world, including those that chose the threshold.
        threshold: the event is a score above it if `above`, otherwise a score not above it. present_first: whether
            the event is more likely when the record is present.
    """

    epsilon: float
    delta: float
    confidence: float
    trials: int
    threshold: float
    above: bool
    present_first: bool


def lower_bound(present: Scores, absent: Scores, *, delta: float, confidence: float) -> LowerBound:
    """Bound ε from below.

    Args:
        present, absent: (n,) scores of independent trials in the two worlds, in no particular order. The first third
            of each chooses the threshold.
        delta: δ of the guarantee under test, in (0, 1). confidence: of the bound, in (0, 1).

    Raises:
        EvaluationError: fewer than 30 trials, or a score that is NaN.
    """
    require_delta(delta)
    require_delta(confidence, "confidence")
    if min(len(present), len(absent)) < 30 or np.isnan(present).any() or np.isnan(absent).any():
        raise EvaluationError(f"Expected 30 trials or more of each world, got {len(present)} and {len(absent)}.")
    cut = min(len(present), len(absent)) // 3
    thresholds = _candidates(present[:cut], absent[:cut])
    found = [
        (_epsilons(present[:cut], absent[:cut], thresholds, above, first, delta, confidence), above, first)
        for above in (True, False)
        for first in (True, False)
    ]
    values, above, first = max(found, key=lambda one: one[0].max())
    threshold = float(thresholds[values.argmax()])
    rest = _epsilons(present[cut:], absent[cut:], np.array([threshold]), above, first, delta, confidence)
    return LowerBound(
        epsilon=max(0.0, float(rest[0])),
        delta=delta,
        confidence=confidence,
        trials=min(len(present), len(absent)),
        threshold=threshold,
        above=above,
        present_first=first,
    )


def _candidates(present: Scores, absent: Scores) -> Scores:
    """Scores at ranks that are dense at both ends, where large ε show."""
    count = len(present)
    ranks = np.unique(np.geomspace(1, count, _CANDIDATES // 4).astype(np.int64) - 1)
    ranks = np.union1d(ranks, count - 1 - ranks)
    return np.unique(np.concatenate([np.sort(scores)[ranks] for scores in (present, absent)]))


def _epsilons(
    present: Scores,
    absent: Scores,
    thresholds: Scores,
    above: bool,
    first: bool,
    delta: float,
    confidence: float,
) -> Scores:
    """The bound at each threshold, −∞ if there is none; sound for a threshold that was fixed in advance.

    Choosing by this bound, too, avoids thresholds that few scores pass, where a high figure is mostly luck.
    """
    likely, rare = (present, absent) if first else (absent, present)
    hits, misses = (_counts(scores, thresholds, above) for scores in (likely, rare))
    low = clopper_pearson(hits, len(likely), error=(1 - confidence) / 2)[0]
    high = clopper_pearson(misses, len(rare), error=(1 - confidence) / 2)[1]
    with np.errstate(divide="ignore"):
        return np.log(np.maximum(low - delta, 0.0) / high)


def _counts(scores: Scores, thresholds: Scores, above: bool) -> NDArray[np.int64]:
    below = np.searchsorted(np.sort(scores), thresholds, side="right")
    return len(scores) - below if above else below


def clopper_pearson(hits: NDArray[np.int64], count: int, *, error: float) -> tuple[Scores, Scores]:
    """Lower and upper bound on a probability, from `hits` in `count` trials; each is wrong with probability <= `error`.

    Source: Clopper & Pearson 1934, Biometrika 26(4).
    """
    hits = np.asarray(hits)
    with np.errstate(invalid="ignore"):
        low = np.where(hits == 0, 0.0, beta.ppf(error, hits, count - hits + 1))
        high = np.where(hits == count, 1.0, beta.ppf(1 - error, hits + 1, count - hits))
    return low, high
