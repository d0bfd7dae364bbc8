"""A mixture of a class's images that no warm start had to be run for."""

from __future__ import annotations

import pytest
import torch

from privgen.methods.diffusion.config import DenoiserConfig
from privgen.methods.diffusion.denoiser import Denoiser


def filled(
    *, shape: tuple[int, int, int] = (1, 16, 16), clusters: int = 3, frequencies: int = 2, rank: int = 2,
    preset: str = "tiny", classes: int = 2, spread: float = 0.05, components: int = 0,
) -> Denoiser:  # fmt: skip
    """A denoiser whose mixture has centres, weights and covariances of its own, and whose network is the first one."""
    torch.manual_seed(0)
    denoiser = Denoiser(
        DenoiserConfig(
            preset=preset, image_shape=shape, classes=classes, mixture_clusters=clusters,
            mixture_frequencies=frequencies, mixture_rank=rank,
            mixture_components=components,
        )
    )  # fmt: skip
    mixture = denoiser.mixture
    mixture.centres.copy_(spread * torch.randn(mixture.centres.shape))
    if components:
        directions, _ = torch.linalg.qr(torch.randn(mixture.components.shape))
        offsets = spread * torch.randn(mixture.offsets.shape)
        mixture.components.copy_(directions)
        mixture.offsets.copy_(offsets - offsets @ directions @ directions.T)
        mixture.rest.fill_((0.2 * spread) ** 2)
    else:
        mixture.centres[..., 0] += 0.5 / shape[0] ** 0.5
    mixture.factors.copy_(0.5 * spread * torch.randn(mixture.factors.shape))
    mixture.weights.copy_(torch.softmax(torch.randn(mixture.weights.shape), 1))
    denoiser.take_up_mixture()
    return denoiser


@pytest.fixture
def make_denoiser():  # type: ignore[no-untyped-def]
    """`filled`."""
    return filled
