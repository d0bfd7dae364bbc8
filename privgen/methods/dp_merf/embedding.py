"""Random Fourier features, and the linear module whose gradient of a record is that record's features.

    φ(x) = (a·cos(ωx), a·sin(ωx), s),   ω ~ N(0, I/σ²),   ‖φ(x)‖ = 1            s counts records
    loss(x, y) = −⟨W_y, φ(x)⟩           ∂/∂W = −φ(x) in row y, 0 elsewhere

so that one step of plain gradient descent at rate 1 from W = 0, over all records, leaves W_y = Σ_{i: y_i = y} φ(x_i)/N,
which DP-MERF releases (Harder, Adamczewski & Park 2021, arXiv 2002.11603): here through the release that every gradient
takes. The frequencies are drawn from a seed and public.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

# s² of ‖φ‖² = 1: the class's count is noised by 1/s as much as a coordinate.
_COUNTING = 1 / 16


class RandomFeatures(nn.Module):
    """φ of images (n, C, H, W) in [−1, 1]: (n, 2·frequencies + 1), of length 1.

    Args:
        pixels: numbers in an image. frequencies: how many. length_scale: σ in root mean squares of pixels in [0, 1].
        seed: of the frequencies.
    """

    omega: Tensor

    def __init__(self, *, pixels: int, frequencies: int, length_scale: float, seed: int) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(seed)
        omega = torch.randn(pixels, frequencies, generator=source) / (length_scale * math.sqrt(pixels))
        self.register_buffer("omega", omega)

    def forward(self, images: Tensor) -> Tensor:
        """φ of each image."""
        phases = ((images.flatten(1) + 1) / 2) @ self.omega
        waves = torch.cat([phases.cos(), phases.sin()], 1) * math.sqrt((1 - _COUNTING) / self.omega.shape[1])
        return torch.cat([waves, waves.new_full((len(waves), 1), math.sqrt(_COUNTING))], 1)


class ClassEmbedding(nn.Module):
    """W (classes, 2·frequencies + 1), which one step fills with the released means.

    Args:
        classes: how many. features: φ.
    """

    def __init__(self, classes: int, features: RandomFeatures) -> None:
        super().__init__()
        self.features = features
        self.means = nn.Linear(2 * features.omega.shape[1] + 1, classes, bias=False)
        nn.init.zeros_(self.means.weight)

    def record_loss(self, image: Tensor, label: Tensor) -> Tensor:
        """Minus the inner product of one record's features with its class's row."""
        scores: Tensor = self.means(self.features(image[None]))[0]
        return -(scores * (torch.arange(len(scores), device=scores.device) == label)).sum()

    @torch.no_grad()
    def released(self) -> tuple[Tensor, Tensor]:
        """(share of the records, mean of the waves) of each class, from what was released: (classes,), (classes, 2·m).

        A count that drowned in noise is taken for a tenth of an even share.
        """
        rows = self.means.weight.detach()
        shares = (rows[:, -1] / math.sqrt(_COUNTING)).clamp_min(0.1 / len(rows))
        return shares / shares.sum(), rows[:, :-1] / shares[:, None]
