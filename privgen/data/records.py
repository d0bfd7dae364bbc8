"""`ImageData` and `DataSet`: checked values that every loader returns.

>>> import numpy as np
>>> data = ImageData(name="two", split="train", images=np.zeros((2, 28, 28, 1), np.uint8),
...                  labels=np.array([0, 1]), class_names=("a", "b"), ids=identities(["0", "1"]))
>>> len(data.labels)
2
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privgen.data.identity import identities
from privgen.data.left_out import LeftOut
from privgen.data.mapped import MappedImages, taken
from privgen.errors import DataError

__all__ = ["DataSet", "ImageData", "identities"]

# Records that are read at a time.
_TOGETHER = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageData:
    """One split.

    Args:
        name: of the data set, public. split: train or test.
        images: (N, H, W, C) uint8, in memory or on disk. labels: (N,) int64, from 0.
        class_names: one a class; a class may have no record.
        ids: (N, 16) uint8 stable identities, all different.

    Raises:
        DataError: shapes, types or ranges are not these.
    """

    name: str
    split: str
    images: NDArray[np.uint8] | MappedImages
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    ids: NDArray[np.uint8]

    def __post_init__(self) -> None:
        what = f"{self.name} ({self.split})"
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or self.images.shape[3] not in (1, 3):
            raise DataError(
                f"{what}: expected images (N, H, W, 1 or 3) of uint8, got {self.images.shape} {self.images.dtype}."
            )
        if not np.issubdtype(self.labels.dtype, np.integer) or self.labels.shape != (len(self.images),):
            raise DataError(
                f"{what}: expected {len(self.images)} integer labels, got {self.labels.shape} {self.labels.dtype}."
            )
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.class_names):
            raise DataError(
                f"{what}: expected labels from 0 to {len(self.class_names) - 1}, "
                f"got {self.labels.min()} to {self.labels.max()}."
            )
        if self.ids.shape != (len(self.images), 16) or self.ids.dtype != np.uint8:
            raise DataError(f"{what}: expected ids ({len(self.images)}, 16) of uint8, got {self.ids.shape}.")

    def subset(self, indices: NDArray[np.int64]) -> ImageData:
        """These records, each with its identity."""
        return ImageData(
            name=self.name,
            split=self.split,
            images=taken(self.images, indices),
            labels=self.labels[indices],
            class_names=self.class_names,
            ids=self.ids[indices],
        )

    def renamed(self, split: str) -> ImageData:
        """The same records as another split."""
        return ImageData(
            name=self.name,
            split=split,
            images=self.images,
            labels=self.labels,
            class_names=self.class_names,
            ids=self.ids,
        )

    def contents(self) -> Iterator[bytes]:
        """Each record as training sees it: shape, label and pixels. Private."""
        for row, label in enumerate(self.labels):
            image = np.ascontiguousarray(self.images[row])
            yield f"{image.shape} {int(label)} ".encode() + image.tobytes()

    def digest(self) -> str:
        """SHA-256 of these records in this order, read a few at a time. Private: it confirms a guess of them."""
        total = hashlib.sha256()
        for array in (self.images, self.labels, self.ids):
            total.update(str(array.shape).encode())
            for at in range(0, len(array), _TOGETHER):
                total.update(np.ascontiguousarray(array[at : at + _TOGETHER]).data)
        return total.hexdigest()


@dataclass(frozen=True, slots=True)
class DataSet:
    """What is trained on, and what is held out.

    Args:
        name: public. train, test: the records.
        source: what to load it by again, private: it may be a path. None if it was not loaded.
        left_out: records and files that are in neither split; private.
        keeps_ids: whether a record that replaces another can have its identity, as replace-one asks.
    """

    name: str
    train: ImageData
    test: ImageData
    source: str | None = None
    left_out: tuple[LeftOut, ...] = ()
    keeps_ids: bool = True

    def fingerprint(self) -> str:
        """SHA-256 of the training records, in whatever order they are. Private: it confirms a guess of them."""
        train, each = self.train, []
        for at in range(0, len(train.labels), _TOGETHER):
            images = np.ascontiguousarray(train.images[at : at + _TOGETHER])
            for row, image in enumerate(images, at):
                parts = image.tobytes(), train.labels[row].tobytes(), train.ids[row].tobytes()
                each.append(hashlib.sha256(b"".join(parts)).digest())
        shape = str(train.images.shape).encode()
        return hashlib.sha256(shape + b"".join(sorted(each))).hexdigest()
