"""`npz:PATH`: arrays in one file. Two layouts; no pickle is ever loaded.

    images (N, H, W[, C]) uint8 · labels (N,) whole numbers or words · ids (N,) · persons (N,) · class_names (k,)
    train_images, train_labels, test_images, test_labels: MedMNIST's, with its published splits; val_* is left alone

All but `images` may be missing: without labels every record is of one class, without ids a record is known by its
content. A label is the class of that name; where `class_names` is there, of the name with that number.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from privgen.data.identity import require_unique
from privgen.data.mapped import map_member
from privgen.data.source import UNLABELLED, ArraySource, Opened
from privgen.errors import DataError

_PUBLISHED = ("train_images", "train_labels", "test_images", "test_labels")
_DAMAGE = (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile)


def open_npz(path: Path) -> Opened:
    """The records of an .npz file.

    Raises:
        DataError: the file is missing, damaged, or holds something else; or an id stands twice.
    """
    name = f"npz:{path}"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if set(_PUBLISHED) <= set(arrays.files):
                train, test = (_published(path, name, arrays, split) for split in ("train", "test"))
                return Opened("npz", train, test)
            mapped = map_member(path, "images")
            images = arrays["images"] if mapped is None else mapped
            given = {key: arrays[key] for key in ("labels", "ids", "persons", "class_names") if key in arrays.files}
    except _DAMAGE as error:
        raise DataError(
            f"Cannot read {path} ({error}); it must hold an array called images, and labels if there are classes."
        ) from error
    return Opened("npz", _source(name, images, given))


def _published(path: Path, name: str, arrays: np.lib.npyio.NpzFile, split: str) -> ArraySource:
    """A split of MedMNIST: labels come in a column."""
    mapped = map_member(path, f"{split}_images")
    labels = arrays[f"{split}_labels"]
    column = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    images = arrays[f"{split}_images"] if mapped is None else mapped
    return _source(name, images, {"labels": column}, what=f"{split} row")


def _source(
    name: str, images: NDArray[np.uint8], given: dict[str, NDArray[np.generic]], what: str = "row"
) -> ArraySource:
    images = images[..., None] if images.ndim == 3 else images
    _require_images(images, name)
    count = len(images)
    labels = [UNLABELLED] * count
    class_names = tuple(_words(given["class_names"], None, "class_names", name)) if "class_names" in given else ()
    if "labels" in given:
        labels = _labels(given["labels"], class_names, count, name)
    ids = _words(given["ids"], count, "ids", name) if "ids" in given else None
    if ids is not None:
        require_unique(ids, name)
    persons = _words(given["persons"], count, "persons", name) if "persons" in given else None
    return ArraySource(
        images=images,
        labels=labels,
        what=what,
        known_classes=class_names,
        keys=None if ids is None else [f"id/{one}" for one in ids],
        persons=persons,
    )


def _require_images(images: NDArray[np.uint8], name: str) -> None:
    what = f"{name}: images are {images.dtype} {images.shape}"
    if images.dtype != np.uint8:
        raise DataError(f"{what}{_range(images)}; expected uint8, 0 to 255: {_to_uint8(images)}.")
    if images.ndim != 4 or not len(images):
        raise DataError(f"{what}; expected (N, H, W) or (N, H, W, C): reshape them.")
    if images.shape[3] not in (1, 3) and images.shape[1] in (1, 3):
        raise DataError(f"{what}; expected the channels last: images.transpose(0, 2, 3, 1).")
    if images.shape[3] == 4:
        raise DataError(f"{what}; expected 1 or 3 channels: omit the fourth (transparency), images[..., :3].")
    if images.shape[3] not in (1, 3):
        raise DataError(f"{what}; expected 1 or 3 channels.")


def _range(images: NDArray[np.generic]) -> str:
    if not np.issubdtype(images.dtype, np.number) or not images.size:
        return ""
    if not np.isfinite(images).all():
        return " with values that are not finite"
    return f" from {images.min():.6g} to {images.max():.6g}"


def _to_uint8(images: NDArray[np.generic]) -> str:
    """What to do about other numbers; from the type, and for real ones from how large they are."""
    if not np.issubdtype(images.dtype, np.floating):
        return "images.astype(np.uint8), once they are in that range"
    if images.size and not np.isfinite(images).all():
        return "remove or repair those records first"
    scale = "images * 255" if images.size and images.max() <= 1 else "images"
    return f"np.round({scale}).astype(np.uint8), by a scale that does not depend on the data"


def _labels(labels: NDArray[np.generic], class_names: tuple[str, ...], count: int, name: str) -> list[str]:
    what = f"{name}: labels are {labels.dtype} {labels.shape}"
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise DataError(f"{what}; expected one class for each image, ({count},): labels.argmax(1) if one-hot.")
    if labels.shape == (count, 1):
        raise DataError(f"{what} for {count} images; expected ({count},): labels[:, 0].")
    if labels.shape != (count,):
        raise DataError(f"{what} for {count} images; expected ({count},): one class for each image.")
    if not (np.issubdtype(labels.dtype, np.integer) or labels.dtype.kind in "US"):
        raise DataError(
            f"{what}; expected whole numbers or words: np.unique(labels, return_inverse=True)[1] numbers them."
        )
    words = _words(labels, count, "labels", name)
    if not class_names or not np.issubdtype(labels.dtype, np.integer):
        return words
    # A number behind the names is of a class that nobody listed, whatever the classes are called.
    return [class_names[k] if 0 <= k < len(class_names) else f"label {k}" for k in labels.tolist()]


def _words(values: NDArray[np.generic], count: int | None, what: str, name: str) -> list[str]:
    """Whole numbers or words as text."""
    if values.ndim != 1 or (count is not None and len(values) != count):
        raise DataError(f"{name}: {what} are {values.dtype} {values.shape}; expected one for each image, ({count},).")
    if values.dtype.kind == "S":
        return [value.decode("utf-8", "replace") for value in values.tolist()]
    if not (values.dtype.kind == "U" or np.issubdtype(values.dtype, np.integer)):
        raise DataError(f"{name}: {what} are {values.dtype}; expected whole numbers or words.")
    known = {value: str(value) for value in np.unique(values).tolist()}
    return [known[value] for value in values.tolist()]
