"""`membership_attack`: infer from generated images alone which records were trained on.

A record's score is minus the distance to the nearest generated image (Chen et al. 2020, arXiv 1909.03935, the
black-box attack). What counts is the share of members that are found when nearly nobody is accused wrongly (Carlini et
al. 2022, arXiv 2112.03570), not the area under the curve. A weak result proves nothing: stronger attacks exist.

    >>> rng = np.random.default_rng(0)
    >>> members, others = rng.normal(size=(2, 200, 8))
    >>> membership_attack(members, others, generated=members + 1e-3).true_positive_rate(0.001)
    1.0
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privgen.attacks.bound import clopper_pearson
from privgen.errors import EvaluationError

# Of each kind: their distances to ten thousand images take some seconds.
MOST_RECORDS, GENERATED = 5_000, 10_000
RATES = (0.001, 0.01, 0.1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Roc:
    """What an attack finds at each threshold. It is computed from real records: private, unless these are public.

    Args:
        false_positive: shares of the others that are accused, non-decreasing. true_positive: shares of the members
            that are found.
        area: under the curve; 0.5 is guessing.
    """

    false_positive: NDArray[np.float64]
    true_positive: NDArray[np.float64]
    area: float

    def true_positive_rate(self, most: float) -> float:
        """The share of members that are found when at most the share `most` of the others is accused, in [0, 1]."""
        return float(self.true_positive[self.false_positive <= most].max())


@dataclass(frozen=True, kw_only=True, slots=True)
class Membership:
    """Membership inference against one generator.

    Args:
        what: the two groups. members, others, generated: counts. roc: the result. seconds: the time taken.
        private: whether it is computed from real records, as a statistic that nothing protects.
    """

    what: str
    members: int
    others: int
    generated: int
    roc: Roc
    seconds: float
    private: bool

    def bounds(self, most: float, *, confidence: float) -> tuple[float, float]:
        """Clopper–Pearson bounds on the true-positive rate at that threshold; both hold with this confidence."""
        found = np.array([round(self.roc.true_positive_rate(most) * self.members)])
        low, high = clopper_pearson(found, self.members, error=(1 - confidence) / 2)
        return float(low[0]), float(high[0])

    def to_json(self) -> dict[str, Any]:
        """As JSON, including the whole curve."""
        return {
            "what": self.what,
            "members": self.members,
            "others": self.others,
            "generated": self.generated,
            "area": self.roc.area,
            "true_positive_rate": {f"{rate:g}": self.roc.true_positive_rate(rate) for rate in RATES},
            "roc": {
                "false_positive": self.roc.false_positive.tolist(),
                "true_positive": self.roc.true_positive.tolist(),
            },
            "private": self.private,
            "seconds": round(self.seconds, 2),
        }


def membership_of(
    what: str,
    members: NDArray[np.uint8],
    others: NDArray[np.uint8],
    *,
    generator: Callable[..., NDArray[np.uint8]],
    private: bool,
    seed: int | None = None,
    most: int = MOST_RECORDS,
    generated: int = GENERATED,
) -> Membership:
    """Attack a run's generator through its images.

    Args:
        what: a description of the two groups. members: (n, H, W, C) that were trained on. others: that were not, from
            the same source; of each, at most `most` are chosen at random. generator: by `load_generator`.
        private: whether members and others are real records. seed: of the choice and of the images, or None for
            fresh randomness. generated: number of images to generate, >= 1.

    Raises:
        EvaluationError: nothing to compare, or images of a shape that differs from the generator's.
    """
    begun = time.perf_counter()
    chosen = np.random.default_rng(seed)
    members, others = (
        group[chosen.permutation(len(group))[:most]]  # by rows, because they may be on disk
        for group in (members, others)
    )
    images = generator(generated, seed=seed)
    roc = membership_attack(members, others, generated=images)
    return Membership(
        what=what,
        members=len(members),
        others=len(others),
        generated=generated,
        roc=roc,
        seconds=time.perf_counter() - begun,
        private=private,
    )


def membership_attack(
    members: NDArray[np.generic], others: NDArray[np.generic], *, generated: NDArray[np.generic]
) -> Roc:
    """Distinguish members from others by their distance to the generated images.

    Args:
        members: (n, ...) records that were trained on. others: (m, ...) that were not, from the same source; thousands
            are needed for a false-positive rate of 0.001. generated: (k, ...) images, on the same scale.

    Raises:
        EvaluationError: nothing to compare, or shapes that do not fit.
    """
    shapes = {array.shape[1:] for array in (members, others, generated)}
    if len(shapes) != 1 or not (len(members) and len(others) and len(generated)):
        raise EvaluationError(f"Expected records and images of one shape, at least one of each, got {sorted(shapes)}.")
    # Imported here because each takes a second, and reports of a result need neither.
    from sklearn.metrics import auc, roc_curve

    from privgen.metrics.neighbours import nearest

    images = _rows(generated)
    scores = np.concatenate([-nearest(_rows(group), images).distances for group in (members, others)])
    truth = np.concatenate([np.ones(len(members)), np.zeros(len(others))])
    false_positive, true_positive, _ = roc_curve(truth, scores, drop_intermediate=False)
    return Roc(
        false_positive=false_positive, true_positive=true_positive, area=float(auc(false_positive, true_positive))
    )


def _rows(images: NDArray[np.generic]) -> NDArray[np.float32]:
    return images.reshape(len(images), -1).astype(np.float32)
