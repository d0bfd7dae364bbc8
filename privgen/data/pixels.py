"""What a pixel means: one image file as uint8 (H, W, 1 or 3), by that file alone, or the reason why not.

turned as the camera says (EXIF)         palette, CMYK, YCbCr to RGB; two levels to grey
transparency laid on white               16 bits lose their lower eight
12 bits in 16, 32 bits, floating point   refused: what is white is not in the file, and a range found in
                                         the data is a statistic of them
several pages, an animation              refused: which one is the record is not in the file

>>> import tempfile
>>> path = Path(tempfile.mkdtemp()) / "grey.png"
>>> Image.new("L", (6, 4), 7).save(path)
>>> size_of(path), int(read_image(path).max())
((4, 6, 1), 7)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from privgen.data.left_out import UnusableRecord

# Formats that hold one picture of pixels; none runs another program to be read.
_FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "QOI", "SGI", "TIFF", "WEBP",
)  # fmt: skip
_GREY = ("1", "L", "LA", "La")
_ORIENTATION = 0x0112
_TWELVE_BITS = 4096


def size_of(path: Path) -> tuple[int, int, int]:
    """(height, width, channels) as `read_image` gives them, from the header alone.

    Raises:
        UnusableRecord: it is no image of one picture.
    """
    with _opened(path) as image:
        width, height = image.size
        if image.getexif().get(_ORIENTATION, 1) >= 5:
            height, width = width, height
        return height, width, 1 if image.mode in _GREY or image.mode.startswith(("I", "F")) else 3


def read_image(path: Path) -> NDArray[np.uint8]:
    """(H, W, 1 or 3).

    Raises:
        UnusableRecord: it is no image of one picture, it is damaged, or its file does not say what is white.
    """
    with _opened(path) as image:
        # Turning forgets the format.
        return picture_pixels(ImageOps.exif_transpose(image), image.format)


def picture_pixels(image: Image.Image, file_format: str | None = None) -> NDArray[np.uint8]:
    """An image that is already open, as `read_image` would give it.

    Args:
        file_format: of the file that it is from, by Pillow's name, or None.

    Raises:
        UnusableRecord: what is white is not in it.
    """
    pixels = _pixels(image, file_format)
    return pixels[..., None] if pixels.ndim == 2 else pixels


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    Image.init()
    try:
        with Image.open(path, formats=[name for name in _FORMATS if name in Image.OPEN]) as image:
            _require_one_picture(image)
            yield image
    except (UnusableRecord, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise UnusableRecord(f"no image that can be read ({path.suffix or 'no suffix'})") from error
    except Exception as error:  # decoders raise whatever they like, and one file must not end a run
        raise UnusableRecord(f"a damaged image, or one that is not permitted ({type(error).__name__})") from error


def _require_one_picture(image: Image.Image) -> None:
    pages = getattr(image, "n_frames", 1)
    # A photograph may carry its preview behind it.
    if pages > 1 and image.format not in ("MPO", "JPEG"):
        raise UnusableRecord(f"{pages} pages or frames in a {image.format}: save the one that is the record as a file")


def _pixels(image: Image.Image, file_format: str | None) -> NDArray[np.uint8]:
    if image.mode.startswith(("I", "F")):
        return _eight_bits(image, file_format)
    grey = image.mode in _GREY
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.asarray(image.convert("L" if grey else "RGB"))


def _eight_bits(image: Image.Image, file_format: str | None) -> NDArray[np.uint8]:
    """Sixteen bits lose their lower eight, always the same ones; of other numbers nobody knows what is white."""
    values = np.asarray(image)
    least, most = values.min(), values.max()
    # Pillow gives sixteen bits of a PNM or a PNG file as 32.
    sixteen = image.mode.startswith("I;16") or file_format in ("PNG", "PPM")
    if not sixteen:
        kind = "floating-point numbers" if image.mode == "F" else "integers of 32 bits, or with a sign,"
        raise UnusableRecord(
            f"{kind} from {least:g} to {most:g}, of which the file does not say what is white: convert them to 8 or "
            "16 bits by a constant that does not depend on the data"
        )
    if 0 < most < _TWELVE_BITS:
        raise UnusableRecord(
            "16 bits that end below 4096, as of 12 bits or fewer in 16, which would be all but black: convert them by "
            "a constant, such as (pixels >> 4).astype(numpy.uint8)"
        )
    return (values.astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
