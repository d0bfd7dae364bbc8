"""One image of any size as the plan states images: cropped, resized, in its number of channels; by that image alone.

>>> wide = np.zeros((20, 40, 3), np.uint8)
>>> fitted(wide, shape=(16, 16, 3), resize=16, crop="pad").shape
(16, 16, 3)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from privgen.data.left_out import UnusableRecord

# An image that is padded to more pixels is left out: Pillow opens none that has more.
_MOST_PIXELS = 178_956_970


def fitted(
    image: NDArray[np.uint8], *, shape: tuple[int, int, int], resize: int | None, crop: str | None
) -> NDArray[np.uint8]:
    """An image (H, W, 1 or 3) in the stated shape.

    Args:
        shape: (height, width, channels). resize: the side, or None. crop: centre, pad or none.

    Raises:
        UnusableRecord: it is of another size and nothing is resized, in colour where grey is stated, or so long that
            padded to a square it has too many pixels.
    """
    image = _in_channels(image, shape[2])
    if image.shape == shape:
        return image
    if resize is None:
        size, expected = (f"{height}×{width}" for height, width in (image.shape[:2], shape[:2]))
        raise UnusableRecord(f"an image of {size}, where {expected} is stated: give --resize to privgen plan")
    square = image if crop == "none" else _padded(image) if crop == "pad" else _central(image)
    picture = Image.fromarray(square[..., 0] if square.shape[2] == 1 else square)
    resized = np.asarray(picture.resize((resize, resize), Image.Resampling.BILINEAR))
    return resized[..., None] if resized.ndim == 2 else resized


def _in_channels(image: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return image.repeat(3, axis=2)
    if (image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all():
        return image[..., :1]
    raise UnusableRecord("an image in colour, where grey ones are stated")


def _central(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width, _ = image.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def _padded(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width, _ = image.shape
    side = max(height, width)
    if side * side > _MOST_PIXELS:
        raise UnusableRecord(f"an image of {height}×{width}, too long to be padded to a square")
    above, before = (side - height) // 2, (side - width) // 2
    return np.pad(image, ((above, side - height - above), (before, side - width - before), (0, 0)))
