"""`one_run_bound`: a lower bound on ε from one training run with many canaries, each in or out by a fair coin.

Let each of m canaries be included by its own coin, and let a run be (ε, δ)-DP for one canary more or less. Of r guesses
at the m coins, made from what the run released, v or more are correct with probability at most

    P(Š >= v) + 2 m δ max_{1 <= i <= m} P(v > Š >= v − i) / i,      Š ~ Binomial(r, e^ε / (1 + e^ε))

(Steinke, Nasr & Jagielski 2023, arXiv 2305.08846 v1, theorem 5.2, for guesses of −1, 0 and 1 as in corollary 5.4 and
appendix D). An ε at which this is below the permitted error is refuted.

The guesses are "in" for the highest scores and "out" for the lowest. Their number is not chosen by the result: four
numbers, fixed in advance, are tried, each with a quarter of the permitted error (union bound).

    >>> round(epsilon_below(canaries=1000, guesses=100, correct=75, delta=1e-4, error=0.05), 3)
    0.673
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from accountant.audit.checks import CANARIES
from accountant.budget import require_delta
from accountant.composition.certified import finite
from accountant.ledger.state import CanaryRecord
from privgen.errors import CheckpointError, EvaluationError
from privgen.training.canaries import SCORES, Scores
from privgen.training.gradient_canaries import Planted, read_planted

# Guesses for each canary, half of them "in" and half of them "out".
_SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
FEWEST = 32
_MOST_EPSILON = 100.0


@dataclass(frozen=True, kw_only=True, slots=True)
class OneRunBound:
    """What one run proves.

    Args:
        epsilon: no ε below this is true at `delta`, >= 0. delta, confidence: of the statement, in (0, 1).
        canaries: m. guesses, correct: r and v, for the number of guesses that gave the largest ε.
    """

    epsilon: float
    delta: float
    confidence: float
    canaries: int
    guesses: int
    correct: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveBound:
    """What one run refutes of the curves that its own steps have with more and less noise.

    Args:
        epsilon: at `delta`, of the least private curve that is refuted; 0 if none is.
        noise: the factor on the run's noise that makes that curve; ∞ if none is refuted, and the certified curve itself
            is refuted where it is at most 1.
        delta, confidence: of the statement. canaries, guesses, correct: m, r and v.
    """

    epsilon: float
    noise: float
    delta: float
    confidence: float
    canaries: int
    guesses: int
    correct: int

    def to_json(self) -> dict[str, Any]:
        """As JSON; an infinite factor is null."""
        return {
            "epsilon": self.epsilon,
            "noise": finite(self.noise),
            "guesses": self.guesses,
            "correct": self.correct,
            "delta": self.delta,
            "confidence": self.confidence,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class CanaryFinding:
    """What a run's canaries show, and the certified ε of the whole run.

    Args:
        what: a description. lower: Steinke's bound. curve: of the run's own curves, or None.
        certified: the smaller valid upper bound on ε, at the same δ.
    """

    what: str
    lower: OneRunBound
    certified: float
    curve: CurveBound | None = None

    @property
    def holds(self) -> bool:
        """Whether the lower bound is at most the certified ε, and the curve of what was charged is not refuted."""
        return self.lower.epsilon <= self.certified and (self.curve is None or self.curve.noise > 1)

    def to_json(self) -> dict[str, Any]:
        """As JSON; an infinite bound is null."""
        return {
            "what": self.what,
            "canaries": self.lower.canaries,
            "guesses": self.lower.guesses,
            "correct": self.lower.correct,
            "delta": self.lower.delta,
            "lower": self.lower.epsilon,
            "certified": finite(self.certified),
            "confidence": self.lower.confidence,
            "holds": self.holds,
            "curve": None if self.curve is None else self.curve.to_json(),
        }


def read_canaries(private: Path, named: CanaryRecord) -> tuple[Planted, Scores]:
    """A run's canaries and their scores.

    Args:
        private: the run's private folder. named: what the ledger states about them.

    Raises:
        CheckpointError: they are missing, damaged, or not those that the ledger names.
    """
    try:
        planted = read_planted((private / CANARIES).read_bytes())
        scores = Scores.read((private / SCORES).read_bytes())
    except OSError as error:
        raise CheckpointError(f"The canaries need the run's private folder: {error}.") from error
    if planted.digest != named.digest or len(planted) != named.count:
        raise CheckpointError(f"{private / CANARIES} is not the file that the ledger names; its coins prove nothing.")
    return planted, scores


def one_run_bound(
    scores: NDArray[np.float64], included: NDArray[np.bool_], *, delta: float, confidence: float
) -> OneRunBound:
    """Bound ε from below.

    Args:
        scores: (m,) of the canaries; a higher score means more likely included. They must come from what was released,
            not from the coins.
        included: (m,) the coins. delta: δ of the guarantee under test, in (0, 1). confidence: in (0, 1).

    Raises:
        EvaluationError: fewer than 32 canaries, arrays of different lengths, or a score that is NaN.
    """
    require_delta(delta)
    require_delta(confidence, "confidence")
    require_scores(scores, included)
    count = len(scores)
    order = np.argsort(scores, kind="stable")
    error = (1 - confidence) / len(_SHARES)
    found = []
    for share in _SHARES:
        each = int(count * share / 2)
        correct = int(included[order[count - each :]].sum() + (~included[order[:each]]).sum())
        epsilon = epsilon_below(canaries=count, guesses=2 * each, correct=correct, delta=delta, error=error)
        found.append((epsilon, 2 * each, correct))
    epsilon, guesses, correct = max(found)
    return OneRunBound(
        epsilon=epsilon, delta=delta, confidence=confidence, canaries=count, guesses=guesses, correct=correct
    )


def require_scores(scores: NDArray[np.float64], included: NDArray[np.bool_]) -> None:
    """Raise EvaluationError for fewer than 32 canaries, arrays of different lengths, or a score that is NaN."""
    count = len(scores)
    if count < FEWEST or len(included) != count or np.isnan(scores).any():
        raise EvaluationError(
            f"Expected a score for each of at least {FEWEST} canaries, got {count} scores for {len(included)}."
        )


def epsilon_below(*, canaries: int, guesses: int, correct: int, delta: float, error: float) -> float:
    """The largest ε that this number of correct guesses refutes, with a probability of error <= `error`; 0 if none.

    Args:
        canaries: m >= guesses. guesses: r >= correct. correct: v >= 0. delta, error: in (0, 1).
    """

    def refuted(epsilon: float) -> bool:
        return p_value(canaries=canaries, guesses=guesses, correct=correct, epsilon=epsilon, delta=delta) < error

    if not refuted(0.0):
        return 0.0
    low, high = 0.0, _MOST_EPSILON
    # What is private at some ε is private at every larger one: if the lower end is refuted, so is everything below it.
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def p_value(*, canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """The theorem's bound on the probability of at least this many correct guesses, in [0, 1].

    Args:
        As in `epsilon_below`. epsilon: >= 0.
    """
    accuracy = 1 / (1 + np.exp(-epsilon))
    at_least = float(binom.sf(correct - 1, guesses, accuracy))
    # P(v > Š >= v − i) for i = 1 … v; beyond that it no longer grows, so that its quotient by i falls.
    just_below = np.cumsum(binom.pmf(np.arange(correct - 1, -1, -1), guesses, accuracy))
    steepest = float((just_below / np.arange(1, correct + 1)).max()) if correct else 0.0
    return min(1.0, at_least + 2 * canaries * delta * steepest)
