"""The statistics of a warm start: what is summed over all records, and what is made of the noised sums.

    means → rounds of clusters → covariances                              (accountant.plans.warm_start has the releases)

Records are the low frequencies of an image's cosine transform, scaled so that an image's length is the root mean square
of its pixels in [0, 1]: a fixed map. Only `sums_of` reads records. All else works on what was released, and is free.

    >>> u = extended(torch.full((1, 4), 9.0, dtype=torch.float64), clip_norm=2.0)
    >>> bool(u.norm() <= 2), u.shape[1]
    (True, 5)

Guarantees: adding or removing one record changes `sums_of` by a vector of L2 norm at most the release's sensitivity:
the record's class and its nearest centre, given the centres, put it into one block, with ‖u‖ ≤ C and ‖u uᵀ‖ ≤ C².
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from accountant.plans.warm_start import WarmRelease, WarmStart
from privgen.mechanism.error_feedback import banded_weights
from privgen.methods.class_mixture.mixture import ClassMixture, cosine_basis

# The constant that counts, as a part of the clip norm: one record's count is noised by z / it.
_COUNTING = 0.25
_CHUNK = 4096
# Where clusters begin: this far from the class's mean in the lowest frequency, less in higher ones.
_SPREAD, _FALL = 0.032, 4.0


def encoded(images: NDArray[np.uint8], frequencies: int) -> Tensor:
    """uint8 (n, H, W, C) → (n, C·F²) float64, no longer than the root mean square of the pixels in [0, 1]."""
    basis = cosine_basis(images.shape[1], frequencies)
    pixels = torch.tensor(images).permute(0, 3, 1, 2).double() / 255  # copied: files are mapped read-only
    return (basis @ pixels @ basis.T).flatten(1) / math.sqrt(math.prod(images.shape[1:]))


def extended(vectors: Tensor, clip_norm: float) -> Tensor:
    """(n, d) → (n, d + 1): with the counting constant, scaled down to a length of at most the clip norm."""
    constant = torch.full((len(vectors), 1), _COUNTING * clip_norm, dtype=vectors.dtype)
    whole = torch.cat([vectors, constant], 1)
    weights, _ = banded_weights(torch.linalg.vector_norm(whole, dim=1), clip_norm=clip_norm, residual_clip_norm=0.0)
    return whole * weights[:, None]


def nearest(vectors: Tensor, labels: Tensor, centres: Tensor) -> Tensor:
    """(n,) the nearest of each class's centres (classes, clusters, d); depends on the record and the centres alone."""
    own = centres[labels]  # (n, clusters, d)
    return (own.square().sum(2) - 2 * (own @ vectors[:, :, None])[:, :, 0]).argmin(1)


def sums_of(
    release: WarmRelease, mixture: ClassMixture, images: NDArray[np.uint8], labels: NDArray[np.int64]
) -> Tensor:
    """The sums of one release over all records, before noise. The only function here that reads records.

    Args:
        images: (N, H, W, C) uint8. labels: (N,).

    Returns:
        float64: means (classes, 1, d + 1), clusters (classes, clusters, d + 1), covariances
        (classes, clusters, (d + 1)(d + 2)/2) as `packed`.
    """
    centres = mixture.centres.double().cpu()
    classes, clusters, length = centres.shape
    if release.kind == "means":
        clusters, centres = 1, torch.zeros(classes, 1, length, dtype=torch.float64)
    matrices = release.kind == "covariances"
    shape = (classes, clusters, length + 1, length + 1) if matrices else (classes, clusters, length + 1)
    total = torch.zeros(shape, dtype=torch.float64)
    for vectors, y in _chunks(images, labels, mixture.frequencies):
        k = nearest(vectors, y, centres)
        u = extended(vectors - centres[y, k], release.clip_norm)
        if matrices:
            for block in torch.unique(y * clusters + k).tolist():
                rows = u[y * clusters + k == block]
                total[block // clusters, block % clusters] += rows.T @ rows
        else:
            total.index_put_((y, k), u, accumulate=True)
    return packed(total) if matrices else total


def _chunks(images: NDArray[np.uint8], labels: NDArray[np.int64], frequencies: int) -> Iterator[tuple[Tensor, Tensor]]:
    for at in range(0, len(labels), _CHUNK):
        rows = slice(at, at + _CHUNK)
        yield encoded(images[rows], frequencies), torch.tensor(labels[rows])


def packed(matrices: Tensor) -> Tensor:
    """Symmetric (..., m, m) → (..., m(m + 1)/2) of the same L2 norm: numbers off the diagonal stand once, times √2."""
    row, column = torch.triu_indices(matrices.shape[-1], matrices.shape[-1])
    return matrices[..., row, column] * torch.where(row == column, 1.0, math.sqrt(2.0)).to(matrices)


def unpacked(vectors: Tensor, size: int) -> Tensor:
    """The inverse of `packed`."""
    row, column = torch.triu_indices(size, size)
    values = vectors / torch.where(row == column, 1.0, math.sqrt(2.0)).to(vectors)
    matrices = torch.zeros(*vectors.shape[:-1], size, size, dtype=vectors.dtype)
    matrices[..., row, column] = values
    matrices[..., column, row] = values
    return matrices


def take_up(start: WarmStart, step: int, mixture: ClassMixture, noised: Tensor, source: torch.Generator) -> None:
    """Put release number `step` into the mixture. Post-processing: reads what was released, and random numbers.

    Args:
        noised: as `sums_of` gives it, with noise. source: of where clusters begin.
    """
    release = start.release_at(step)
    if release.kind == "means":
        _take_means(release, mixture, noised, source)
    elif release.kind == "clusters":
        _take_clusters(release, mixture, noised, source)
    else:
        _take_covariances(start, release, mixture, noised)


def _counts(release: WarmRelease, sums: Tensor) -> Tensor:
    """Weighted counts (classes, clusters), at least 1, from the last number of each block."""
    return (sums[..., -1] / (_COUNTING * release.clip_norm)).clamp_min(1.0)


def _offsets(mixture: ClassMixture, source: torch.Generator) -> Tensor:
    """(classes, clusters, d): random, smooth, of a size that needs no data."""
    rise = torch.arange(mixture.frequencies, dtype=torch.float64)
    fall = torch.exp(-(rise[:, None] + rise) / _FALL).flatten().repeat(mixture.channels)
    shape = mixture.centres.shape
    return (
        _SPREAD
        / math.sqrt(mixture.channels)
        * fall
        * torch.randn(shape, dtype=torch.float64, generator=source, device=source.device).cpu()
    )


def _take_means(release: WarmRelease, mixture: ClassMixture, noised: Tensor, source: torch.Generator) -> None:
    means = noised[..., :-1] / _counts(release, noised)[..., None]  # (classes, 1, d)
    clusters = mixture.centres.shape[1]
    mixture.centres.copy_(means + (_offsets(mixture, source) if clusters > 1 else 0.0))


def _take_clusters(release: WarmRelease, mixture: ClassMixture, noised: Tensor, source: torch.Generator) -> None:
    """One round: centres move to their records' means; one that found too few starts anew beside the largest."""
    counts = _counts(release, noised)
    enough = counts > 3 * release.noise_multiplier / _COUNTING
    centres = mixture.centres.double().cpu()
    moved = centres + noised[..., :-1] / counts[..., None]
    largest = moved[torch.arange(len(counts)), counts.argmax(1)]  # (classes, d)
    mixture.centres.copy_(torch.where(enough[..., None], moved, largest[:, None] + _offsets(mixture, source)))
    mixture.weights.copy_(torch.where(enough, counts, 1.0) / torch.where(enough, counts, 1.0).sum(1, keepdim=True))


def _take_covariances(start: WarmStart, release: WarmRelease, mixture: ClassMixture, noised: Tensor) -> None:
    """Centres once more, and of each covariance what stands above the noise; across that, all clusters' together."""
    classes, clusters, length = mixture.centres.shape
    matrices = unpacked(noised, length + 1)
    counts = (matrices[..., -1, -1] / (_COUNTING * release.clip_norm) ** 2).clamp_min(1.0)  # (classes, clusters)
    std = release.noise_multiplier * release.sensitivity
    total = counts.sum()
    pooled = _above_noise(matrices[..., :-1, :-1].sum((0, 1)) / total, std * math.sqrt(counts.numel()) / float(total))
    for y in range(classes):
        for k in range(clusters):
            own = matrices[y, k, :-1, :-1] / counts[y, k]
            covariance = _with_rest(own, std / float(counts[y, k]), pooled)
            mixture.factors[y, k].copy_(_factor(covariance, mixture.factors.shape[3]))
    weights = torch.where(counts > 3 * release.noise_multiplier / _COUNTING**2, counts, 1.0)
    mixture.weights.copy_(weights / weights.sum(1, keepdim=True))
    mixture.centres.copy_(_settled(start, release, mixture.centres.double().cpu(), matrices, counts))


def _settled(start: WarmStart, release: WarmRelease, centres: Tensor, matrices: Tensor, counts: Tensor) -> Tensor:
    """Centres moved by what the last release says of them, and drawn together where noise sets them apart.

    Both are means weighted by the noise: that of a centre, that of the move, and, over a class's centres, how far they
    differ in each frequency beyond noise (an empirical Bayes shrinkage).
    """
    before = start.releases()[-2]
    of_centre = before.noise_multiplier * before.clip_norm  # ÷ count: std of each number
    of_move = release.noise_multiplier * release.clip_norm / (_COUNTING * math.sqrt(2))
    trusted = of_centre**2 / (of_centre**2 + of_move**2) if start.rounds or centres.shape[1] == 1 else 1.0
    moves = matrices[..., :-1, -1] / (_COUNTING * release.clip_norm * counts[..., None])
    centres = centres + trusted * moves
    if centres.shape[1] == 1:
        return centres
    weights = counts[..., None] / counts.sum(1)[:, None, None]
    middle = (weights * centres).sum(1, keepdim=True)  # (classes, 1, d)
    noise = trusted * of_move**2 / counts[..., None].square()  # variance that the weighted mean is left with
    apart = (weights * ((centres - middle).square() - noise)).sum((0, 1)) / len(centres)  # (d,)
    apart = apart.clamp_min(1e-30)
    return middle + (centres - middle) * (apart / (apart + noise))


def _edge(size: int, std: float) -> float:
    """Where the spectrum of pure noise ends: a symmetric matrix of std on, and std/√2 off, the diagonal."""
    return std * math.sqrt(2 * size)


def _above_noise(matrix: Tensor, std: float) -> Tensor:
    """The part of a noised matrix whose eigenvalues no noise explains, each set back by what noise adds to it.

    A spike ℓ shows as λ = ℓ + (edge/2)²/ℓ (Benaych-Georges & Nadakuditi 2011, arXiv 0910.2120), hence the root.
    """
    values, vectors = torch.linalg.eigh(matrix)
    edge = _edge(len(matrix), std)
    kept = values > edge
    values = (values + (values.square() - edge**2).clamp_min(0).sqrt()) / 2
    return (vectors[:, kept] * values[kept]) @ vectors[:, kept].T


def _with_rest(own: Tensor, std: float, pooled: Tensor) -> Tensor:
    """A cluster's own directions where they stand above the noise, and the pooled covariance across them."""
    signal = _above_noise(own, std)
    values, vectors = torch.linalg.eigh(signal)
    known = vectors[:, values > 1e-12]
    across = torch.eye(len(own), dtype=own.dtype) - known @ known.T
    return signal + across @ pooled @ across


def _factor(covariance: Tensor, rank: int) -> Tensor:
    """(d, rank) with factor · factorᵀ the best approximation of that rank."""
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values[-rank:].clamp_min(0).flip(0), vectors[:, -rank:].flip(1)
    factor = torch.zeros(len(covariance), rank, dtype=covariance.dtype)
    factor[:, : len(values)] = vectors * values.sqrt()
    return factor
