"""From the mixture to images: Heun's method along the probability flow.

    x(σ_max) = a draw from the mixture + σ_max n,      dx/dσ = (x − D_θ(x, σ, y)) / σ       down to σ_min, then D_θ

(Karras et al. 2022, arXiv 2206.00364, algorithm 1.) The draw has the law that the mixture's noised images have at
σ_max, so nothing has to be forgotten first and few steps suffice. Post-processing: no record is seen.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from privgen.methods.diffusion.denoiser import Denoiser

_CURVE = 5.0


def noise_levels(count: int, *, largest: float, smallest: float) -> list[float]:
    """`count` noise levels from the largest to the smallest, closer together where small (eq. 5 there, ρ = 5).

    >>> [round(sigma, 3) for sigma in noise_levels(3, largest=3.0, smallest=0.02)]
    [3.0, 0.448, 0.02]
    """
    first, last = largest ** (1 / _CURVE), smallest ** (1 / _CURVE)
    return [float((first + at / max(count - 1, 1) * (last - first)) ** _CURVE) for at in range(count)]


@torch.no_grad()
def sample(denoiser: Denoiser, z: Tensor, labels: Tensor, normal: Tensor) -> Tensor:
    """Images (n, C, H, W), about [−1, 1].

    Args:
        z: (n, latent) and normal: (n, C, H, W), standard normal: where in the mixture, and the noise.
        labels: (n,).
    """
    config = denoiser.config
    levels = noise_levels(config.sampling_steps + 1, largest=config.largest_sigma, smallest=config.smallest_sigma)
    x = denoiser.ideal.noised_sample(denoiser.mixture, z, labels, normal, levels[0])
    for sigma, following in itertools.pairwise(levels):
        slope = (x - _denoised(denoiser, x, sigma, labels)) / sigma
        guess = x + (following - sigma) * slope
        ahead = (guess - _denoised(denoiser, guess, following, labels)) / following
        x = x + (following - sigma) * 0.5 * (slope + ahead)
    return _denoised(denoiser, x, levels[-1], labels)


def _denoised(denoiser: Denoiser, x: Tensor, sigma: float, labels: Tensor) -> Tensor:
    found: Tensor = denoiser(x, torch.full_like(x[:, 0, 0, 0], sigma), labels)
    return found
