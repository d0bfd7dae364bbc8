"""`membership_attack`: who was trained on, told from generated images alone.

A record's score is minus the distance to the nearest generated image (Chen et al. 2020, arXiv 1909.03935, the
black-box attack). What counts is the share of members found where nearly nobody is accused wrongly (Carlini et al.
2022, arXiv 2112.03570), not the area under the curve. A weak result proves nothing: stronger attacks exist.

    >>> rng = np.random.default_rng(0)
    >>> members, others = rng.normal(size=(2, 200, 8))
    >>> membership_attack(members, others, generated=members + 1e-3).true_positive_rate(0.001)
    1.0
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privgen.errors import EvaluationError


@dataclass(frozen=True, kw_only=True, slots=True)
class Roc:
    """What an attack finds at each threshold. It is made of real records: private, unless these are public.

    Args:
        false_positive: shares of the others that are accused, not decreasing. true_positive: of the members found.
        area: under the curve; 0.5 is guessing.
    """

    false_positive: NDArray[np.float64]
    true_positive: NDArray[np.float64]
    area: float

    def true_positive_rate(self, most: float) -> float:
        """The share of members found where at most the share `most` of the others is accused, in [0, 1]."""
        return float(self.true_positive[self.false_positive <= most].max())


def membership_attack(
    members: NDArray[np.generic], others: NDArray[np.generic], *, generated: NDArray[np.generic]
) -> Roc:
    """Tell members from others by their distance to what was generated.

    Args:
        members: (n, ...) records that were trained on. others: (m, ...) that were not, from the same source; to speak
            of a rate of 0.001 there should be thousands. generated: (k, ...) images, on the same scale.

    Raises:
        EvaluationError: nothing to compare, or shapes that do not fit.
    """
    shapes = {array.shape[1:] for array in (members, others, generated)}
    if len(shapes) != 1 or not (len(members) and len(others) and len(generated)):
        raise EvaluationError(f"Expected records and images of one shape, at least one of each, got {sorted(shapes)}.")
    # Loaded here, as everywhere: it takes a second.
    from sklearn.metrics import auc, roc_curve

    scores = np.concatenate([-_nearest(group, generated) for group in (members, others)])
    truth = np.concatenate([np.ones(len(members)), np.zeros(len(others))])
    false_positive, true_positive, _ = roc_curve(truth, scores, drop_intermediate=False)
    return Roc(
        false_positive=false_positive, true_positive=true_positive, area=float(auc(false_positive, true_positive))
    )


def _nearest(records: NDArray[np.generic], generated: NDArray[np.generic]) -> NDArray[np.float64]:
    """(n,) Euclidean distance to the nearest generated image."""
    from sklearn.neighbors import NearestNeighbors

    rows, images = (array.reshape(len(array), -1).astype(np.float64) for array in (records, generated))
    return NearestNeighbors(n_neighbors=1, algorithm="brute").fit(images).kneighbors(rows)[0][:, 0]
