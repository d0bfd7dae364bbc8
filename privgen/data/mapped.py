"""Images that stay on disk: looked at through a memory map, row by row, as they are drawn.

A data set may be larger than memory. `MappedImages` stands where an array would: it has its shape and gives rows, and
reads nothing else. What is smaller than `IN_MEMORY` is read whole: a map would follow the file if somebody wrote to it
during training.
"""

from __future__ import annotations

import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Bytes; what is larger stays on disk.
IN_MEMORY = 1 << 30
_LOCAL_HEADER = 30


@dataclass(frozen=True, slots=True)
class MappedImages:
    """Some rows of a memory-mapped array, in an order of their own.

    Args:
        base: (M, H, W, C) uint8, on disk. rows: (N,) which of its rows.

    Indexing gives arrays in memory, of what is indexed alone; `numpy.asarray` reads everything.
    """

    base: NDArray[np.uint8]
    rows: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        return (len(self.rows), *self.base.shape[1:])

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """uint8."""
        return self.base.dtype

    @property
    def ndim(self) -> int:
        """4."""
        return self.base.ndim

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        first, *rest = index if isinstance(index, tuple) else (index,)
        found = np.asarray(self.base[self.rows[first]])
        if rest:
            found = found[(slice(None), *rest)] if np.ndim(self.rows[first]) else found[tuple(rest)]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)


# What an array of images may be: in memory, or on disk. Both have a length and a shape, and give arrays of rows.
Images = NDArray[np.uint8] | MappedImages


def taken(images: Images, rows: NDArray[np.int64]) -> Images:
    """These rows; of what is on disk only their numbers."""
    if isinstance(images, MappedImages):
        return MappedImages(images.base, images.rows[rows])
    if isinstance(images, np.memmap):
        return MappedImages(images, np.asarray(rows))
    return images[rows]


def map_member(path: Path, name: str) -> np.memmap | None:
    """An array inside an .npz file without reading it; None if it is small, or cannot be mapped.

    Only members that are stored as they are (`numpy.savez`, not `savez_compressed`) and row by row can be.

    Raises:
        OSError, ValueError, KeyError, zipfile.BadZipFile: the file is damaged or has no such array.
    """
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{name}.npy")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size < IN_MEMORY:
            return None
        with archive.open(info) as member:
            version = np.lib.format.read_magic(member)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_column, dtype = read(member)
            header = member.tell()
    if by_column or dtype.hasobject:
        return None
    with path.open("rb") as file:
        file.seek(info.header_offset)
        local = file.read(_LOCAL_HEADER)
    names = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    at = info.header_offset + _LOCAL_HEADER + names + header
    if dtype.itemsize * int(np.prod(shape, dtype=np.int64)) + header != info.file_size:
        raise ValueError(f"its array {name} is not of the size that it says")
    return np.memmap(path, dtype=dtype, mode="r", offset=at, shape=shape)


def room_for(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An array to fill: in memory, or if it is large in a file without a name, gone with the process.

    The file lies where `TMPDIR` says, on a disk with room for it.
    """
    size = int(np.prod(shape, dtype=np.int64))
    if size < IN_MEMORY or not size:
        return np.empty(shape, np.uint8)
    with tempfile.TemporaryFile(prefix="privgen-") as file:
        return np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)
