"""Fréchet and kernel distance between two sets of features.

    FID = ‖μ1 − μ2‖² + tr(Σ1 + Σ2 − 2 (Σ1 Σ2)^½)                  Heusel et al. 2017 (1706.08500v6), equation 6
    KID = MMD² with k(x, y) = (x·y / d + 1)³, unbiased            Bińkowski et al. 2018 (1801.01401v5), section 4

The trace of the root is the sum of the roots of the eigenvalues of Σ1^½ Σ2 Σ1^½, which is symmetric and positive:
it stays accurate when a covariance is singular, where the root of the product Σ1 Σ2 may not even be real.

>>> rows = np.random.default_rng(0).normal(size=(500, 4))
>>> one, other = gaussian_statistics([rows]), gaussian_statistics([rows + 2.0])
>>> round(frechet_distance(one, one), 6), round(frechet_distance(one, other), 6)
(0.0, 16.0)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from privgen.errors import EvaluationError


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GaussianStatistics:
    """What FID needs of a set of features.

    Args:
        count: rows seen, >= 2. mean: (d,) float64. covariance: (d, d) float64, divided by count − 1.

    Raises:
        EvaluationError: too few rows, shapes that do not fit, or a number that is not finite.
    """

    count: int
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.count < 2:
            raise EvaluationError(f"Expected features of at least 2 images, got {self.count}; make more.")
        if self.mean.ndim != 1 or self.covariance.shape != (len(self.mean),) * 2:
            raise EvaluationError(
                f"Expected mean (d,) and covariance (d, d), got {self.mean.shape} and {self.covariance.shape}."
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.covariance).all()):
            raise EvaluationError("Expected finite features, got NaN or infinity; look at the images they come from.")


def gaussian_statistics(chunks: Iterable[NDArray[np.floating]]) -> GaussianStatistics:
    """Mean and covariance of rows that arrive in chunks, in float64, with no more than one chunk in memory.

    Chunks are merged by the pairwise update of Chan, Golub & LeVeque 1983, which does not cancel when the mean is
    large compared with the spread.

    Args:
        chunks: arrays (n_i, d) of any floating type.

    Raises:
        EvaluationError: fewer than two rows, or rows of different widths.
    """
    count, mean, scatter = 0, np.zeros(0), np.zeros((0, 0))
    for chunk in chunks:
        rows = np.asarray(chunk, dtype=np.float64)  # (n, d)
        if rows.ndim != 2 or (count and rows.shape[1] != len(mean)):
            raise EvaluationError(f"Expected features (n, {len(mean) if count else 'd'}), got {rows.shape}.")
        if not len(rows):
            continue
        chunk_mean = rows.mean(0)
        centred = rows - chunk_mean
        if not count:
            count, mean, scatter = len(rows), chunk_mean, centred.T @ centred
            continue
        total, apart = count + len(rows), chunk_mean - mean
        scatter = scatter + centred.T @ centred + np.outer(apart, apart) * (count * len(rows) / total)
        mean = mean + apart * (len(rows) / total)
        count = total
    return GaussianStatistics(count=count, mean=mean, covariance=scatter / max(count - 1, 1))


def frechet_distance(one: GaussianStatistics, other: GaussianStatistics) -> float:
    """FID of two sets' statistics; 0 when they are equal.

    Raises:
        EvaluationError: they come from different extractors.
    """
    if one.mean.shape != other.mean.shape:
        raise EvaluationError(
            f"Expected statistics by one extractor, got {len(one.mean)} and {len(other.mean)} features."
        )
    apart = one.mean - other.mean
    cross = _trace_of_root(one, other)
    value = apart @ apart + np.trace(one.covariance) + np.trace(other.covariance) - 2 * cross
    # A distance: anything below zero is rounding.
    return max(0.0, float(value))


def _trace_of_root(one: GaussianStatistics, other: GaussianStatistics) -> float:
    """tr (Σ1 Σ2)^½. Of fewer images than features a covariance is F·Fᵀ with few columns, and FᵀΣF is as small."""
    few, many = sorted((one, other), key=lambda found: found.count)
    if few.count < len(few.mean):
        factor = _factor(few.covariance, few.count - 1)  # (d, n − 1)
        inner = factor.T @ many.covariance @ factor
    else:
        root = _root(few.covariance)
        inner = root @ many.covariance @ root
    eigenvalues = scipy.linalg.eigvalsh((inner + inner.T) / 2)
    return float(np.sqrt(np.clip(eigenvalues, 0, None)).sum())


def _factor(covariance: NDArray[np.float64], rank: int) -> NDArray[np.float64]:
    """F (d, rank) with F·Fᵀ the covariance, by its largest eigenvalues."""
    d = len(covariance)
    eigenvalues, vectors = scipy.linalg.eigh(
        (covariance + covariance.T) / 2, subset_by_index=(max(0, d - rank), d - 1), driver="evr"
    )
    factor: NDArray[np.float64] = vectors * np.sqrt(np.clip(eigenvalues, 0, None))
    return factor


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The positive root of a symmetric positive matrix; eigenvalues that rounding made negative count as 0."""
    eigenvalues, vectors = scipy.linalg.eigh((covariance + covariance.T) / 2)
    root: NDArray[np.float64] = (vectors * np.sqrt(np.clip(eigenvalues, 0, None))) @ vectors.T
    return root


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelDistance:
    """KID: mean and standard deviation over `subsets` subsets of `subset_size` images each."""

    mean: float
    std: float
    subsets: int
    subset_size: int


def kernel_distance(
    one: NDArray[np.floating],
    other: NDArray[np.floating],
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> KernelDistance:
    """KID with the cubic polynomial kernel. It may be slightly negative for very similar sets.

    Args:
        one, other: (n, d) and (m, d) features.
        subsets: >= 1. subset_size: >= 2; at most n and m. seed: of the subsets.

    Raises:
        EvaluationError: the widths differ, or there are fewer than two rows.
    """
    size = min(subset_size, len(one), len(other))
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1]:
        raise EvaluationError(f"Expected features (n, d) and (m, d) by one extractor, got {one.shape}, {other.shape}.")
    if size < 2 or subsets < 1:
        raise EvaluationError(f"Expected at least 1 subset of 2 images, got {subsets} of {size}; make more images.")
    random = np.random.default_rng(seed)
    values = np.empty(subsets)
    for index in range(subsets):
        x = one[random.choice(len(one), size, replace=False)].astype(np.float64)
        y = other[random.choice(len(other), size, replace=False)].astype(np.float64)
        values[index] = _mmd2(x, y)
    return KernelDistance(mean=float(values.mean()), std=float(values.std()), subsets=subsets, subset_size=size)


def _mmd2(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    n = len(x)
    within = sum((kernel.sum() - np.trace(kernel)) for kernel in (_cubic(x, x), _cubic(y, y)))
    return float(within / (n * (n - 1)) - 2 * _cubic(x, y).mean())


def _cubic(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    base: NDArray[np.float64] = x @ y.T / x.shape[1] + 1.0
    return base * base * base
