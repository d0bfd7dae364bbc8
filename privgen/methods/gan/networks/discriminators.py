"""The networks that see records: DCGAN critic, DCGAN classifier, VAE encoder.

Their gradients are privatised, so they are small (noise grows with the number of parameters) and normalise
within a record (GroupNorm) instead of across the batch as DCGAN does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from privgen.gradients.spectral_norm import parametrization_of
from privgen.methods.gan.networks.config import NetworkConfig


class _Convolutions(nn.Module):
    """Strided convolutions, GroupNorm (if asked for) after each but the first, leaky activations."""

    def __init__(
        self, channels: int, widths: tuple[int, ...], kernels: tuple[int, ...], *, normalised: bool = True
    ) -> None:
        super().__init__()
        before = (channels, *widths[:-1])
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, o, k, stride=2, padding=1) for i, o, k in zip(before, widths, kernels, strict=True)
        )
        norms = (nn.GroupNorm(min(8, width // 4), width) if normalised else nn.Identity() for width in widths[1:])
        self.norms = nn.ModuleList(norms)

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, H, W) → (n, width, h, w)."""
        for index, convolution in enumerate(self.convolutions):
            x = convolution(x)
            if index:
                x = self.norms[index - 1](x)
            x = functional.leaky_relu(x, 0.2)
        return x


def _height(height: int, kernels: tuple[int, ...]) -> int:
    """After stride-2 convolutions with padding 1."""
    for kernel in kernels:
        height = (height + 2 - kernel) // 2 + 1
    return height


class Critic(nn.Module):
    """DCGAN discriminator with a projection of the class (Miyato & Koyama 2018, arXiv 1802.05637).

    With spectral norm every layer's weight W enters as W / σ(W), and there is no GroupNorm, which would undo the
    bound (Miyato, Kataoka, Koyama & Yoshida 2018, arXiv 1802.05957). σ(W) ≈ uᵀWv comes from a power iteration.

    Args:
        config: the networks' configuration.

    Guarantees: a forward pass changes no state, however often and with whatever records it is called: u and v are
    brought up to date by `update_spectral_norms` alone, which reads released weights and nothing else.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        widths, kernels = config.sizes.critic, (4, 4, 3)
        self.features = _Convolutions(
            config.image_shape[0], widths, kernels, normalised=not config.critic_spectral_norm
        )
        self.score = nn.Linear(widths[-1] * _height(config.image_shape[1], kernels) ** 2, 1)
        self.label = nn.Embedding(config.classes, widths[-1])
        self._constrained: tuple[nn.Module, ...] = ()
        if config.critic_spectral_norm:
            self._constrained = (*self.features.convolutions, self.score, self.label)
            for layer in self._constrained:
                spectral_norm(layer)
        self.eval()

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Images (n, C, H, W), labels (n,) → scores (n,)."""
        h: Tensor = self.features(x)
        projected: Tensor = (h.mean((2, 3)) * self.label(labels)).sum(1)
        free: Tensor = self.score(h.flatten(1))[:, 0]
        return free + projected

    def train(self, mode: bool = True) -> Critic:
        """Always as in evaluation: nothing here depends on the mode but the power iteration, which must not."""
        return super().train(False)

    @torch.no_grad()
    def update_spectral_norms(self) -> None:
        """One power iteration for each layer, on the weights as they are now. Free: they are released."""
        for layer in self._constrained:
            chain = parametrization_of(layer, "weight")
            norm = chain[0].train()
            norm(chain.original)
            norm.eval()


class Classifier(nn.Module):
    """DCGAN classifier.

    Args:
        config: the networks' configuration.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        widths, kernels = config.sizes.classifier, (4, 4)
        self.features = _Convolutions(config.image_shape[0], widths, kernels)
        self.logits = nn.Linear(widths[-1] * _height(config.image_shape[1], kernels) ** 2, config.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, C, H, W) → logits (n, classes)."""
        logits: Tensor = self.logits(self.features(x).flatten(1))
        return logits


class Encoder(nn.Module):
    """VAE encoder: (image, label) → mean and log-variance of a latent Gaussian.

    Args:
        config: the networks' configuration.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        widths, kernels = config.sizes.encoder, (4, 4, 3)
        self.features = _Convolutions(config.image_shape[0], widths, kernels)
        size = widths[-1] * _height(config.image_shape[1], kernels) ** 2
        self.label = nn.Embedding(config.classes, size)
        self.latent = nn.Linear(size, 2 * config.latent_dim)

    def forward(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, C, H, W), labels (n,) → mean and log-variance, (n, latent) each."""
        mean, log_variance = self.latent(self.features(x).flatten(1) + self.label(labels)).chunk(2, 1)
        # Bounded, so that a single record cannot make exp() overflow.
        return mean, 6 * torch.tanh(log_variance / 6)
