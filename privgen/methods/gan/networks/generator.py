"""The ResNet generator, with Gaussian noise injected right after each upsampling and before the activation.

Noise injection and residual blocks are the paper's (arXiv 2601.15061). The block's
first convolution runs before the upsampling, where it costs a quarter.

    σ fixed        y = x + σ·n                              n ~ N(0, 1) in each value of (n, C, H, W)
    σ scheduled    σ = σ₀ + (σ₁ − σ₀)·t/T                   t of T steps, one for all blocks
    σ learned      σ = softplus(ρ), one ρ for each block    trained by the generator's own steps only
    σ steered      one σ for all blocks                     by `privgen.methods.gan.steered_noise`

Guarantees: σ costs no privacy. A schedule depends on public step numbers, a steered σ on generated images, and ρ takes
no gradient wherever records are seen (`learning_noise` is entered by the free step alone), so it learns from released
networks only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from privgen.methods.class_mixture.mixture import ClassMixture
from privgen.methods.gan.networks.config import NetworkConfig
from privgen.methods.gan.networks.latent_prior import LatentPrior

# Where injected noise comes from: a generator, or a function of the shape (n, C, H, W) for noise of one's own.
Source = torch.Generator | Callable[[torch.Size], Tensor]


class GivenNoise:
    """Injected noise that was drawn before: hands it out in the order in which the blocks ask.

    Args:
        numbers: (n,) for one image.
    """

    def __init__(self, numbers: Tensor) -> None:
        self._numbers, self._used = numbers, 0

    def __call__(self, shape: torch.Size) -> Tensor:
        """The next ones, in this shape."""
        first, self._used = self._used, self._used + math.prod(shape)
        return self._numbers[first : self._used].view(shape)


class UpsamplingNoise(nn.Module):
    """x + σ · N(0, 1): regularises the generator. It is not privacy noise.

    Args:
        std: σ, or what it begins with; >= 0, and > 0 if learned or steered. kind: fixed, scheduled, learned or steered.
    """

    scheduled: Tensor

    def __init__(self, std: float, kind: str = "fixed") -> None:
        super().__init__()
        self.kind = kind
        if kind == "learned":
            # Frozen: only `Generator.learning_noise` lets it take a gradient.
            self.raw = nn.Parameter(torch.tensor(math.log(math.expm1(std))), requires_grad=False)
        elif kind in ("scheduled", "steered"):
            # Moved from outside while it trains.
            self.register_buffer("scheduled", torch.tensor(float(std)))
        else:
            self.fixed = std

    def std(self) -> Tensor | float:
        """σ as it is now."""
        if self.kind == "learned":
            learned: Tensor = functional.softplus(self.raw)
            return learned
        return self.fixed if self.kind == "fixed" else self.scheduled

    def forward(self, x: Tensor, source: Source | None = None) -> Tensor:
        """(n, C, H, W) → the same; `source` makes it reproducible."""
        std = self.std()
        if std == 0:
            return x
        if callable(source):
            return x + std * source(x.shape).to(x)
        return x + std * torch.randn(x.shape, generator=source, device=x.device, dtype=x.dtype)


class UpsamplingBlock(nn.Module):
    """Residual block that doubles height and width: norm, act, conv, ×2, noise, norm, act, conv; skip 1×1, ×2."""

    def __init__(self, channels: int, out: int, noise: UpsamplingNoise) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(_groups(channels), channels)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.noise = noise
        self.norm2 = nn.GroupNorm(_groups(out), out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.skip = nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor, source: Source | None = None) -> Tensor:
        """(n, channels, H, W) → (n, out, 2H, 2W)."""
        h = self.conv1(functional.silu(self.norm1(x)))
        h = self.noise(functional.interpolate(h, scale_factor=2), source)
        made: Tensor = self.conv2(functional.silu(self.norm2(h)))
        return made + functional.interpolate(self.skip(x), scale_factor=2)


class Generator(nn.Module):
    """(z, label) → image in [−1, 1].

    Args:
        config: the networks' configuration.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        widths = config.sizes.generator[: config.upsamplings + 1]
        self.config = config
        self.start, self.width = config.start, widths[0]
        self.prior = LatentPrior(config.latent_prior, classes=config.classes, latent_dim=config.latent_dim)
        if config.mixture_clusters:
            self.mixture = ClassMixture(
                classes=config.classes,
                image_shape=config.image_shape,
                clusters=config.mixture_clusters,
                frequencies=config.mixture_frequencies,
                latent_dim=config.latent_dim,
                components=config.mixture_components,
                margin=config.mixture_margin,
            )
            patch = 2**config.upsamplings
            self.patches = nn.Conv2d(config.image_shape[0], widths[0], patch, stride=patch)
        else:
            self.label = nn.Embedding(config.classes, config.latent_dim)
            self.project = nn.Linear(2 * config.latent_dim, widths[0] * self.start**2)
        self.blocks = nn.ModuleList(
            UpsamplingBlock(before, after, UpsamplingNoise(config.upsampling_noise, config.upsampling_noise_kind))
            for before, after in itertools.pairwise(widths)
        )
        self.norm = nn.GroupNorm(_groups(widths[-1]), widths[-1])
        self.image = nn.Conv2d(widths[-1], config.image_shape[0], 3, padding=1)
        if config.mixture_clusters:
            # The first images are the mixture's own; the blocks learn what it lacks.
            nn.init.zeros_(self.image.weight)
            assert self.image.bias is not None
            nn.init.zeros_(self.image.bias)

    def forward(self, z: Tensor, labels: Tensor, source: Source | None = None) -> Tensor:
        """Normal numbers (n, latent), labels (n,) → (n, C, H, W); `source` of the injected noise, or torch's own."""
        return self.decode(self.prior(z, labels), labels, source)

    def decode(self, z: Tensor, labels: Tensor, source: Source | None = None) -> Tensor:
        """The same of latent vectors, such as an encoder's: of the prior's distribution already."""
        if not self.config.mixture_clusters:
            h = self.project(torch.cat([z, self.label(labels)], 1))
            return self._blocks(h.view(-1, self.width, self.start, self.start), source)
        base: Tensor = self.mixture(z, labels)
        # The blocks see the image and not the label: told the label they paint its texture into every image of it,
        # and a classifier trained on those looks for textures (docs/results/recipe.md).
        image = base + self._blocks(self.patches(base.clamp(-1, 1)), source)
        # Cut to [−1, 1] on the way forward only: a pixel beyond it can still be moved back.
        return image + (image.clamp(-1, 1) - image).detach()

    def _blocks(self, h: Tensor, source: Source | None) -> Tensor:
        """(n, width, start, start) → (n, C, H, W) in [−1, 1]."""
        for block in self.blocks:
            h = block(h, source)
        return torch.tanh(self.image(functional.silu(self.norm(h))))

    @property
    def _upsampling(self) -> list[UpsamplingBlock]:
        return cast("list[UpsamplingBlock]", list(self.blocks))

    def injected_numbers(self) -> int:
        """How many numbers one image's injected noise takes."""
        height, count = self.config.start, 0
        for block in self._upsampling:
            height *= 2
            count += block.conv2.in_channels * height**2
        return count

    def noise_levels(self) -> list[float]:
        """σ of each block as it is now, from the smallest map to the largest."""
        return [float(block.noise.std()) for block in self._upsampling]

    def schedule_noise(self, progress: float) -> None:
        """Set a scheduled σ for this part of the run, in [0, 1]; a fixed or learned one stays as it is."""
        first, last = self.config.upsampling_noise, self.config.upsampling_noise_end
        if self.config.upsampling_noise_kind == "scheduled":
            self.set_noise(first + (last - first) * min(max(progress, 0.0), 1.0))

    def set_noise(self, std: float) -> None:
        """Set σ of every block, where it is scheduled or steered."""
        for block in self._upsampling:
            block.noise.scheduled.fill_(std)

    @contextmanager
    def learning_noise(self) -> Iterator[None]:
        """While it lasts, a learned σ takes gradients. Never to be entered where records are seen."""
        learned = [block.noise.raw for block in self._upsampling if block.noise.kind == "learned"]
        try:
            for raw in learned:
                raw.requires_grad_(True)
            yield
        finally:
            for raw in learned:
                raw.requires_grad_(False)


def _groups(channels: int) -> int:
    return 8 if channels % 8 == 0 else 1
