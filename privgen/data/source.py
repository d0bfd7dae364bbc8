"""`Source`: somebody's own records before the plan's public facts are applied to them, one way for every format.

A source says of each record its class, its identity if it has one and its person if one is named, and reads its image
when it is asked. What is made of that is `privgen.data.assemble`'s, by the facts and by each record alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from privgen.data.left_out import LeftOut
from privgen.data.pixels import read_image, size_of

# The class of every record where none has a class of its own.
UNLABELLED = "images"
Size = tuple[int, int, int]


class Source(Protocol):
    """Records of one split, or all of them."""

    @property
    def labels(self) -> Sequence[str]:
        """The class of each, by name."""

    @property
    def known_classes(self) -> tuple[str, ...]:
        """Classes whose order the source states; others follow."""

    @property
    def keys(self) -> Sequence[str] | None:
        """The identity of each, unique; None: its content."""

    @property
    def keeps_ids(self) -> bool:
        """Whether a record in another's place can have its key."""

    @property
    def persons(self) -> Sequence[str] | None:
        """Whose each record is, or None."""

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What is no record; whatever it is, it was left out for itself alone."""

    def name_of(self, row: int) -> str:
        """What to call a record in private."""

    def size_of(self, row: int) -> Size:
        """(height, width, channels) of its image. Raises UnusableRecord."""

    def read(self, row: int) -> NDArray[np.uint8]:
        """Its image, (H, W, 1 or 3). Raises UnusableRecord."""

    def whole(self) -> NDArray[np.uint8] | None:
        """All images where they lie in one array (N, H, W, C), or None."""


@dataclass(frozen=True, kw_only=True)
class ArraySource:
    """Records whose images lie in one array.

    Args:
        images: (N, H, W, C) uint8, in memory or mapped. what: to call them, such as row. The rest as `Source`.
    """

    images: NDArray[np.uint8]
    labels: Sequence[str]
    what: str = "row"
    known_classes: tuple[str, ...] = ()
    keys: Sequence[str] | None = None
    persons: Sequence[str] | None = None
    left_out: tuple[LeftOut, ...] = ()

    @property
    def keeps_ids(self) -> bool:
        """An array of ids is kept by a replacement; content is not."""
        return self.keys is not None

    def name_of(self, row: int) -> str:
        """Its row."""
        return f"{self.what} {row}"

    def size_of(self, row: int) -> Size:
        """The array's."""
        _, height, width, channels = self.images.shape
        return height, width, channels

    def read(self, row: int) -> NDArray[np.uint8]:
        """A row of the array."""
        return np.asarray(self.images[row])

    def whole(self) -> NDArray[np.uint8] | None:
        """The array."""
        return self.images


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """Records whose images are files.

    Args:
        root: the folder by which files are named. files: one a record. The rest as `Source`.
    """

    root: Path
    files: Sequence[Path]
    labels: Sequence[str]
    known_classes: tuple[str, ...] = ()
    keys: Sequence[str] | None = None
    keeps_ids: bool = False
    persons: Sequence[str] | None = None
    left_out: tuple[LeftOut, ...] = ()

    def name_of(self, row: int) -> str:
        """Its path below the root."""
        file = self.files[row]
        return file.relative_to(self.root).as_posix() if file.is_relative_to(self.root) else str(file)

    def size_of(self, row: int) -> Size:
        """By its header."""
        return size_of(self.files[row])

    def read(self, row: int) -> NDArray[np.uint8]:
        """Decoded."""
        return read_image(self.files[row])

    def whole(self) -> NDArray[np.uint8] | None:
        """They are files."""
        return None


@dataclass(frozen=True, slots=True)
class Opened:
    """What a name leads to: one source that is divided here, or two that are published so.

    Args:
        kind: npz, image-folder, manifest or torchvision; the public name where none is given.
        train: the source, or the published training split. test: the published test split, or None.
    """

    kind: str
    train: Source
    test: Source | None = None
