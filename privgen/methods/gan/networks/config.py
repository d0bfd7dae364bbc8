"""`NetworkConfig`: what the four networks are built from; goes into generator.json.

>>> NetworkConfig.from_json(NetworkConfig(image_shape=(1, 28, 28), classes=10).to_json()).start
7
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from accountant.plans.warm_start import WarmStart
from privgen.errors import ConfigError
from privgen.methods.class_mixture.mixture import frequencies_kept
from privgen.methods.gan.settings import LATENT_PRIORS, UPSAMPLING_NOISE_KINDS, GanSettings
from privgen.methods.image_networks import ImageNetworks


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """Channels of the networks.

    Args:
        generator: at the start, and after each upsampling. critic, classifier, encoder: of each convolution.
    """

    generator: tuple[int, ...]
    critic: tuple[int, ...]
    classifier: tuple[int, ...]
    encoder: tuple[int, ...]


# The fourth generator width serves 64×64 images, which are upsampled three times.
PRESETS: dict[str, Sizes] = {
    "tiny": Sizes(generator=(64, 32, 16, 16), critic=(16, 32, 64), classifier=(16, 32), encoder=(8, 16, 32)),
    "small": Sizes(generator=(96, 48, 24, 24), critic=(32, 64, 128), classifier=(16, 32), encoder=(16, 32, 32)),
    "paper": Sizes(generator=(256, 256, 128, 64), critic=(64, 128, 256), classifier=(32, 64), encoder=(32, 64, 128)),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkConfig(ImageNetworks):
    """What the networks are built from.

    Args:
        preset: tiny, small or paper. image_shape, classes: see ImageNetworks.
        latent_dim: length of a latent vector, >= 1.
        latent_prior: distribution of latent vectors: gaussian, bernoulli, mixture or class-conditional.
        upsampling_noise: σ_noise, std of the Gaussian noise after each upsampling, >= 0; where it is scheduled or
            learned or steered, what it begins with (these two: > 0).
        upsampling_noise_kind: fixed, scheduled (linear in the steps), learned (one σ for each upsampling) or steered
            (by the spread of generated images).
        upsampling_noise_end: what a scheduled σ_noise ends with, >= 0.
        critic_spectral_norm: whether the critic's layers are spectrally normalised, instead of GroupNorm.
        mixture_clusters: Gaussians in a class of the mixture that a warm start puts under the generator; 0 is none.
        mixture_frequencies: of the mixture in each direction, >= 1; no more than the height are kept.
        mixture_components, mixture_margin: of the mixture, see ClassMixture; >= 0.

    Raises:
        ConfigError: a value is out of range.
    """

    called: ClassVar[str] = "network"
    presets: ClassVar[Collection[str]] = PRESETS

    latent_dim: int = 64
    latent_prior: str = "gaussian"
    upsampling_noise: float = 0.1
    upsampling_noise_kind: str = "fixed"
    upsampling_noise_end: float = 0.0
    critic_spectral_norm: bool = False
    mixture_clusters: int = 0
    mixture_frequencies: int = 16
    mixture_components: int = 0
    mixture_margin: float = 0.0

    def __post_init__(self) -> None:
        self._require_images()
        if self.classes < 1 or self.latent_dim < 1 or not self.upsampling_noise >= 0:
            raise ConfigError(
                f"Expected classes={self.classes!r} >= 1, latent_dim={self.latent_dim!r} >= 1 and "
                f"upsampling_noise={self.upsampling_noise!r} >= 0."
            )
        if self.upsampling_noise_kind not in UPSAMPLING_NOISE_KINDS:
            raise ConfigError(
                f"Expected upsampling_noise_kind={self.upsampling_noise_kind!r} to be one of: "
                f"{', '.join(UPSAMPLING_NOISE_KINDS)}."
            )
        if not self.upsampling_noise_end >= 0:
            raise ConfigError(f"Expected upsampling_noise_end={self.upsampling_noise_end!r} to be >= 0.")
        if self.mixture_components < 0 or not 0 <= self.mixture_margin <= 1:
            raise ConfigError(
                f"Expected mixture_components={self.mixture_components!r} >= 0 and mixture_margin="
                f"{self.mixture_margin!r} in [0, 1]."
            )
        if self.upsampling_noise_kind in ("learned", "steered") and self.upsampling_noise == 0:
            raise ConfigError(
                f"Expected upsampling_noise=0 to be > 0 where it is {self.upsampling_noise_kind}: it never leaves 0."
            )
        self._require_prior()
        if self.mixture_clusters < 0 or self.mixture_frequencies < 1 or (self.mixture_clusters and self.latent_dim < 2):
            raise ConfigError(
                f"Expected mixture_clusters={self.mixture_clusters!r} >= 0, mixture_frequencies="
                f"{self.mixture_frequencies!r} >= 1 and, with a mixture, latent_dim={self.latent_dim!r} >= 2."
            )

    def _require_prior(self) -> None:
        if self.latent_prior not in LATENT_PRIORS:
            raise ConfigError(f"Expected latent_prior={self.latent_prior!r} to be one of: {', '.join(LATENT_PRIORS)}.")
        if self.latent_prior != "gaussian" and self.mixture_clusters:
            raise ConfigError(
                f"Expected latent_prior={self.latent_prior!r} to be gaussian with a warm start, whose mixture takes "
                "Gaussian vectors; plan with --warm-start 0."
            )

    @classmethod
    def of(
        cls,
        config: GanSettings,
        *,
        image_shape: tuple[int, int, int],
        classes: int,
        warm_start: WarmStart | None = None,
    ) -> NetworkConfig:
        """The networks that a run's settings ask for.

        Args:
            image_shape: (C, H, W) of the data set. classes: number of its classes.
            warm_start: statistics that the plan releases, which a mixture under the generator takes up; or None.
        """
        components = 0 if warm_start is None else warm_start.components
        return cls(
            preset=config.preset,
            image_shape=image_shape,
            classes=classes,
            latent_dim=config.latent_dim,
            latent_prior=config.latent_prior,
            upsampling_noise=config.upsampling_noise,
            upsampling_noise_kind=config.upsampling_noise_kind,
            upsampling_noise_end=config.upsampling_noise_end,
            critic_spectral_norm=config.critic_constraint == "spectral-norm",
            mixture_clusters=0 if warm_start is None else config.mixture_clusters,
            mixture_frequencies=frequencies_kept(image_shape, config.mixture_frequencies, components=components),
            mixture_components=components,
            mixture_margin=0.0 if warm_start is None else warm_start.margin,
        )

    @property
    def start(self) -> int:
        """Height at which the generator starts."""
        height: int = self.image_shape[1] // 2**self.upsamplings
        return height

    @property
    def sizes(self) -> Sizes:
        """Channels of the preset."""
        return PRESETS[self.preset]
