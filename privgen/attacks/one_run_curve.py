"""`curve_bound`: guesses as in `privgen.attacks.one_run`, held against a whole trade-off curve and not one (ε, δ).

A curve says for every event that has probability x with a canary how probable it is without, at least: f(x). Of r
guesses at m coins let T be right. Then for all j >= 1, with p_t = P(T = t),

    Σ_{t >= j−1} (r − t) p_t  >=  m · f( Σ_{t >= j} t p_t / m )

(docs/privacy.md, Canaries (d); Mahloujifar, Melis & Chaudhuri 2024, arXiv 2410.22235). The least total that p_t with
P(T >= v) = τ can have follows by filling them from v downwards; where it is above 1 there is no such law, and v or more
right guesses refute the curve, wrongly with probability at most τ.

The curves that are tried are the run's own: what it charged, by PRV, with all its noise multiplied by one factor.
**What
is refuted is a curve**: that the run is as private, event by event, as its own steps would be with that much noise. The
ε printed beside it is that curve's at the run's δ. It is no proof against every mechanism with this (ε, δ), which may
have another curve; Steinke's bound is one, and stands beside it.

    >>> curve = gaussian_curve(1.0)
    >>> round(float(curve.floor(0.5)), 3)  # Φ(Φ⁻¹(0.5) − 1)
    0.159
    >>> [refutes(curve, canaries=1000, guesses=200, correct=v, error=0.05) for v in (180, 192, 193, 200)]
    [False, False, True, True]
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from accountant.audit.risk import READ_AT
from accountant.budget import Neighbouring, require_delta
from accountant.composition.prv import PrvAccountant
from accountant.composition.segments import Composition, compose_segments
from accountant.errors import PrvFailure
from privgen.attacks.one_run import CurveBound, require_scores

Floats = NDArray[np.float64]

# Two ways to guess, fixed by m alone: so many times √m guesses, half of them "in" and half "out", or all "in"; and the
# part of the permitted error that each has. The first is near the best for 400 to 5000 canaries on a Gaussian mechanism
# of ε = 9; the second sees what happens to few canaries only, as where one batch is used again and again.
_WAYS = ((6.0, 0.5, 0.9), (2.0, 1.0, 0.1))
# Rounding of all sums of the recursion, generously.
_SURELY = 1 + 1e-9
# Factors on the noise between which the largest ε that is refuted is sought, and how finely.
_LEAST, _MOST, _FINE = 1 / 64, 64.0, 0.002


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Curve:
    """A trade-off curve from below, as lines: f(x) = max over ε of e^(−ε)(x − δ(ε)) and 1 − δ(ε) − e^ε(1 − x).

    Args:
        epsilons, deltas: (n,) of the privacy profile, valid in both directions, each δ an upper bound.
    """

    epsilons: Floats
    deltas: Floats

    def floor(self, x: float) -> float:
        """At least how probable an event is in one world that has probability x in the other."""
        with np.errstate(over="ignore", invalid="ignore"):
            first = np.exp(-self.epsilons) * (x - self.deltas)
            second = 1 - self.deltas - np.exp(self.epsilons) * (1 - x)
        return max(0.0, float(first.max()), float(np.nanmax(second)))


def gaussian_curve(mu: float) -> Curve:
    """Of N(μ, 1) against N(0, 1), for tests and for comparison."""
    from scipy.special import ndtr

    epsilons = READ_AT
    with np.errstate(over="ignore", invalid="ignore"):
        deltas = ndtr(mu / 2 - epsilons / mu) - np.exp(epsilons) * ndtr(-mu / 2 - epsilons / mu)
    return Curve(epsilons=epsilons, deltas=np.clip(np.nan_to_num(deltas), 0.0, 1.0))


def refutes(curve: Curve, *, canaries: int, guesses: int, correct: int, error: float) -> bool:
    """Whether so many right guesses refute the curve, wrongly with probability at most `error`.

    Args:
        canaries: m >= guesses. guesses: r >= correct, fixed before the coins are looked at. correct: v >= 0.
    """
    tail, right = error, error * correct  # P(T >= i), Σ_{t >= i} t p_t
    for at in range(correct - 1, -1, -1):
        least = canaries * curve.floor(right / canaries)
        short = least - (guesses * tail - right)
        if short > 0:
            more = short / (guesses - at)
            tail, right = tail + more, right + at * more
            if tail > _SURELY:
                return True
    return False


def curve_bound(
    scores: Floats,
    included: NDArray[np.bool_],
    composition: Composition,
    *,
    delta: float,
    confidence: float,
    neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE,
) -> CurveBound:
    """The most noise, in units of the run's own, that its guesses refute, and the ε of that curve.

    Args:
        scores, included, delta, confidence: as for `one_run_bound`. composition: what the run charged.
        neighbouring: adjacency.

    Raises:
        EvaluationError: as `one_run_bound`.
    """
    require_delta(delta)
    require_delta(confidence, "confidence")
    tried = guesses_of(scores, included)

    def refuted(noise: float) -> list[tuple[int, int]]:
        curve = curve_of(composition, noise=noise, neighbouring=neighbouring)
        return [
            (guesses, correct)
            for guesses, correct, part in tried
            if refutes(curve, canaries=len(scores), guesses=guesses, correct=correct, error=(1 - confidence) * part)
        ]

    noise = _least_noise(lambda noise: bool(refuted(noise)))
    guesses, correct = refuted(noise)[0] if noise < math.inf else tried[0][:2]
    return CurveBound(
        epsilon=_epsilon(composition, noise, delta, neighbouring) if noise < math.inf else 0.0,
        noise=noise,
        delta=delta,
        confidence=confidence,
        canaries=len(scores),
        guesses=guesses,
        correct=correct,
    )


def guesses_of(scores: Floats, included: NDArray[np.bool_]) -> tuple[tuple[int, int, float], ...]:
    """(r, v, part of the permitted error) of each way to guess.

    Raises:
        EvaluationError: as `one_run_bound`.
    """
    require_scores(scores, included)
    order, count = np.argsort(scores, kind="stable"), len(scores)
    found = []
    for times, share_in, part in _WAYS:
        guesses = min(count, int(times * math.sqrt(count)))
        high, low = count - round(guesses * share_in), guesses - round(guesses * share_in)
        correct = int(included[order[high:]].sum() + (~included[order[:low]]).sum())
        found.append((guesses, correct, part))
    return tuple(found)


def _least_noise(refuted: Callable[[float], bool]) -> float:
    """The least factor whose curve is refuted, to a few thousandths from above; ∞ where none is.

    More noise is a more private curve, and what refutes a curve refutes every more private one.
    """
    if not refuted(_MOST):
        return math.inf
    low, high = _LEAST, _MOST
    while high / low > 1 + _FINE:
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if refuted(middle) else (middle, high)
    return high


def scaled(composition: Composition, noise: float) -> Composition:
    """The same steps with all noise multiplied by a factor."""
    return tuple(
        (replace(event, noise_multiplier=event.noise_multiplier * noise), steps) for event, steps in composition
    )


@lru_cache(maxsize=128)
def curve_of(composition: Composition, *, noise: float, neighbouring: Neighbouring) -> Curve:
    """The trade-off curve of steps with all noise multiplied by a factor, by PRV; nothing is known where it fails."""
    try:
        composed = compose_segments(PrvAccountant(neighbouring), scaled(composition, noise))
        deltas = composed.get_deltas(READ_AT)
    except (PrvFailure, ArithmeticError):
        deltas = np.ones(len(READ_AT))
    return Curve(epsilons=READ_AT, deltas=np.clip(deltas, 0.0, 1.0))


def _epsilon(composition: Composition, noise: float, delta: float, neighbouring: Neighbouring) -> float:
    """ε of the refuted curve at δ, from below: what is printed is not above what is refuted."""
    composed = compose_segments(PrvAccountant(neighbouring), scaled(composition, noise))
    return max(0.0, composed.get_epsilon_bounds(delta).lower)
