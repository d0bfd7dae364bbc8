"""The ResNet generator, with Gaussian noise injected right after each upsampling and before the activation.

Noise injection and residual blocks are the paper's (arXiv 2601.15061, DESIGN section 1). The block's first
convolution runs before the upsampling, where it costs a quarter.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from privgen.networks.config import NetworkConfig


class UpsamplingNoise(nn.Module):
    """x + std · N(0, 1): regularises the generator. It is not privacy noise.

    Args:
        std: σ_noise >= 0.
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, x: Tensor, source: torch.Generator | None = None) -> Tensor:
        """(n, C, H, W) → the same; `source` makes it reproducible."""
        if self.std == 0:
            return x
        return x + self.std * torch.randn(x.shape, generator=source, device=x.device, dtype=x.dtype)


class UpsamplingBlock(nn.Module):
    """Residual block that doubles height and width: norm, act, conv, ×2, noise, norm, act, conv; skip 1×1, ×2."""

    def __init__(self, channels: int, out: int, noise: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(_groups(channels), channels)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.noise = UpsamplingNoise(noise)
        self.norm2 = nn.GroupNorm(_groups(out), out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.skip = nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor, source: torch.Generator | None = None) -> Tensor:
        """(n, channels, H, W) → (n, out, 2H, 2W)."""
        h = self.conv1(functional.silu(self.norm1(x)))
        h = self.noise(functional.interpolate(h, scale_factor=2), source)
        h = self.conv2(functional.silu(self.norm2(h)))
        return h + functional.interpolate(self.skip(x), scale_factor=2)


class Generator(nn.Module):
    """(z, label) → image in [−1, 1].

    Args:
        config: the networks' configuration.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        widths = config.sizes.generator[: config.upsamplings + 1]
        self.start, self.width = config.start, widths[0]
        self.label = nn.Embedding(config.classes, config.latent_dim)
        self.project = nn.Linear(2 * config.latent_dim, widths[0] * self.start**2)
        self.blocks = nn.ModuleList(
            UpsamplingBlock(before, after, config.upsampling_noise) for before, after in itertools.pairwise(widths)
        )
        self.norm = nn.GroupNorm(_groups(widths[-1]), widths[-1])
        self.image = nn.Conv2d(widths[-1], config.image_shape[0], 3, padding=1)

    def forward(self, z: Tensor, labels: Tensor, source: torch.Generator | None = None) -> Tensor:
        """z (n, latent), labels (n,) → (n, C, H, W); `source` of the injected noise, or torch's own."""
        h = self.project(torch.cat([z, self.label(labels)], 1))
        h = h.view(-1, self.width, self.start, self.start)
        for block in self.blocks:
            h = block(h, source)
        return torch.tanh(self.image(functional.silu(self.norm(h))))


def _groups(channels: int) -> int:
    return 8 if channels % 8 == 0 else 1
