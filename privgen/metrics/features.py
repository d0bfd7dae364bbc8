"""What images are compared by: `Extractor`, and the simplest one, `Pixels`.

The others are EfficientNet-Lite0 (`privgen.metrics.imagenet`), a LeNet trained on the real training set
(`privgen.metrics.lenet`) and Inception-v3 (`privgen.metrics.inception`); the last two are an `ImageClassifier` as well.
Distances in different features are not comparable, so each extractor has a `name` that is printed with the number.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from privgen.errors import EvaluationError

EXTRACTORS = ("pixels", "lenet", "imagenet", "inception")
_MOST_PIXELS = 4096


class Extractor(Protocol):
    """Rows of numbers from images.

    Attributes:
        name: printed with each number. identity: a key for caches; it differs whenever the rows do.
    """

    name: str
    identity: str

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, d) from (n, H, W, C)."""


class ImageClassifier(Protocol):
    """Class probabilities from images.

    Attributes:
        identity: a key for caches.
    """

    identity: str

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(n, classes) from (n, H, W, C); each row sums to 1."""


class Pixels:
    """The pixels in [0, 1], or averages over squares of them if images are large.

    Args:
        square: side of the squares; 1 means no averaging. It is part of the name, because distances by different
            squares are not comparable.
    """

    def __init__(self, square: int = 1) -> None:
        self.square = square
        self.name = "pixels" if square == 1 else f"pixels averaged {square}×{square}"
        self.identity = "pixels/1" if square == 1 else f"pixels/1/{square}"

    @classmethod
    def fitting(cls, shape: tuple[int, ...]) -> Pixels:
        """With the smallest squares that reduce an image (H, W, C) to at most 4096 numbers.

        Raises:
            EvaluationError: no squares that divide the sides evenly do so.
        """
        height, width, channels = shape
        for square in range(1, min(height, width) // 4 + 1):
            divides = height % square == 0 and width % square == 0
            if divides and height * width * channels // square**2 <= _MOST_PIXELS:
                return cls(square)
        raise EvaluationError(
            f"Images of {height}×{width} with {channels} channels cannot be averaged to {_MOST_PIXELS} numbers in "
            "squares; give --features inception or imagenet."
        )

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, H·W·C / square²) from (n, H, W, C).

        Raises:
            EvaluationError: more than 4096 numbers for an image, whose covariance would be too large.
        """
        width = int(np.prod(images.shape[1:])) // self.square**2
        if width > _MOST_PIXELS:
            raise EvaluationError(
                f"Expected at most {_MOST_PIXELS} pixels per image, got {width}; give --features inception."
            )
        averaged = _averaged(images, self.square) if self.square > 1 else images
        return averaged.reshape(len(images), width).astype(np.float32) / np.float32(255)


def _averaged(images: NDArray[np.uint8], square: int) -> NDArray[np.float32]:
    n, height, width, channels = images.shape
    squares = images.reshape(n, height // square, square, width // square, square, channels)
    averaged: NDArray[np.float32] = squares.mean((2, 4), dtype=np.float32)
    return averaged
