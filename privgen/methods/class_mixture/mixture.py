"""`ClassMixture`: images as a mixture of Gaussians in each class, in the low frequencies of their cosine transform.

    k ~ weights[y]      at = centres[y, k] + factors[y, k] · n,   n ~ N(0, I)
    code = at, or with components  code = offsets[y] + components · at          image = inverse cosine transform

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

# Numbers of an image's code, at most, where its components are released: their matrix has the square of it. Without
# components each class has a matrix of them, and what is above this many frequencies was noise.
_LONGEST, _APART = 1024, 16


def cosine_basis(size: int, frequencies: int) -> Tensor:
    """(frequencies, size): the first rows of the orthonormal DCT-II matrix, float64."""
    at = torch.arange(size, dtype=torch.float64) + 0.5
    rows = torch.cos(math.pi / size * torch.arange(frequencies, dtype=torch.float64)[:, None] * at)
    rows *= math.sqrt(2 / size)
    rows[0] /= math.sqrt(2)
    return rows


def frequencies_kept(image_shape: tuple[int, int, int], asked: int, *, components: int) -> int:
    """Cosine frequencies in each direction: those asked for, as far as images and matrices have them.

    >>> [frequencies_kept(shape, 32, components=63) for shape in ((1, 28, 28), (3, 32, 32), (1, 64, 64))]
    [28, 18, 32]
    >>> frequencies_kept((1, 28, 28), 32, components=0)
    16
    """
    channels, height, _ = image_shape
    return min(asked, math.isqrt(_LONGEST // channels) if components else _APART, height)


def default_clusters(dataset_size: int) -> int:
    """Gaussians in a class where nothing is said: as many as records tell from noise (docs/results/statistics.md).

    Args:
        dataset_size: N, public.
    """
    if dataset_size < 2000:
        return 1
    return 4 if dataset_size < 5000 else 8


class ClassMixture(nn.Module):
    """(z, label) → image, before it is cut to [−1, 1]; black until a warm start has filled it.

    Args:
        classes: >= 1. image_shape: (C, H, W), H = W. clusters: Gaussians in a class, >= 1.
        frequencies: kept in each direction, from 1 to H. latent_dim: of z, >= 2; Gaussians have rank latent_dim − 1.
        components: directions of the codes that Gaussians are in, from 1 to C·F²; 0 is all of them.
        margin: how far below black the inside of what is black lies, see `privgen.methods.class_mixture.margin`.
    """

    basis: Tensor
    weights: Tensor
    centres: Tensor
    factors: Tensor
    components: Tensor
    offsets: Tensor
    strengths: Tensor
    rest: Tensor

    def __init__(
        self,
        *,
        classes: int,
        image_shape: tuple[int, int, int],
        clusters: int,
        frequencies: int,
        latent_dim: int,
        components: int = 0,
        margin: float = 0.0,
    ) -> None:
        super().__init__()
        self.channels, self.frequencies, self.margin = image_shape[0], frequencies, margin
        self.scale = 2 * math.sqrt(math.prod(image_shape))  # codes are root mean squares of pixels in [0, 1]
        length = self.channels * frequencies**2
        self.directions = min(components, length)
        size = self.directions or length
        self.register_buffer("basis", cosine_basis(image_shape[1], frequencies).float(), persistent=False)
        self.register_buffer("weights", torch.full((classes, clusters), 1 / clusters))
        self.register_buffer("centres", torch.zeros(classes, clusters, size))
        self.register_buffer("factors", torch.zeros(classes, clusters, size, latent_dim - 1))
        if self.directions:
            self.register_buffer("components", torch.zeros(length, size))  # orthonormal columns, or zero
            self.register_buffer("offsets", torch.zeros(classes, length))  # class means, less what is along components
            self.register_buffer("strengths", torch.zeros(size))  # variance along each, about a class's mean
            self.register_buffer("rest", torch.zeros(()))  # mean variance of a number of the code across them

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """z (n, latent), labels (n,) → (n, C, H, W), about [−1, 1]."""
        uniform = 0.5 * (1 + torch.erf(z[:, 0] / math.sqrt(2)))  # (n,)
        ends = self.weights.cumsum(1)[labels]  # (n, clusters)
        k = (uniform[:, None] > ends).sum(1).clamp_max(self.weights.shape[1] - 1)
        code = self.centres[labels, k] + (self.factors[labels, k] @ z[:, 1:, None])[:, :, 0]  # (n, C·F² or components)
        if self.directions:
            code = self.offsets[labels] + code @ self.components.T
        code = code.view(-1, self.channels, self.frequencies, self.frequencies)
        return self.scale * (self.basis.T @ code @ self.basis) - 1
