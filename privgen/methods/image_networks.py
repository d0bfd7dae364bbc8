"""`ImageNetworks`: what the configuration of every method's networks for images has, how it is checked, and its JSON.

A method's own configuration is a subclass with sizes of its own beside; it goes into checkpoints and generator.json.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from privgen.catalogue import EXPECTED, upsamplings
from privgen.errors import ConfigError

Shape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageNetworks:
    """What networks for images are built from.

    Args:
        preset: one of the method's sizes.
        image_shape: (C, H, W) with C 1 or 3 and H = W, 28, 32 or 64 (see `privgen.catalogue`).
        classes: >= 1.

    A subclass says what it is `called` in errors, and which `presets` there are.
    """

    called: ClassVar[str]
    presets: ClassVar[Collection[str]]

    preset: str = "small"
    image_shape: Shape
    classes: int

    def _require_images(self) -> None:
        """Raise ConfigError unless preset and images are among those that are served."""
        if self.preset not in self.presets:
            raise ConfigError(f"Expected preset={self.preset!r} to be one of: {', '.join(self.presets)}.")
        if upsamplings(*self.image_shape) is None:
            raise ConfigError(
                f"Expected image_shape={self.image_shape!r}, (C, H, W), to have {EXPECTED}; resize the images."
            )

    @property
    def upsamplings(self) -> int:
        """How often the coarsest resolution is doubled."""
        doublings = upsamplings(*self.image_shape)
        assert doublings is not None  # `_require_images` has seen to it
        return doublings

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; `from_json` is its inverse."""
        return asdict(self) | {"image_shape": list(self.image_shape)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The configuration that `to_json` wrote.

        Raises:
            ConfigError: unknown or missing fields, or a value out of range.
        """
        unknown = set(data) - {f.name for f in fields(cls)}
        if unknown:
            raise ConfigError(f"Unknown {cls.called} settings: {', '.join(sorted(unknown))}.")
        try:
            return cls(**{**data, "image_shape": tuple(data["image_shape"])})
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"The {cls.called} settings are inconsistent: {error}") from error


def no_images(shape: Shape, device: torch.device) -> tuple[Tensor, Tensor]:
    """`Learner.like` of images and labels: none of them, (0, C, H, W) and (0,)."""
    return torch.zeros(0, *shape, device=device), torch.zeros(0, dtype=torch.int64, device=device)
