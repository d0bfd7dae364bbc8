"""`LatentPrior`: latent vectors of another distribution, made of standard normal ones.

    bernoulli            sign(n)                                 as in DP-GAN-DPAC (Chen et al.), mean 0 and variance 1
    mixture              (n + 2·c_k) / √5,  k of 8               c_k fixed random signs, k by the first number of n
    class-conditional    (n + 2·c_y) / √5                        c_y fixed random signs of class y

All have a mean square of 1 in each number, as normal ones have, so that networks and rates may stay the same.

Guarantees: centres are random and fixed; a vector is a function of n and the label alone. No record reaches this.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_CLUSTERS, _APART = 8, 2.0


class LatentPrior(nn.Module):
    """n (b, latent) ~ N(0, I), labels (b,) → latent vectors (b, latent).

    Args:
        kind: gaussian, bernoulli, mixture or class-conditional. classes, latent_dim: >= 1.
    """

    centres: Tensor

    def __init__(self, kind: str, *, classes: int, latent_dim: int) -> None:
        super().__init__()
        self.kind = kind
        count = {"mixture": _CLUSTERS, "class-conditional": classes}.get(kind, 0)
        if count:
            self.register_buffer("centres", torch.randn(count, latent_dim).sign())

    def forward(self, normal: Tensor, labels: Tensor) -> Tensor:
        """Of each row of `normal` one latent vector."""
        if self.kind == "gaussian":
            return normal
        if self.kind == "bernoulli":
            # Of 0 too, which sign() would leave where it is.
            return torch.where(normal < 0, -1.0, 1.0).to(normal)
        if self.kind == "class-conditional":
            chosen = labels
        else:
            chosen, normal = _chosen(normal)
        return (normal + _APART * self.centres[chosen]) / math.sqrt(1 + _APART**2)


def _chosen(normal: Tensor) -> tuple[Tensor, Tensor]:
    """A cluster by the first number of each row, and the rows with what is left of it: normal whichever the cluster."""
    scaled = torch.special.ndtr(normal[:, 0]) * _CLUSTERS
    chosen = scaled.long().clamp(0, _CLUSTERS - 1)
    left = (scaled - chosen).clamp(1e-6, 1 - 1e-6)
    return chosen, torch.cat([torch.special.ndtri(left)[:, None], normal[:, 1:]], 1)
