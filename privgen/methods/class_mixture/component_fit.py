"""What a warm start makes of its noised statistics where it releases principal components.

    means          m̂_y
    components     Ŝ, about the class means, of all classes: what stands above the noise gives B = (b_1 … b_q) and λ_j;
                   what is across B has one mean variance
    clusters       centres in Bᵀ(x − m̂_y) + Bᵀm̂_y, begun at random with a variance of λ_j
    covariances    Ŝ_yk of each cluster;  Ŝ_y = Σ_k of them;  Ŝ = Σ_y

Covariances are a hierarchy: a cluster's is drawn towards its class's, that towards the pooled one, and this towards
diag(λ). Each number of a matrix goes as far as its noise says: with variance c v_i v_j of what it may differ by (v: the
diagonal of what is above, c a constant) and noise of variance τ²,

    S = above + w · (Ŝ − above),         w_ij = c v_i v_j / (c v_i v_j + τ_ij²),   0 where w_ij < 0.9 in a cluster's own

the posterior mean of a number under a normal law. Cut to eigenvalues that are not negative.

Post-processing: everything here reads what was released, public settings, and random numbers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from accountant.plans.warm_start import WarmRelease, WarmStart
from privgen.methods.class_mixture.class_sums import COUNTING
from privgen.methods.class_mixture.mixture import ClassMixture
from privgen.methods.class_mixture.mixture_fit import counts_of, factor, noise_edge

# Of a component's variance what is within a cluster, about; c of classes and of clusters; the least w of a cluster's.
_WITHIN, _CLASSES, _CLUSTERS, _TRUSTED = 0.8, 1.0, 0.3, 0.9
# Of a component's variance what a centre may still be off by after the last round, about.
_OFF = 0.02


def update_by_components(
    start: WarmStart, step: int, mixture: ClassMixture, noised: Tensor, source: torch.Generator
) -> None:
    """Put release number `step` into the mixture. Post-processing: reads what was released, and random numbers.

    Args:
        noised: as `class_sums.as_sums` gives it. source: of where clusters begin.
    """
    release = start.release_at(step)
    if release.kind == "means":
        mixture.offsets.copy_(noised[:, 0, :-1] / counts_of(release, noised)[:, 0, None])
    elif release.kind == "components":
        _take_components(release, mixture, noised[0, 0], source)
    elif release.kind == "clusters":
        _take_clusters(release, mixture, noised, source)
    else:
        _take_covariances(release, mixture, noised)


def _take_components(release: WarmRelease, mixture: ClassMixture, sums: Tensor, source: torch.Generator) -> None:
    """Directions, their strengths, the mean variance across them, and where clusters begin."""
    count = (sums[-1, -1] / (COUNTING * release.clip_norm) ** 2).clamp_min(1.0)
    matrix = sums[:-1, :-1] / count
    values, vectors = torch.linalg.eigh(matrix)
    size = mixture.directions
    edge = noise_edge(len(matrix), release.noise_multiplier * release.sensitivity / float(count))
    values, vectors = values.flip(0)[:size], vectors.flip(1)[:, :size]
    # The largest eigenvalue of noise is at the edge, give or take some d^(−2/3) of it (Tracy & Widom 1996).
    strengths = torch.where(
        values > edge * (1 + 1.5 * len(matrix) ** (-2 / 3)),
        (values + (values.square() - edge**2).clamp_min(0).sqrt()) / 2,
        0.0,
    )
    components = vectors * (strengths > 0)
    across = max(len(matrix) - int((strengths > 0).sum()), 1)
    means = mixture.offsets.double().cpu()
    along = means @ components  # (classes, q)
    mixture.components.copy_(components)
    mixture.strengths.copy_(strengths)
    mixture.rest.copy_(((matrix.trace() - strengths.sum()) / across).clamp_min(0.0))
    mixture.offsets.copy_(means - along @ components.T)
    clusters = mixture.centres.shape[1]
    mixture.centres.copy_(along[:, None] + (_apart(mixture, source) if clusters > 1 else 0.0))


def _apart(mixture: ClassMixture, source: torch.Generator) -> Tensor:
    """(classes, clusters, q): random, as wide as the components."""
    drawn = torch.randn(mixture.centres.shape, dtype=torch.float64, generator=source, device=source.device).cpu()
    return drawn * mixture.strengths.double().cpu().sqrt()


def _take_clusters(release: WarmRelease, mixture: ClassMixture, noised: Tensor, source: torch.Generator) -> None:
    """One round: centres move to their records' means; one that found too few starts anew beside the largest."""
    counts = counts_of(release, noised)
    enough = counts > 1 + 3 * release.noise_multiplier / COUNTING
    moved = mixture.centres.double().cpu() + noised[..., :-1] / counts[..., None]
    largest = moved[torch.arange(len(counts)), counts.argmax(1)][:, None]  # (classes, 1, q)
    anew = largest + 0.5 * _apart(mixture, source)
    seen = (mixture.strengths > 0).cpu()  # what is no component has noise alone
    mixture.centres.copy_(torch.where(enough[..., None], moved, anew) * seen)
    mixture.weights.copy_(torch.where(enough, counts, 1.0) / torch.where(enough, counts, 1.0).sum(1, keepdim=True))


def _take_covariances(release: WarmRelease, mixture: ClassMixture, matrices: Tensor) -> None:
    """Centres and weights once more, and the hierarchy of covariances."""
    counts = (matrices[..., -1, -1] / (COUNTING * release.clip_norm) ** 2).clamp_min(1.0)  # (classes, clusters)
    std = release.noise_multiplier * release.sensitivity
    _move_centres(release, mixture, matrices, counts)
    weights = torch.where(counts > 3 * release.noise_multiplier / COUNTING**2, counts, 1.0)
    mixture.weights.copy_(weights / weights.sum(1, keepdim=True))
    own, clusters = matrices[..., :-1, :-1], matrices.shape[1]
    within = _WITHIN * mixture.strengths.double().cpu()
    every = float(counts.sum())
    pooled = _drawn_to(torch.diag(within), own.sum((0, 1)) / every, std * math.sqrt(counts.numel()) / every, share=1.0)
    for y, (of_class, records) in enumerate(zip(own.sum(1), counts.sum(1), strict=True)):
        noise = std * math.sqrt(clusters) / float(records)
        covariance = _not_negative(_drawn_to(pooled, of_class / records, noise, share=_CLASSES))
        for k in range(clusters):
            count = float(counts[y, k])
            drawn = _drawn_to(covariance, own[y, k] / count, std / count, share=_CLUSTERS, trusted=_TRUSTED)
            mixture.factors[y, k].copy_(factor(drawn, mixture.factors.shape[3]))


def _move_centres(release: WarmRelease, mixture: ClassMixture, matrices: Tensor, counts: Tensor) -> None:
    moves = matrices[..., :-1, -1] / (COUNTING * release.clip_norm * counts[..., None])  # (classes, clusters, q)
    noise = release.noise_multiplier * release.clip_norm / (COUNTING * math.sqrt(2) * counts[..., None])
    off = _OFF * mixture.strengths.double().cpu()
    mixture.centres.add_(moves * off / (off + noise.square()))


def _drawn_to(above: Tensor, found: Tensor, noise: float, *, share: float, trusted: float = 0.0) -> Tensor:
    """Posterior mean of a symmetric matrix: noise of std `noise` on, and 1/√2 of it off, the diagonal."""
    strength = above.diagonal().clamp_min(0.0)
    variance = share * strength[:, None] * strength
    of_noise = noise**2 * (1 + torch.eye(len(above), dtype=above.dtype)) / 2
    weight = variance / (variance + of_noise)
    return above + torch.where(weight >= trusted, weight, 0.0) * (found - above)


def _not_negative(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    kept: Tensor = (vectors * values.clamp_min(0.0)) @ vectors.T
    return kept
