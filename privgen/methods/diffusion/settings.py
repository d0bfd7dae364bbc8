"""`DiffusionSettings`: learning rate, noise levels and sizes of the denoiser; nothing in it changes what a run costs.

>>> DiffusionSettings.from_json(DiffusionSettings(preset="tiny").to_json()).preset
'tiny'
"""

from __future__ import annotations

from dataclasses import dataclass

from accountant.plans.warm_start import WarmStart
from privgen.config import RunSettings
from privgen.methods.class_mixture.mixture import default_clusters, frequencies_kept
from privgen.methods.diffusion.config import PRESETS, DenoiserConfig


@dataclass(frozen=True, kw_only=True)
class DiffusionSettings(RunSettings):
    """Settings of the denoiser that are not privacy-relevant, beside those that every method has.

    Args:
        preset: size of the network: tiny, small or large.
        rate: Adam's learning rate, > 0. momentum: decay of its first moment, in [0, 1).
        draws: K, noisy images of each record in a step, >= 1; they cost time and no privacy.
        sigma_middle, sigma_spread: mean and standard deviation (> 0) of log σ in training.
        ema_decay: of the network's moving average, in [0, 1).
        sampling_steps: of Heun's method, >= 1, between largest_sigma and smallest_sigma, largest > smallest > 0.
        mixture_clusters: Gaussians in each class that the warm start fits, >= 1.
        mixture_frequencies: lowest cosine frequencies in each direction that the warm start sees, >= 1.
        mixture_rank: columns of a covariance's factor, >= 1.
    """

    preset: str = "small"
    rate: float = 1e-3
    momentum: float = 0.9
    draws: int = 1
    sigma_middle: float = -1.2
    sigma_spread: float = 1.2
    ema_decay: float = 0.98
    sampling_steps: int = 12
    largest_sigma: float = 3.0
    smallest_sigma: float = 0.4
    mixture_clusters: int = 8
    mixture_frequencies: int = 32
    mixture_rank: int = 63

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("preset", self.preset in PRESETS, f"one of {', '.join(PRESETS)}")
        for name in ("rate", "sigma_spread", "smallest_sigma"):
            self.require(name, getattr(self, name) > 0, "> 0")
        self.require("largest_sigma", self.largest_sigma > self.smallest_sigma, f"> {self.smallest_sigma}")
        for name in ("momentum", "ema_decay"):
            self.require(name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        for name in ("draws", "sampling_steps", "mixture_clusters", "mixture_frequencies", "mixture_rank"):
            self.require(name, getattr(self, name) >= 1, ">= 1")

    def denoiser(self, *, image_shape: tuple[int, int, int], classes: int, warm_start: WarmStart) -> DenoiserConfig:
        """What these settings make of images (C, H, W) in so many classes, beside the plan's statistics.

        Raises:
            ConfigError: the networks do not serve such images.
        """
        return DenoiserConfig(
            preset=self.preset,
            image_shape=image_shape,
            classes=classes,
            mixture_clusters=self.mixture_clusters,
            mixture_frequencies=frequencies_kept(
                image_shape, self.mixture_frequencies, components=warm_start.components
            ),
            mixture_components=warm_start.components,
            mixture_margin=warm_start.margin,
            mixture_rank=self.mixture_rank,
            largest_sigma=self.largest_sigma,
            smallest_sigma=self.smallest_sigma,
            sampling_steps=self.sampling_steps,
        )


def default_settings(dataset_size: int) -> DiffusionSettings:
    """What to train with where nothing is said: more records tell more clusters and frequencies from noise.

    Args:
        dataset_size: N, public.
    """
    if dataset_size < 5000:
        clusters = default_clusters(dataset_size)
        return DiffusionSettings(preset="tiny", mixture_clusters=clusters, mixture_frequencies=8, checkpoint_every=250)
    return DiffusionSettings(checkpoint_every=100)
