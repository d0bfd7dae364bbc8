"""What a warm start without components makes of its noised statistics: centres, weights, covariances in each class.

Post-processing: everything here reads what was released, public settings, and random numbers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from accountant.plans.warm_start import WarmRelease, WarmStart
from privgen.methods.class_mixture.class_sums import COUNTING
from privgen.methods.class_mixture.mixture import ClassMixture

# Where clusters begin: this far from the class's mean in the lowest frequency, less in higher ones.
_SPREAD, _FALL = 0.032, 4.0


def update_mixture(start: WarmStart, step: int, mixture: ClassMixture, noised: Tensor, source: torch.Generator) -> None:
    """Put release number `step` into the mixture. Post-processing: reads what was released, and random numbers.

    Args:
        noised: as `class_sums.as_sums` gives it. source: of where clusters begin.
    """
    release = start.release_at(step)
    if release.kind == "means":
        _take_means(release, mixture, noised, source)
    elif release.kind == "clusters":
        _take_clusters(release, mixture, noised, source)
    else:
        _take_covariances(start, release, mixture, noised)


def counts_of(release: WarmRelease, sums: Tensor) -> Tensor:
    """Weighted counts (classes, clusters), at least 1, from the last number of each block."""
    return (sums[..., -1] / (COUNTING * release.clip_norm)).clamp_min(1.0)


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
    means = noised[..., :-1] / counts_of(release, noised)[..., None]  # (classes, 1, d)
    clusters = mixture.centres.shape[1]
    mixture.centres.copy_(means + (_offsets(mixture, source) if clusters > 1 else 0.0))


def _take_clusters(release: WarmRelease, mixture: ClassMixture, noised: Tensor, source: torch.Generator) -> None:
    """One round: centres move to their records' means; one that found too few starts anew beside the largest."""
    counts = counts_of(release, noised)
    enough = counts > 3 * release.noise_multiplier / COUNTING
    centres = mixture.centres.double().cpu()
    moved = centres + noised[..., :-1] / counts[..., None]
    largest = moved[torch.arange(len(counts)), counts.argmax(1)]  # (classes, d)
    mixture.centres.copy_(torch.where(enough[..., None], moved, largest[:, None] + _offsets(mixture, source)))
    mixture.weights.copy_(torch.where(enough, counts, 1.0) / torch.where(enough, counts, 1.0).sum(1, keepdim=True))


def _take_covariances(start: WarmStart, release: WarmRelease, mixture: ClassMixture, matrices: Tensor) -> None:
    """Centres once more, and of each covariance what stands above the noise; across that, all clusters' together."""
    classes, clusters, _ = mixture.centres.shape
    counts = (matrices[..., -1, -1] / (COUNTING * release.clip_norm) ** 2).clamp_min(1.0)  # (classes, clusters)
    std = release.noise_multiplier * release.sensitivity
    total = counts.sum()
    pooled = _above_noise(matrices[..., :-1, :-1].sum((0, 1)) / total, std * math.sqrt(counts.numel()) / float(total))
    for y in range(classes):
        for k in range(clusters):
            own = matrices[y, k, :-1, :-1] / counts[y, k]
            covariance = _with_rest(own, std / float(counts[y, k]), pooled)
            mixture.factors[y, k].copy_(factor(covariance, mixture.factors.shape[3]))
    weights = torch.where(counts > 3 * release.noise_multiplier / COUNTING**2, counts, 1.0)
    mixture.weights.copy_(weights / weights.sum(1, keepdim=True))
    mixture.centres.copy_(_shrink_centres(start, release, mixture.centres.double().cpu(), matrices, counts))


def _shrink_centres(
    start: WarmStart, release: WarmRelease, centres: Tensor, matrices: Tensor, counts: Tensor
) -> Tensor:
    """Centres moved by what the last release says of them, and drawn together where noise sets them apart.

    Both are means weighted by the noise: that of a centre, that of the move, and, over a class's centres, how far they
    differ in each frequency beyond noise (an empirical Bayes shrinkage).
    """
    before = start.releases()[-2]
    of_centre = before.noise_multiplier * before.clip_norm  # ÷ count: std of each number
    of_move = release.noise_multiplier * release.clip_norm / (COUNTING * math.sqrt(2))
    trusted = of_centre**2 / (of_centre**2 + of_move**2) if start.rounds or centres.shape[1] == 1 else 1.0
    moves = matrices[..., :-1, -1] / (COUNTING * release.clip_norm * counts[..., None])
    centres = centres + trusted * moves
    if centres.shape[1] == 1:
        return centres
    weights = counts[..., None] / counts.sum(1)[:, None, None]
    middle = (weights * centres).sum(1, keepdim=True)  # (classes, 1, d)
    noise = trusted * of_move**2 / counts[..., None].square()  # variance that the weighted mean is left with
    apart = (weights * ((centres - middle).square() - noise)).sum((0, 1)) / len(centres)  # (d,)
    apart = apart.clamp_min(1e-30)
    return middle + (centres - middle) * (apart / (apart + noise))


def noise_edge(size: int, std: float) -> float:
    """Where the spectrum of pure noise ends: a symmetric matrix of std on, and std/√2 off, the diagonal."""
    return std * math.sqrt(2 * size)


def _above_noise(matrix: Tensor, std: float) -> Tensor:
    """The part of a noised matrix whose eigenvalues no noise explains, each set back by what noise adds to it.

    A spike ℓ shows as λ = ℓ + (edge/2)²/ℓ (Benaych-Georges & Nadakuditi 2011, arXiv 0910.2120), hence the root.
    """
    values, vectors = torch.linalg.eigh(matrix)
    edge = noise_edge(len(matrix), std)
    kept = values > edge
    values = (values + (values.square() - edge**2).clamp_min(0).sqrt()) / 2
    found: Tensor = (vectors[:, kept] * values[kept]) @ vectors[:, kept].T
    return found


def _with_rest(own: Tensor, std: float, pooled: Tensor) -> Tensor:
    """A cluster's own directions where they stand above the noise, and the pooled covariance across them."""
    signal = _above_noise(own, std)
    values, vectors = torch.linalg.eigh(signal)
    known: Tensor = vectors[:, values > 1e-12]
    across = torch.eye(len(own), dtype=own.dtype) - known @ known.T
    return signal + across @ pooled @ across


def factor(covariance: Tensor, rank: int) -> Tensor:
    """(d, rank) with factor · factorᵀ the best approximation of that rank."""
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values[-rank:].clamp_min(0).flip(0), vectors[:, -rank:].flip(1)
    factor = torch.zeros(len(covariance), rank, dtype=covariance.dtype)
    factor[:, : len(values)] = vectors * values.sqrt()
    return factor
