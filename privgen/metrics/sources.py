"""Where generated images come from: a trained generator, an .npz file, or a folder.

source = read_images(Path("generated.npz"), ("T-shirt", "Trouser"))
made = source.make(source.count(10000), seed=0)          # made.images, made.labels
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from privgen.data import load_data
from privgen.errors import EvaluationError
from privgen.generate import LoadedGenerator

Counted = Callable[[int, int], object]  # called with images made and asked for


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """images: (n, H, W, C) uint8. labels: (n,) class indices from 0, or None: they are not known."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None


class Source(Protocol):
    """Makes images.

    Attributes:
        labelled: their classes are known.
    """

    labelled: bool

    def count(self, asked: int) -> int:
        """How many of `asked` there are."""

    def make(self, count: int, seed: int, *, progress: Counted = ...) -> LabelledImages:
        """`count` images; another seed gives others where there are others."""


class GeneratorSource:
    """A trained generator: classes balanced, as many images as are asked for."""

    labelled = True

    def __init__(self, generator: LoadedGenerator) -> None:
        self._generator = generator

    def count(self, asked: int) -> int:
        """All that are asked for."""
        return asked

    def make(self, count: int, seed: int, *, progress: Counted = lambda done, total: None) -> LabelledImages:
        """Images by a seed; `progress` is called with images made and asked for."""
        images = self._generator(count, seed=seed, on_batch=lambda made: progress(made, count))
        return LabelledImages(images, self._generator.labels_for(count))


class FixedSource:
    """Images that were made before; of more than are asked for, a choice by the seed, as many of each class."""

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.int64] | None) -> None:
        self._images, self._labels = images, labels
        self.labelled = labels is not None

    def count(self, asked: int) -> int:
        """As many as there are at most."""
        return min(asked, len(self._images))

    def make(self, count: int, seed: int, *, progress: Counted = lambda done, total: None) -> LabelledImages:
        """A choice of `count` images."""
        # Shuffled even when all are taken: files are sorted by class.
        random = np.random.default_rng(seed)
        order = random.permutation(len(self._images))
        if self._labels is not None and count < len(order):
            order = order[np.argsort(_turns(self._labels[order]), kind="stable")]
        chosen = random.permutation(order[:count])
        progress(count, count)
        return LabelledImages(self._images[chosen], None if self._labels is None else self._labels[chosen])


def _turns(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,): how many images of the same class stand before each."""
    turns = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        (places,) = np.nonzero(labels == label)
        turns[places] = np.arange(len(places))
    return turns


def read_images(path: Path, class_names: tuple[str, ...]) -> FixedSource:
    """Images of an .npz file (arrays images and, if known, labels) or a folder with one subfolder a class.

    Args:
        path: the file or folder. class_names: of the real data, by which subfolders are told.

    Raises:
        EvaluationError: the file cannot be used, or the subfolders are not the classes. DataError: a folder's
            images cannot be read.
    """
    return _npz(path, len(class_names)) if path.suffix == ".npz" else _folder(path, class_names)


def _npz(path: Path, classes: int) -> FixedSource:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images = arrays["images"]
            labels = arrays["labels"] if "labels" in arrays.files else None
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise EvaluationError(f"Cannot read {path} ({error}); it must hold an array called images.") from error
    images = images[..., None] if images.ndim == 3 else images
    if images.ndim != 4 or images.dtype != np.uint8 or not len(images):
        raise EvaluationError(f"{path}: expected images (n, H, W, C) of uint8, got {images.shape} {images.dtype}.")
    if labels is None:
        return FixedSource(images, None)
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (len(images),):
        raise EvaluationError(f"{path}: expected {len(images)} integer labels, got {labels.shape} {labels.dtype}.")
    if not 0 <= labels.min() <= labels.max() < classes:
        raise EvaluationError(f"{path}: expected labels from 0 to {classes - 1}, got {labels.min()} to {labels.max()}.")
    return FixedSource(images, labels.astype(np.int64))


def _folder(path: Path, class_names: tuple[str, ...]) -> FixedSource:
    found = load_data(f"image-folder:{path}")
    # `privgen sample` names subfolders so.
    known = ["".join(c if c.isalnum() or c in "-_ " else "-" for c in name) for name in class_names]
    unknown = [name for name in found.train.class_names if name not in known]
    if unknown:
        raise EvaluationError(
            f"{path} has subfolders that are no classes of the data set ({', '.join(unknown[:3])}); expected names "
            f"among: {', '.join(known)}."
        )
    index = np.array([known.index(name) for name in found.train.class_names])
    # The loader holds some out for testing; generated images are all wanted.
    images = np.concatenate([found.train.images, found.test.images])
    return FixedSource(images, index[np.concatenate([found.train.labels, found.test.labels])])
