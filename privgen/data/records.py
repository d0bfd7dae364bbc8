"""`ImageData` and `DataSet`: checked values that every loader returns.

>>> import numpy as np
>>> data = ImageData(name="two", split="train", images=np.zeros((2, 28, 28, 1), np.uint8),
...                  labels=np.array([0, 1]), class_names=("a", "b"), ids=identities(["0", "1"]))
>>> len(data.labels)
2
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privgen.data.mapped import MappedImages, taken
from privgen.errors import DataError

# Records that are read at a time for the fingerprint.
_TOGETHER = 4096


def identities(keys: Iterable[str]) -> NDArray[np.uint8]:
    """(N, 16) identities from keys that name each record for good: its row in the published file, its path.

    Not from content: two equal images are two records. Not from the place in the current array: removing a
    record must not rename another.
    """
    digests = [hashlib.sha256(key.encode()).digest()[:16] for key in keys]
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 16).copy()


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageData:
    """One split.

    Args:
        name: of the data set. split: train or test.
        images: (N, H, W, C) uint8, in memory or on disk. labels: (N,) int64, from 0. class_names: one a class.
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


@dataclass(frozen=True, slots=True)
class DataSet:
    """What is trained on, and what is held out."""

    name: str
    train: ImageData
    test: ImageData

    def fingerprint(self) -> str:
        """SHA-256 of the training records. Private: it confirms a guess of the data."""
        total = hashlib.sha256()
        for array in (self.train.images, self.train.labels, self.train.ids):
            total.update(str(array.shape).encode())
            for at in range(0, len(array), _TOGETHER):
                total.update(np.ascontiguousarray(array[at : at + _TOGETHER]).data)
        return total.hexdigest()
