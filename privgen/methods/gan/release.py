"""What a GAN releases: the averaged generator, how it is written, and how it makes images wherever it is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from privgen.generate import ImageSampler, Normal, write_release
from privgen.methods.gan.networks import Generator, NetworkConfig


def save_generator(
    generator: Generator, config: NetworkConfig, class_names: Sequence[str], folder: Path, *, method: str = "gan"
) -> tuple[str, ...]:
    """Write generator.safetensors and generator.json into a folder, each whole or not at all; their names.

    Args:
        method: whose `sampler` loads it.

    Raises:
        OSError: no room, or the folder cannot be written to.
    """
    about = {
        "method": method,
        "network": config.to_json(),
        # σ that each block of these weights injects; for the reader, the weights hold it where it is not fixed.
        "upsampling_noise_levels": generator.noise_levels(),
        "class_names": list(class_names),
    }
    return write_release(folder, generator.state_dict(), about)


class GanSampler(ImageSampler):
    """Images of a generator: a latent vector each, then the noise that its blocks inject."""

    def __init__(self, generator: Generator) -> None:
        super().__init__(generator.config.classes)
        self.generator = generator

    @classmethod
    def of(cls, about: Mapping[str, Any], weights: Mapping[str, Tensor]) -> GanSampler:
        """The sampler of what `save_generator` wrote."""
        generator = Generator(NetworkConfig.from_json(about["network"]))
        generator.load_state_dict(dict(weights))
        return cls(generator)

    def forward(self, labels: Tensor, normal: Normal) -> Tensor:
        """One image of each label (n,): (n, C, H, W) in [−1, 1]."""
        z = normal((len(labels), self.generator.config.latent_dim)).to(labels.device)
        images: Tensor = self.generator(z, labels, normal)
        return images
