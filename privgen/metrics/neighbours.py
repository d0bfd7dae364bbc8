"""Nearest neighbours in a feature space: how diverse generated images are, and whether they copy training images.

The ball of an image reaches to its k-th nearest neighbour in the same set.

    precision = share of generated images in some real image's ball       Kynkäänniemi et al. 2019 (1904.06991v3)
    recall    = share of real images in some generated image's ball
    density   = mean number of real balls a generated image is in, by k   Naeem et al. 2020 (2002.09797v2)
    coverage  = share of real balls that hold a generated image

Copying is sought by comparing the distance from each generated image to its nearest training image with the same
distances of held-out real images, which show how near a fresh image comes. A small distance is only a hint. What
bounds copying is the privacy guarantee.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from privgen.data.mapped import Images
from privgen.errors import EvaluationError

# Distances in memory at a time: few enough that the allocator reuses the same pages.
_BLOCK = 3_000_000
Progress = Callable[[int, int], object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifold:
    """Precision and recall with k = `k_precision`, density and coverage with k = `k_coverage`; counts of images."""

    precision: float
    recall: float
    density: float
    coverage: float
    k_precision: int
    k_coverage: int
    real: int
    generated: int


def manifold(
    real: NDArray[np.floating],
    generated: NDArray[np.floating],
    *,
    k_precision: int = 3,
    k_coverage: int = 5,
    progress: Progress = lambda done, total: None,
) -> Manifold:
    """Precision, recall, density and coverage. They depend on the counts: compare them only for equal counts.

    Args:
        real, generated: (n, d) and (m, d) features, with more rows than the larger k.
        k_precision, k_coverage: neighbours, >= 1; the papers' values by default.
        progress: called with the rows of distances done and planned.

    Raises:
        EvaluationError: too few rows, or different widths.
    """
    most = max(k_precision, k_coverage)
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1]:
        raise EvaluationError(f"Expected features by one extractor, got {real.shape} and {generated.shape}.")
    if min(len(real), len(generated)) <= most or min(k_precision, k_coverage) < 1:
        raise EvaluationError(f"Expected more than k={most} images of each kind, got {len(real)}, {len(generated)}.")
    centre = real.mean(0, dtype=np.float64)  # so that less cancels
    x, y = (torch.from_numpy(f - centre) for f in (real, generated))
    slack = _rounding(x, y)
    total = 2 * len(x) + len(y)
    radii_x = _radii(x, most, lambda done: progress(done, total))  # (n, most) squared
    radii_y = _radii(y, k_precision, lambda done: progress(len(x) + done, total))
    for_precision, for_coverage = radii_x[:, k_precision - 1], radii_x[:, k_coverage - 1]
    in_real, balls = torch.zeros(len(y), dtype=torch.bool), torch.zeros(len(y))
    recalled, covered = 0, 0
    for rows in _blocks(len(x), len(y)):
        # Where images are repeated a radius is 0, and rounding must not put a copy outside its own ball.
        apart = _squared(x[rows], y) - slack  # (rows, m)
        in_real |= (apart <= for_precision[rows, None]).any(0)
        inside = apart <= for_coverage[rows, None]
        balls += inside.sum(0)
        covered += int(inside.any(1).sum())
        recalled += int((apart <= radii_y[:, -1]).any(1).sum())
        progress(len(x) + len(y) + rows.stop, total)
    return Manifold(
        precision=float(in_real.double().mean()),
        recall=recalled / len(x),
        density=float(balls.mean()) / k_coverage,
        coverage=covered / len(x),
        k_precision=k_precision,
        k_coverage=k_coverage,
        real=len(x),
        generated=len(y),
    )


def _rounding(x: torch.Tensor, y: torch.Tensor) -> float:
    """Above twice the error of a squared distance, which is at most (d + 3)·2⁻⁵³·(‖x‖ + ‖y‖)² to first order."""
    longest = max(float((rows * rows).sum(1).max()) for rows in (x, y))
    return 2 * (x.shape[1] + 8) * 2.0**-53 * 4 * longest


def _radii(x: torch.Tensor, most: int, progress: Callable[[int], object]) -> torch.Tensor:
    """(n, most) squared distances to the 1st to `most`-th neighbour, not counting the point itself."""
    found = []
    for rows in _blocks(len(x), len(x)):
        apart = _squared(x[rows], x)
        apart.diagonal(rows.start).fill_(torch.inf)
        found.append(apart.topk(most, dim=1, largest=False).values)
        progress(rows.stop)
    return torch.cat(found)


def _blocks(count: int, width: int) -> Iterator[slice]:
    """Rows of a (count, width) matrix of distances, a block at a time."""
    size = max(1, _BLOCK // width)
    return (slice(at, min(at + size, count)) for at in range(0, count, size))


def _squared(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(n, m) squared distances."""
    apart = torch.addmm((y * y).sum(1), x, y.T, alpha=-2)
    return apart.add_((x * x).sum(1)[:, None]).clamp_(min=0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Nearest:
    """distances: (n,) float64 to the nearest row of the base; indices: (n,) which one that is."""

    distances: NDArray[np.float64]
    indices: NDArray[np.int64]


def nearest(
    queries: NDArray[np.floating], base: NDArray[np.floating], *, progress: Progress = lambda done, total: None
) -> Nearest:
    """The nearest row of `base` for each of `queries`.

    The search is in float32, the distance that is returned in float64: a copy is at 0, not at a rounding error.

    Args:
        queries, base: (n, d) and (m, d) features. progress: called with the queries done and planned.

    Raises:
        EvaluationError: an empty set, or different widths.
    """
    if queries.ndim != 2 or base.ndim != 2 or queries.shape[1] != base.shape[1] or not len(queries) or not len(base):
        raise EvaluationError(f"Expected features of images by one extractor, got {queries.shape} and {base.shape}.")
    centre = base.mean(0, dtype=np.float64)  # so that less cancels
    y = torch.from_numpy((base - centre).astype(np.float32))
    norms = (y * y).sum(1)
    distances, indices = [], []
    for block in _blocks(len(queries), len(base)):
        rows = queries[block]
        x = torch.from_numpy((rows - centre).astype(np.float32))
        found = torch.addmm(norms, x, y.T, alpha=-2).argmin(1).numpy()  # ‖x‖² is the same for all
        distances.append(np.linalg.norm(rows.astype(np.float64) - base[found].astype(np.float64), axis=1))
        indices.append(found)
        progress(block.stop, len(queries))
    return Nearest(distances=np.concatenate(distances), indices=np.concatenate(indices))


@dataclass(frozen=True, kw_only=True, slots=True)
class Copying:
    """How near generated images are to training images, compared with held-out real images.

    Args:
        generated_median, held_out_median: distance to the nearest training image.
        nearer_than_held_out: probability that a generated image is nearer than a held-out one, ties counted half;
            0.5 for fresh real images, and more for images that are merely smoother than real ones.
        below_first_percent: share of generated images that are nearer than the nearest 1 % of held-out ones; 0.01 for
            fresh real images.
        identical, held_out_identical: images that equal a training image pixel for pixel.
        generated, held_out, training: how many images.
    """

    generated_median: float
    held_out_median: float
    nearer_than_held_out: float
    below_first_percent: float
    identical: int
    held_out_identical: int
    generated: int
    held_out: int
    training: int


def copying(
    generated: Nearest, held_out: Nearest, *, images: NDArray[np.uint8], others: NDArray[np.uint8], training: Images
) -> Copying:
    """Compare two sets' distances to the training images.

    Args:
        generated, held_out: by `nearest` in the training images' features.
        images, others: the generated and the held-out images. training: the training images; all (n, H, W, C) uint8.
    """
    ordered = np.sort(held_out.distances)
    below = np.searchsorted(ordered, generated.distances, side="left")
    at_most = np.searchsorted(ordered, generated.distances, side="right")
    known = {training[row].tobytes() for row in range(len(training))}
    return Copying(
        generated_median=float(np.median(generated.distances)),
        held_out_median=float(np.median(ordered)),
        nearer_than_held_out=float(1 - (below + at_most).mean() / (2 * len(ordered))),
        below_first_percent=float((generated.distances < np.quantile(ordered, 0.01)).mean()),
        identical=sum(image.tobytes() in known for image in images),
        held_out_identical=sum(image.tobytes() in known for image in others),
        generated=len(images),
        held_out=len(others),
        training=len(training),
    )


def closest_pairs(found: Nearest, images: NDArray[np.uint8], training: Images, *, pairs: int = 40) -> NDArray[np.uint8]:
    """(2 · pairs, H, W, C): the generated images that are nearest to a training image, each followed by that image."""
    order = np.argsort(found.distances, kind="stable")[:pairs]
    both = np.stack([images[order], training[found.indices[order]]], axis=1)  # (pairs, 2, H, W, C)
    return both.reshape(-1, *images.shape[1:])
