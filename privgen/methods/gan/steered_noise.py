"""`SteeredNoise`: σ of the injected noise by a rule that asks for no grid search, and for released quantities alone.

    s = mean |x₁ − x₂| over pairs of generated images of one class
    S = the same of the warm start's mixture at the same latent vectors; without a warm start the largest s so far
    σ ← σ · 1.02 where s < 0.8 · S, else σ / 1.02; within [0.01, 0.5]

Injected noise is there so that images of a class do not become alike. So there is more of it where they are becoming
alike, and less where they are not and it only blurs them.

Guarantees: post-processing. The mixture is made of released statistics, and generated images are functions of released
weights and fresh random numbers; no record, owed error or batch size reaches anything here.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from privgen.methods.gan.networks import Generator

LEAST, MOST = 0.01, 0.5
_FACTOR, _ENOUGH = 1.02, 0.8


class SteeredNoise:
    """The rule, and the largest spread so far.

    Args:
        sigma: what it begins with, > 0.
    """

    def __init__(self, sigma: float) -> None:
        self.sigma, self.largest = sigma, 0.0

    @torch.no_grad()
    def look_at(self, generator: Generator, images: Tensor, z: Tensor, labels: Tensor) -> None:
        """Move σ after a batch of generated images, and set it in the generator.

        Args:
            images: (2n, C, H, W), the second half of the same classes as the first. z, labels: what they were made of.
        """
        spread = _between(images)
        if generator.config.mixture_clusters:
            wanted = _between(generator.mixture(z, labels).clamp(-1, 1))
        else:
            wanted = self.largest = max(self.largest, spread)
        factor = _FACTOR if spread < _ENOUGH * wanted else 1 / _FACTOR
        self.sigma = min(max(self.sigma * factor, LEAST), MOST)
        generator.set_noise(self.sigma)

    def to_json(self) -> dict[str, float]:
        """For a checkpoint."""
        return {"sigma": self.sigma, "largest": self.largest}

    def restore(self, data: Mapping[str, float]) -> None:
        """Take back what `to_json` gave."""
        self.sigma, self.largest = float(data["sigma"]), float(data["largest"])


def _between(images: Tensor) -> float:
    first, second = images.chunk(2)
    return float((first - second).abs().mean())
