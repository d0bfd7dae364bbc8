"""Where generated images come from: a trained generator, an .npz file, or a folder.

source = read_images(Path("generated.npz"), ("T-shirt", "Trouser"))
made = source.make(source.count(10000), seed=0)          # made.images, made.labels
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from privgen.data.export import safe_names
from privgen.data.load import load_records
from privgen.data.source import UNLABELLED
from privgen.errors import EvaluationError
from privgen.generate import LoadedGenerator, load_generator

Counted = Callable[[int, int], object]  # called with the images made and their total


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """images: (n, H, W, C) uint8. labels: (n,) class indices from 0, or None if they are not known."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None


class Source(Protocol):
    """Makes images.

    Attributes:
        labelled: whether their classes are known.
    """

    labelled: bool

    def count(self, asked: int) -> int:
        """How many of `asked` images it can give."""

    def make(self, count: int, seed: int, *, progress: Counted = ...) -> LabelledImages:
        """`count` images; a different seed gives different ones, if there are any."""


class GeneratorSource:
    """A trained generator: any number of images, with balanced classes."""

    labelled = True

    def __init__(self, generator: LoadedGenerator) -> None:
        self._generator = generator

    @classmethod
    def of_run(cls, run: Path) -> GeneratorSource:
        """What a run released.

        Raises:
            RunError: there is no release, or it does not fit what is said of it.
        """
        return cls(load_generator(run))

    def count(self, asked: int) -> int:
        """All of them."""
        return asked

    def make(self, count: int, seed: int, *, progress: Counted = lambda done, total: None) -> LabelledImages:
        """Images by a seed; `progress` is called with the images made and their total."""
        images = self._generator(count, seed=seed, on_batch=lambda made: progress(made, count))
        return LabelledImages(images, self._generator.labels_for(count))


class FixedSource:
    """Existing images. If there are more than are asked for, the seed chooses, with equal numbers of each class."""

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.int64] | None) -> None:
        self._images, self._labels = images, labels
        self.labelled = labels is not None

    def count(self, asked: int) -> int:
        """At most as many as there are."""
        return min(asked, len(self._images))

    def make(self, count: int, seed: int, *, progress: Counted = lambda done, total: None) -> LabelledImages:
        """A choice of `count` images."""
        # Shuffled even if all are taken, because files are sorted by class.
        random = np.random.default_rng(seed)
        order = random.permutation(len(self._images))
        if self._labels is not None and count < len(order):
            order = order[np.argsort(_turns(self._labels[order]), kind="stable")]
        chosen = random.permutation(order[:count])
        progress(count, count)
        return LabelledImages(self._images[chosen], None if self._labels is None else self._labels[chosen])


def _turns(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,): how many images of the same class come before each."""
    turns = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        (places,) = np.nonzero(labels == label)
        turns[places] = np.arange(len(places))
    return turns


def read_images(path: Path, class_names: tuple[str, ...]) -> FixedSource:
    """Images of an .npz file (arrays images and, if known, labels) or of a folder with a subfolder for each class.

    Args:
        path: the file or folder. class_names: of the real data, which the subfolders are named after.

    Raises:
        EvaluationError: the file cannot be used, or a subfolder is not named after a class. DataError: a folder's
            images cannot be read.
    """
    return _npz(path, class_names) if path.suffix == ".npz" else _folder(path, class_names)


def _npz(path: Path, class_names: tuple[str, ...]) -> FixedSource:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images = arrays["images"]
            labels = arrays["labels"] if "labels" in arrays.files else None
            names = tuple(arrays["class_names"].tolist()) if "class_names" in arrays.files else class_names
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise EvaluationError(f"Cannot read {path} ({error}); it must hold an array called images.") from error
    images = images[..., None] if images.ndim == 3 else images
    if images.ndim != 4 or images.dtype != np.uint8 or not len(images):
        raise EvaluationError(f"{path}: expected images (n, H, W, C) of uint8, got {images.shape} {images.dtype}.")
    if labels is None:
        return FixedSource(images, None)
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (len(images),):
        raise EvaluationError(f"{path}: expected {len(images)} integer labels, got {labels.shape} {labels.dtype}.")
    if not 0 <= labels.min() <= labels.max() < len(names):
        raise EvaluationError(
            f"{path}: expected labels from 0 to {len(names) - 1}, got {labels.min()} to {labels.max()}."
        )
    index = _index(path, [names[label] for label in np.unique(labels)], class_names)
    return FixedSource(images, np.array([index[names[label]] for label in labels.tolist()], dtype=np.int64))


def _folder(path: Path, class_names: tuple[str, ...]) -> FixedSource:
    found = load_records(f"image-folder:{path}")
    if found.class_names == (UNLABELLED,) != class_names and len(class_names) > 1:
        return FixedSource(np.asarray(found.images), None)
    index = _index(path, found.class_names, class_names)
    labels = [index[found.class_names[label]] for label in found.labels.tolist()]
    return FixedSource(np.asarray(found.images), np.array(labels, dtype=np.int64))


def _index(path: Path, found: Sequence[str], class_names: tuple[str, ...]) -> dict[str, int]:
    """The number of each class that was found, by its name or by the name of its folder."""
    known = {name: number for number, name in enumerate(safe_names(class_names))}
    known |= {name: number for number, name in enumerate(class_names)}
    if len(class_names) == 1:
        known[UNLABELLED] = 0
    unknown = [name for name in found if name not in known]
    if unknown:
        raise EvaluationError(
            f"{path} has subfolders or labels that are not classes of the data set ({', '.join(unknown[:3])}); "
            f"expected names among: {', '.join(class_names)}."
        )
    return {name: known[name] for name in found}
