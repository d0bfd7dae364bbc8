"""Inception Score: how sure a classifier is of each image, and how many classes it finds in all of them.

    IS = exp( mean over images of KL( p(y|x) ‖ p(y) ) )       Salimans et al. 2016 (1606.03498v1), section 4

It ranges from 1 (one class, or never sure) to the number of classes (always sure, and all classes equally often).
A score by Inception's 1 008 outputs and one by a classifier of ten classes are not comparable: `classifier` says which
it was.

>>> round(inception_score(np.eye(10)[np.arange(1000) % 10], classifier="perfect").mean, 6)
10.0
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privgen.errors import EvaluationError

_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class InceptionScore:
    """Mean and standard deviation over `splits`; `classifier`: whose probabilities; `classes`: the highest score."""

    mean: float
    std: float
    splits: int
    classifier: str
    classes: int


def inception_score(
    probabilities: NDArray[np.floating], *, classifier: str, splits: int = 10, seed: int | None = None
) -> InceptionScore:
    """IS from class probabilities.

    Args:
        probabilities: (n, classes), each row from 0 to 1 with sum 1.
        classifier: the name of the classifier that gave them, kept with the number.
        splits: >= 1 and at most n; each has a score. seed: of the order in which images are assigned to the splits;
            None keeps the given order, which is wrong for images that are sorted by class.

    Raises:
        EvaluationError: the rows are not probabilities, or there are fewer images than splits.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or not 1 <= splits <= len(p):
        raise EvaluationError(
            f"Expected probabilities (n, classes) with n >= splits={splits} >= 1, got {p.shape}; make more images."
        )
    # Written so that NaN is refused too.
    if not (p.min() >= 0 and (np.abs(p.sum(1) - 1) <= _SUM_TOLERANCE).all()):
        raise EvaluationError("Expected rows of probabilities that sum to 1, got others; apply a softmax first.")
    if seed is not None:
        p = p[np.random.default_rng(seed).permutation(len(p))]
    scores = [_score(part) for part in np.array_split(p, splits)]
    return InceptionScore(
        mean=float(np.mean(scores)),
        std=float(np.std(scores)),
        splits=splits,
        classifier=classifier,
        classes=p.shape[1],
    )


def _score(p: NDArray[np.float64]) -> float:
    marginal = p.mean(0)  # (classes,)
    # 0 · log 0 is 0; where the marginal is 0, so is every p.
    ratio = np.divide(p, marginal, out=np.ones_like(p), where=p > 0)
    return float(np.exp((p * np.log(ratio)).sum(1).mean()))
