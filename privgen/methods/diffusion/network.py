"""`DenoisingNetwork`: F_θ, what the mixture's ideal denoiser lacks. A small U-Net.

    c_in x_σ and D_mix → squares of pixels into channels → down → coarsest map → up → squares back → (n, C, H, W)

Every residual block has two GroupNorms; the second is scaled and shifted by an embedding of log σ and of the label.
The last layer begins at zero, so the first denoiser is the mixture's own. All trainable layers have fast per-record
gradients (`privgen.gradients.layers`), and what is between them is a function of one record.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from privgen.methods.diffusion.config import PRESETS, DenoiserConfig

# Sines and cosines of log σ / 4; log σ runs from −4 to 1.
_WAVES = 16


class Block(nn.Module):
    """Residual block: norm, act, conv, norm, scale and shift, act, conv; the last conv begins small."""

    def __init__(self, channels: int, out: int, embedding: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * out)
        self.norm2 = nn.GroupNorm(8, out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.skip = nn.Conv2d(channels, out, 1) if channels != out else None

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """x (n, channels, h, w), told (n, embedding) → (n, out, h, w)."""
        h = self.conv1(functional.silu(self.norm1(x)))
        scale, shift = self.modulation(told)[:, :, None, None].chunk(2, 1)
        made: Tensor = self.conv2(functional.silu(self.norm2(h) * (1 + scale) + shift))
        return made + (x if self.skip is None else self.skip(x))


class Attention(nn.Module):
    """Every place of the coarsest map looks at every other."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.asked = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) → the same."""
        query, key, value = self.asked(self.norm(x)).flatten(2).chunk(3, 1)  # (n, c, h·w)
        weights = torch.softmax(query.transpose(-1, -2) @ key / math.sqrt(x.shape[1]), -1)  # (n, h·w, h·w)
        found: Tensor = self.out((value @ weights.transpose(-1, -2)).view(x.shape))
        return x + found


class DenoisingNetwork(nn.Module):
    """(c_in x_σ, D_mix, log σ, label) → F_θ, of the image's shape.

    Args:
        config: of the denoiser.
    """

    waves: Tensor

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        size, widths = PRESETS[config.preset], config.widths
        channels, told = config.image_shape[0], size.embedding
        self.patch = size.patch
        self.register_buffer("waves", 2.0 ** torch.linspace(-2, 3, _WAVES), persistent=False)
        self.label = nn.Embedding(config.classes, told)
        self.sigma = nn.Linear(2 * _WAVES, told)
        self.told = nn.Linear(told, told)
        self.enter = nn.Conv2d(2 * channels * size.patch**2, widths[0], 3, padding=1)
        self.down = nn.ModuleList(Block(width, width, told) for width in widths[:-1])
        self.coarsen = nn.ModuleList(
            nn.Conv2d(fine, coarse, 3, stride=2, padding=1) for fine, coarse in itertools.pairwise(widths)
        )
        self.middle = nn.ModuleList(Block(widths[-1], widths[-1], told) for _ in range(2))
        self.attention = Attention(widths[-1]) if size.attention else None
        self.refine = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in itertools.pairwise(widths))
        self.up = nn.ModuleList(Block(2 * width, width, told) for width in widths[:-1])
        self.norm = nn.GroupNorm(8, widths[0])
        self.leave = nn.Conv2d(widths[0], channels * size.patch**2, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)

    def forward(self, scaled: Tensor, ideal: Tensor, log_sigma: Tensor, labels: Tensor) -> Tensor:
        """scaled = c_in x_σ and ideal = D_mix, (n, C, H, W) each; log_sigma, labels (n,) → (n, C, H, W)."""
        turns = log_sigma[:, None] * self.waves  # (n, waves)
        told = self.sigma(torch.cat([turns.sin(), turns.cos()], 1)) + self.label(labels)
        told = functional.silu(self.told(functional.silu(told)))
        h = self.enter(_into_channels(torch.cat([scaled, ideal], 1), self.patch))
        passed = []
        for block, coarsen in zip(self.down, self.coarsen, strict=True):
            h = block(h, told)
            passed.append(h)
            h = coarsen(h)
        h = self.middle[0](h, told)
        if self.attention is not None:
            h = self.attention(h)
        h = self.middle[1](h, told)
        for number in reversed(range(len(passed))):
            h = torch.cat([_doubled(self.refine[number](h)), passed[number]], 1)
            h = self.up[number](h, told)
        return _into_pixels(self.leave(functional.silu(self.norm(h))), self.patch)


def _into_channels(x: Tensor, patch: int) -> Tensor:
    """(n, c, h, w) → (n, c · patch², h/patch, w/patch)."""
    return functional.pixel_unshuffle(x, patch) if patch > 1 else x


def _into_pixels(x: Tensor, patch: int) -> Tensor:
    return functional.pixel_shuffle(x, patch) if patch > 1 else x


def _doubled(x: Tensor) -> Tensor:
    """(n, c, h, w) → (n, c, 2h, 2w), each value four times."""
    return functional.interpolate(x, scale_factor=2)
