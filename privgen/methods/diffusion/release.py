"""What diffusion releases: mixture and averaged network, how they are written, and how they make images anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from privgen.generate import ImageSampler, Normal, write_release
from privgen.methods.diffusion.config import DenoiserConfig
from privgen.methods.diffusion.denoiser import Denoiser
from privgen.methods.diffusion.sampler import sample


def save_denoiser(denoiser: Denoiser, class_names: Sequence[str], folder: Path) -> tuple[str, ...]:
    """Write generator.safetensors and generator.json into a folder, each whole or not at all; their names.

    Raises:
        OSError: no room, or the folder cannot be written to.
    """
    about = {"method": "diffusion", "network": denoiser.config.to_json(), "class_names": list(class_names)}
    return write_release(folder, denoiser.state_dict(), about)


class DiffusionSampler(ImageSampler):
    """Images of a denoiser: a draw from the mixture with noise on it, then Heun's method."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__(denoiser.config.classes)
        self.denoiser = denoiser

    @classmethod
    def of(cls, about: Mapping[str, Any], weights: Mapping[str, Tensor]) -> DiffusionSampler:
        """The sampler of what `save_denoiser` wrote."""
        denoiser = Denoiser(DenoiserConfig.from_json(about["network"]))
        denoiser.load_state_dict(dict(weights))
        denoiser.take_up_mixture()
        return cls(denoiser)

    def forward(self, labels: Tensor, normal: Normal) -> Tensor:
        """One image of each label (n,): (n, C, H, W) in [−1, 1]."""
        config = self.denoiser.config
        z = normal((len(labels), config.latent_dim)).to(labels.device)
        noise = normal((len(labels), *config.image_shape)).to(labels.device)
        return sample(self.denoiser, z, labels, noise).clamp(-1, 1)
