"""The user's own images: `npz:PATH` and `image-folder:PATH`. No pickle is ever loaded.

A class is a subfolder or a label. About a fifth of the records is held out, each by its own identity alone (its
row in the file, its path in the folder): a split by position or in fixed proportions would move other records
in and out of what is trained on when one comes or goes, and the sensitivity would not be one record's.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from privgen.data.records import DataSet, ImageData, identities
from privgen.errors import DataError

_HELD_OUT = 5  # one in so many
_MOST_CLASSES = 10_000
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}


def npz(path: Path) -> DataSet:
    """Arrays `images` (N, H, W[, C]) uint8 and `labels` (N,) integers from 0, in an .npz file.

    Raises:
        DataError: the file is missing, damaged, or holds something else.
    """
    name = f"npz:{path}"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, labels = arrays["images"], arrays["labels"]
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(f"Cannot read {path} ({error}); it must hold arrays called images and labels.") from error
    if images.ndim == 3:
        images = images[..., None]
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1 or len(labels) == 0:
        raise DataError(f"{name}: expected integer labels (N,) from 0, got {labels.shape} {labels.dtype}.")
    if not 0 <= labels.min() <= labels.max() < _MOST_CLASSES:
        raise DataError(
            f"{name}: expected labels from 0 to the number of classes − 1, got {labels.min()} to {labels.max()}."
        )
    classes = tuple(str(k) for k in range(int(labels.max()) + 1))
    # Not by the file's path: the same file under another name is the same data set.
    return _held_out(name, images, labels.astype(np.int64), classes, [f"row/{row}" for row in range(len(labels))])


def image_folder(path: Path) -> DataSet:
    """One subfolder a class, image files in them, all of one square size.

    Raises:
        DataError: there are none, one cannot be read, or the sizes differ.
    """
    name = f"image-folder:{path}"
    if not path.is_dir():
        raise DataError(f"{path} is no folder; name one that has a subfolder of images for each class.")
    classes = sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = [
        (file, label)
        for label, folder in enumerate(classes)
        for file in sorted((path / folder).rglob("*"))
        if file.suffix.lower() in _SUFFIXES
    ]
    if not files:
        raise DataError(f"{path} holds no images; expected {path}/CLASS/*.png or *.jpg.")
    images = [_read(file) for file, _ in files]
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        raise DataError(f"{path} holds images of several shapes ({sorted(shapes)[:3]}); resize them to one.")
    labels = np.array([label for _, label in files])
    keys = [str(file.relative_to(path)) for file, _ in files]
    return _held_out(name, np.stack(images), labels, tuple(classes), keys)


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
    return np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))


def _held_out(name: str, images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], keys: list[str]) -> DataSet:
    ids = identities(keys)
    everything = ImageData(name=name, split="all", images=images, labels=labels, class_names=classes, ids=ids)
    held_out = ids[:, :8].copy().view(np.uint64)[:, 0] % np.uint64(_HELD_OUT) == 0
    if held_out.all() or not held_out.any():
        raise DataError(f"{name} has too few records to hold some out ({len(labels)}); give twenty or more.")
    return DataSet(name, everything.subset(np.flatnonzero(~held_out)), everything.subset(np.flatnonzero(held_out)))
