"""`DpMerfSettings`: features, generator and its free training; nothing in it can change what a run costs."""

from __future__ import annotations

from dataclasses import dataclass

from privgen.config import RunSettings
from privgen.methods.gan.settings import PRESETS, GanSettings


@dataclass(frozen=True, kw_only=True)
class DpMerfSettings(RunSettings):
    """Settings of DP-MERF that are not privacy-relevant.

    Args:
        preset: size of the generator, which is the GAN's: tiny, small or paper. latent_dim: of a latent vector, >= 1.
        features: random frequencies, >= 1; each gives a cosine and a sine. length_scale: σ of the kernel in root mean
            squares of pixels in [0, 1], > 0; 0.37 is the published code's σ² = 105 for 784 pixels.
        generator_updates: of the generator, on what was released, >= 1. generator_batch: images in each, >= 1.
        generator_rate: learning rate, > 0; falls to 0 as half a cosine.
    """

    preset: str = "small"
    latent_dim: int = 16
    features: int = 1000
    length_scale: float = 0.37
    generator_updates: int = 2000
    generator_batch: int = 250
    generator_rate: float = 2e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("preset", self.preset in PRESETS, f"one of {', '.join(PRESETS)}")
        for name in ("latent_dim", "features", "generator_updates", "generator_batch"):
            self.require(name, getattr(self, name) >= 1, ">= 1")
        for name in ("length_scale", "generator_rate"):
            self.require(name, getattr(self, name) > 0, "> 0")

    def generator(self) -> GanSettings:
        """What the GAN's generator is built by: without injected noise, which the published one has none of."""
        return GanSettings(preset=self.preset, latent_dim=self.latent_dim, upsampling_noise=0.0, seed=self.seed)


def default_settings(dataset_size: int) -> DpMerfSettings:
    """A small generator, and a tiny one below 5 000 records.

    Args:
        dataset_size: N, public.
    """
    return DpMerfSettings(preset="tiny") if dataset_size < 5000 else DpMerfSettings()
