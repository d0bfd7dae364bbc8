"""The user's own images: `npz:PATH` and `image-folder:PATH`. No pickle is ever loaded.

A class is a subfolder or a label; a fifth of the records is held out by a fixed stratified split.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from privgen.data.embedded import split_set
from privgen.data.records import DataSet
from privgen.errors import DataError

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
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"Cannot read {path} ({error}); it must hold arrays called images and labels.") from error
    if images.ndim == 3:
        images = images[..., None]
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1 or len(labels) == 0:
        raise DataError(f"{name}: expected integer labels (N,) from 0, got {labels.shape} {labels.dtype}.")
    classes = tuple(str(k) for k in range(int(labels.max()) + 1))
    return _held_out(name, images, labels.astype(np.int64), classes, None)


def image_folder(path: Path) -> DataSet:
    """One subfolder a class, image files in them, all of one square size.

    Raises:
        DataError: there are none, one cannot be read, or the sizes differ.
    """
    name = f"image-folder:{path}"
    if not path.is_dir():
        raise DataError(f"{path} is no folder; name one that has a subfolder of images for each class.")
    classes = sorted(p.name for p in path.iterdir() if p.is_dir())
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
            pixels = np.asarray(image.convert("L" if image.mode in ("1", "L", "I;16", "LA") else "RGB"))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"{file} is no image that can be read ({error}); remove or replace it.") from error
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _held_out(
    name: str, images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], keys: list[str] | None
) -> DataSet:
    if len(images) != len(labels):
        raise DataError(f"{name}: {len(images)} images and {len(labels)} labels do not fit together.")
    test = max(len(classes), len(images) // 5)
    try:
        return split_set(name, images, labels, classes, test=test, keys=keys)
    except ValueError as error:
        raise DataError(f"{name} cannot be split: {error} Give each class two images or more.") from error
