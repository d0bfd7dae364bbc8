"""`Denoiser`: the mixture's ideal denoiser and the network's correction of it, and what one record's loss is.

    D_θ(x_σ, σ, y) = D_mix + c_out F_θ(c_in x_σ, D_mix, σ, y)
    c_out = σ s / √(σ² + s²),   c_in = 1 / √(σ² + 0.45²)              (Karras et al. 2022, arXiv 2206.00364, table 1,
                                                                       with D_mix in the place of c_skip x)
    loss of a record = mean over K draws of ‖F_θ − (x − D_mix)/c_out‖² / d,   log σ ~ N(mean, std²)

The K draws (Dockhorn et al. 2023, arXiv 2210.09929) are one record's: their mean is one loss, its gradient is clipped
once, so they cost compute and no privacy.

Guarantees: `loss` is a function of one record, of numbers drawn beside it, of released statistics and of the network's
parameters (docs/privacy.md, theorem 13).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from privgen.methods.class_mixture.margin import with_margin
from privgen.methods.class_mixture.mixture import ClassMixture
from privgen.methods.diffusion.config import DenoiserConfig
from privgen.methods.diffusion.mixture_denoiser import MixtureDenoiser
from privgen.methods.diffusion.network import DenoisingNetwork

# s: about the root mean square error of D_mix where σ is large; and the standard deviation of an image's pixels.
_ERROR, _PIXELS = 0.33, 0.45


class Denoiser(nn.Module):
    """Mixture, ideal denoiser and network. What is trained is `network`.

    Args:
        config: of the denoiser.
    """

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        self.mixture = ClassMixture(
            classes=config.classes,
            image_shape=config.image_shape,
            clusters=config.mixture_clusters,
            frequencies=config.mixture_frequencies,
            latent_dim=config.latent_dim,
            components=config.mixture_components,
            margin=config.mixture_margin,
        )
        self.network = DenoisingNetwork(config)
        self.ideal = MixtureDenoiser(self.mixture, config.image_shape)

    def take_up_mixture(self) -> None:
        """Make the ideal denoiser anew, after the mixture was released or loaded."""
        self.ideal.update(self.mixture)

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        """x (n, C, H, W) with noise sigma (n,), labels (n,) → E[x], (n, C, H, W)."""
        ideal: Tensor = self.ideal(x[:, None], sigma[:, None], labels)[:, 0]
        return ideal + _c_out(sigma)[:, None, None, None] * self._correction(x, ideal, sigma, labels)

    def _correction(self, x: Tensor, ideal: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        scaled = x / (sigma.square() + _PIXELS**2).sqrt()[:, None, None, None]
        found: Tensor = self.network(scaled, ideal, sigma.log(), labels)
        return found

    def loss(self, x: Tensor, label: Tensor, normal: Tensor, sigma: Tensor) -> Tensor:
        """The loss of one record, a scalar.

        Args:
            x: (C, H, W) in [−1, 1]. label: (). normal: (K, C, H, W) standard normal numbers, one image of them a
                draw. sigma: (K,) noise levels.
        """
        x = with_margin(x, self.config.mixture_margin)
        noisy = x + sigma[:, None, None, None] * normal  # (K, C, H, W)
        with torch.no_grad():
            ideal = self.ideal(noisy[None], sigma[None], label[None])[0]
        found = self._correction(noisy, ideal, sigma, label.expand(len(sigma)))
        wanted = (x - ideal) / _c_out(sigma)[:, None, None, None]
        mean: Tensor = (found - wanted).square().mean()
        return mean


def _c_out(sigma: Tensor) -> Tensor:
    return sigma * _ERROR / (sigma.square() + _ERROR**2).sqrt()
