"""`ClassMixture`: images as a mixture of Gaussians in each class, in the low frequencies of their cosine transform.

    k ~ weights[y]      code = centres[y, k] + factors[y, k] · n,   n ~ N(0, I)      image = inverse cosine transform

It is what a warm start puts under the residual network: k comes from the first number of the latent vector, n from
the others, so the same latent vector gives the same image.

    >>> mixture = ClassMixture(classes=2, image_shape=(1, 28, 28), clusters=3, frequencies=8, latent_dim=5)
    >>> tuple(mixture(torch.randn(4, 5), torch.tensor([0, 1, 0, 1])).shape)
    (4, 1, 28, 28)

Guarantees: its buffers are made from released statistics alone (`privgen.methods.class_mixture.class_sums`),
so it may be released.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def cosine_basis(size: int, frequencies: int) -> Tensor:
    """(frequencies, size): the first rows of the orthonormal DCT-II matrix, float64."""
    at = torch.arange(size, dtype=torch.float64) + 0.5
    rows = torch.cos(math.pi / size * torch.arange(frequencies, dtype=torch.float64)[:, None] * at)
    rows *= math.sqrt(2 / size)
    rows[0] /= math.sqrt(2)
    return rows


class ClassMixture(nn.Module):
    """(z, label) → image, before it is cut to [−1, 1]; black until a warm start has filled it.

    Args:
        classes: >= 1. image_shape: (C, H, W), H = W. clusters: Gaussians in a class, >= 1.
        frequencies: kept in each direction, from 1 to H. latent_dim: of z, >= 2; Gaussians have rank latent_dim − 1.
    """

    basis: Tensor
    weights: Tensor
    centres: Tensor
    factors: Tensor

    def __init__(
        self, *, classes: int, image_shape: tuple[int, int, int], clusters: int, frequencies: int, latent_dim: int
    ) -> None:
        super().__init__()
        self.channels, self.frequencies = image_shape[0], frequencies
        self.scale = 2 * math.sqrt(math.prod(image_shape))  # codes are root mean squares of pixels in [0, 1]
        length = self.channels * frequencies**2
        self.register_buffer("basis", cosine_basis(image_shape[1], frequencies).float(), persistent=False)
        self.register_buffer("weights", torch.full((classes, clusters), 1 / clusters))
        self.register_buffer("centres", torch.zeros(classes, clusters, length))
        self.register_buffer("factors", torch.zeros(classes, clusters, length, latent_dim - 1))

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """z (n, latent), labels (n,) → (n, C, H, W), about [−1, 1]."""
        uniform = 0.5 * (1 + torch.erf(z[:, 0] / math.sqrt(2)))  # (n,)
        ends = self.weights.cumsum(1)[labels]  # (n, clusters)
        k = (uniform[:, None] > ends).sum(1).clamp_max(self.weights.shape[1] - 1)
        code = self.centres[labels, k] + (self.factors[labels, k] @ z[:, 1:, None])[:, :, 0]  # (n, C·F²)
        code = code.view(-1, self.channels, self.frequencies, self.frequencies)
        return self.scale * (self.basis.T @ code @ self.basis) - 1
