"""The user's own images: `npz:PATH` and `image-folder:PATH`. No pickle is ever loaded.

A class is a subfolder or a label. About a fifth of the records is held out, each by its own identity alone (its
row in the file, its path in the folder): a split by position or in fixed proportions would move other records
in and out of what is trained on when one comes or goes, and the sensitivity would not be one record's.

Nothing is fitted to the data (no range, no mean): a statistic of them is not free. What does not fit is refused,
with the file, what it holds, and what to do.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from privgen.catalogue import EXPECTED, upsamplings
from privgen.data.mapped import map_member, room_for
from privgen.data.records import DataSet, ImageData, identities
from privgen.errors import DataError

_HELD_OUT = 5  # one in so many
_MOST_CLASSES = 10_000
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"}


def npz(path: Path) -> DataSet:
    """Arrays `images` (N, H, W[, C]) uint8 and `labels` (N,) integers 0 to k − 1, in an .npz file.

    Raises:
        DataError: the file is missing, damaged, or holds something else.
    """
    name = f"npz:{path}"
    _require_path(path, name)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            mapped = map_member(path, "images")
            images, labels = arrays["images"] if mapped is None else mapped, arrays["labels"]
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(f"Cannot read {path} ({error}); it must hold arrays called images and labels.") from error
    images = images[..., None] if images.ndim == 3 else images
    _require_images(images, name)
    _require_labels(labels, len(images), name)
    classes = tuple(str(k) for k in range(int(labels.max()) + 1))
    # Not by the file's path: the same file under another name is the same data set.
    return _held_out(name, images, labels.astype(np.int64), classes, [f"row/{row}" for row in range(len(labels))])


def _require_path(path: Path, name: str) -> None:
    if not path.name:
        raise DataError(f"{name.partition(':')[0]}: needs a path behind the colon, such as npz:scans.npz.")


def _require_images(images: np.ndarray, name: str) -> None:
    what = f"{name}: images are {images.dtype} {images.shape}"
    if images.dtype != np.uint8:
        raise DataError(f"{what}{_range(images)}; expected uint8, 0 to 255: {_to_uint8(images)}.")
    if images.ndim != 4 or not len(images):
        raise DataError(f"{what}; expected (N, H, W) or (N, H, W, C): reshape them.")
    if images.shape[3] not in (1, 3) and images.shape[1] in (1, 3):
        raise DataError(f"{what}; expected the channels last: images.transpose(0, 2, 3, 1).")
    if images.shape[3] == 4:
        raise DataError(f"{what}; expected 1 or 3 channels: leave the fourth (transparency) away, images[..., :3].")
    _require_shape(images, name)


def _range(images: np.ndarray) -> str:
    if not np.issubdtype(images.dtype, np.number) or not images.size:
        return ""
    if not np.isfinite(images).all():
        return " with values that are not finite"
    return f" from {images.min():.6g} to {images.max():.6g}"


def _to_uint8(images: np.ndarray) -> str:
    """What to do about other numbers; from the type, and for real ones from how large they are."""
    if not np.issubdtype(images.dtype, np.floating):
        return "images.astype(np.uint8), once they are in that range"
    if images.size and not np.isfinite(images).all():
        return "remove or repair those records first"
    scale = "images * 255" if images.size and images.max() <= 1 else "images"
    return f"np.round({scale}).astype(np.uint8), by a scale that does not depend on the data"


def _require_shape(images: np.ndarray, name: str) -> None:
    """(N, H, W, C) that the networks can make."""
    _, height, width, channels = images.shape
    if upsamplings(channels, height, width) is None:
        raise DataError(
            f"{name}: images are {height}×{width} with {channels} channel{'s' if channels > 1 else ''}; "
            f"expected {EXPECTED}: crop or resize them."
        )


def _require_labels(labels: np.ndarray, count: int, name: str) -> None:
    what = f"{name}: labels are {labels.dtype} {labels.shape}"
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise DataError(f"{what}; expected a class number for each image, ({count},): labels.argmax(1) if one-hot.")
    if labels.shape != (count,):
        raise DataError(f"{what} for {count} images; expected ({count},): one class number for each image.")
    renumber = "np.unique(labels, return_inverse=True)[1] numbers them so"
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{what}; expected integers 0 to k − 1: {renumber}.")
    if not 0 <= labels.min() <= labels.max() < _MOST_CLASSES:
        raise DataError(f"{name}: labels go from {labels.min()} to {labels.max()}; expected 0 to k − 1: {renumber}.")
    absent = sorted(set(range(int(labels.max()))) - set(labels.tolist()))
    if absent:
        raise DataError(
            f"{name}: labels go up to {labels.max()} and no image has label {absent[0]}; expected 0 to k − 1 "
            f"without gaps: {renumber}."
        )


def image_folder(path: Path) -> DataSet:
    """One subfolder a class, image files in them, all of one square size. Hidden files are left out.

    Transparency is laid on white; sixteen bits lose their lower eight; palettes and CMYK become RGB.

    Raises:
        DataError: there are none, one cannot be read, a class is empty, or the shapes differ.
    """
    name = f"image-folder:{path}"
    _require_path(path, name)
    if not path.is_dir():
        raise DataError(f"{path} is no folder; name one that has a subfolder of images for each class.")
    classes = sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    if loose := _images_in(path, path.glob("*")):
        raise DataError(f"{loose[0]} lies in no class; move it into a subfolder, {path}/CLASS/{loose[0].name}.")
    files = []
    for label, folder in enumerate(classes):
        own = _images_in(path, (path / folder).rglob("*"))
        if not own:
            kinds = ", ".join(sorted(_SUFFIXES))
            raise DataError(f"Class folder {path / folder} holds no images ({kinds}); fill it or remove it.")
        files += [(file, label) for file in own]
    if not files:
        raise DataError(f"{path} holds no images; expected {path}/CLASS/*.png or *.jpg.")
    stacked = _stacked([file for file, _ in files])
    labels = np.array([label for _, label in files])
    keys = [str(file.relative_to(path)) for file, _ in files]
    _require_shape(stacked, name)
    return _held_out(name, stacked, labels, tuple(classes), keys)


def _images_in(root: Path, files: Iterable[Path]) -> list[Path]:
    return sorted(
        file
        for file in files
        if file.suffix.lower() in _SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(root).parts)
    )


def _stacked(files: list[Path]) -> np.ndarray:
    """(N, H, W, C), one image after another, so that they need not all fit in memory."""
    first = _read(files[0])
    images = room_for((len(files), *first.shape))
    for row, file in enumerate(files):
        image = _read(file)
        if image.shape != first.shape:
            sizes = ["×".join(map(str, shape)) for shape in (first.shape, image.shape)]
            same = first.shape[:2] == image.shape[:2]
            raise DataError(
                f"{files[0]} is {sizes[0]} and {file} is {sizes[1]} (height × width × channels); the images have "
                f"several shapes: {'make all grey, or all RGB' if same else 'resize them to one'}."
            )
        images[row] = image
    return images


def _read(file: Path) -> np.ndarray:
    try:
        with Image.open(file) as image:
            pixels = _pixels(image)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"{file} is no image that can be read ({error}); remove or replace it.") from error
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _pixels(image: Image.Image) -> np.ndarray:
    """uint8; sixteen bits lose their lower eight, always the same ones: a range found in the data is not free."""
    if image.mode.startswith("I"):
        return (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, expected 8 or 16 bits")
    grey = image.mode in ("1", "L", "LA")
    if image.has_transparency_data:
        transparent = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), transparent)
    return np.asarray(image.convert("L" if grey else "RGB"))


def _held_out(name: str, images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], keys: list[str]) -> DataSet:
    ids = identities(keys)
    everything = ImageData(name=name, split="all", images=images, labels=labels, class_names=classes, ids=ids)
    held_out = ids[:, :8].copy().view(np.uint64)[:, 0] % np.uint64(_HELD_OUT) == 0
    if held_out.all() or not held_out.any():
        raise DataError(f"{name} has too few records to hold some out ({len(labels)}); give twenty or more.")
    return DataSet(name, everything.subset(np.flatnonzero(~held_out)), everything.subset(np.flatnonzero(held_out)))
