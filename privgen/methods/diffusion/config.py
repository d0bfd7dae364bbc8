"""`DenoiserConfig`: what the denoiser and the mixture under it are built from; goes into generator.json.

>>> DenoiserConfig.from_json(DenoiserConfig(image_shape=(1, 28, 28), classes=10).to_json()).widths
(32, 64)
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from privgen.errors import ConfigError
from privgen.methods.image_networks import ImageNetworks


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How large a denoiser is.

    Args:
        patch: side of the squares of pixels that become channels before the first convolution, 1 or 2.
        widths: channels of each resolution, from the finest; images above 32×32 have one resolution more than others.
        embedding: numbers that tell the network σ and the label. attention: whether the coarsest map has it.
    """

    patch: int
    widths: tuple[int, ...]
    embedding: int
    attention: bool = False


PRESETS: dict[str, Size] = {
    "tiny": Size(patch=2, widths=(16, 32, 32), embedding=32),
    "small": Size(patch=2, widths=(32, 64, 64), embedding=64),
    # For a GPU.
    "large": Size(patch=1, widths=(48, 96, 128, 128), embedding=128, attention=True),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class DenoiserConfig(ImageNetworks):
    """What the denoiser is built from.

    Args:
        preset: tiny, small or large. image_shape, classes: see ImageNetworks.
        mixture_clusters: Gaussians in a class of the mixture, >= 1.
        mixture_frequencies: of the mixture in each direction, 1 to the height.
        mixture_rank: columns of a covariance's factor, >= 1.
        mixture_components, mixture_margin: of the mixture, see ClassMixture; >= 0.
        largest_sigma, smallest_sigma: noise levels between which images are sampled, largest > smallest > 0.
        sampling_steps: of Heun's method, >= 1.

    Raises:
        ConfigError: a value is out of range.
    """

    called: ClassVar[str] = "denoiser"
    presets: ClassVar[Collection[str]] = PRESETS

    mixture_clusters: int = 8
    mixture_frequencies: int = 16
    mixture_rank: int = 63
    mixture_components: int = 0
    mixture_margin: float = 0.0
    largest_sigma: float = 3.0
    smallest_sigma: float = 0.02
    sampling_steps: int = 12

    def __post_init__(self) -> None:
        self._require_images()
        for name in ("classes", "mixture_clusters", "mixture_frequencies", "mixture_rank", "sampling_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"Expected {name}={getattr(self, name)!r} to be >= 1.")
        if self.mixture_components < 0 or not 0 <= self.mixture_margin <= 1:
            raise ConfigError(
                f"Expected mixture_components={self.mixture_components!r} >= 0 and mixture_margin="
                f"{self.mixture_margin!r} in [0, 1]."
            )
        if self.mixture_frequencies > self.image_shape[1]:
            raise ConfigError(
                f"Expected mixture_frequencies={self.mixture_frequencies!r} to be at most the height, "
                f"{self.image_shape[1]}."
            )
        if not self.largest_sigma > self.smallest_sigma > 0:
            raise ConfigError(
                f"Expected largest_sigma={self.largest_sigma!r} > smallest_sigma={self.smallest_sigma!r} > 0."
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each resolution, from the finest."""
        size = PRESETS[self.preset]
        return size.widths[: self.upsamplings + (size.patch == 1)]

    @property
    def latent_dim(self) -> int:
        """Length of the vector that chooses a mixture's image: which cluster, then where in it."""
        return self.mixture_rank + 1
