"""MNIST's file format (IDX), plain or gzipped: torchvision's folder layout and Debian's package.

Reading stops at what the header promises; a file that is shorter or of another kind is named.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from privgen.errors import DataError

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def find(folder: Path, name: str) -> Path | None:
    """The file of that name in a folder, plain or gzipped."""
    return next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)


def has_all(folder: Path) -> bool:
    """Whether a folder holds all four files."""
    return all(find(folder, name) is not None for names in FILES.values() for name in names)


def read_split(folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, H, W, 1) and labels (N,).

    Raises:
        DataError: a file is missing or damaged.
    """
    found = {name: find(folder, name) for name in FILES[split]}
    paths = [path for path in found.values() if path is not None]
    if len(paths) < len(found):
        missing = next(name for name, path in found.items() if path is None)
        raise DataError(f"{folder} lacks {missing}; give the right --data-dir.")
    images, labels = (_read(path) for path in paths)
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise DataError(
            f"{folder}: {paths[0].name} holds {images.shape} and {paths[1].name} {labels.shape}, which do not fit "
            "together; get both anew."
        )
    if images.shape[1:] != (28, 28) or not 0 <= int(labels.max(initial=0)) <= 9:
        raise DataError(
            f"{folder}: images of {images.shape[1:]} and labels up to {labels.max(initial=0)}; expected 28×28 and 0 to "
            "9: these are another data set's files. Give the right --data-dir, or convert them to an .npz."
        )
    return images[..., None], labels.astype(np.int64)


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        zero, kind, dimensions = struct.unpack(">HBB", data[:4])
        shape = struct.unpack(f">{dimensions}I", data[4 : 4 + 4 * dimensions])
        values = np.frombuffer(data, dtype=np.uint8, offset=4 + 4 * dimensions)
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}); get it anew.") from error
    if zero != 0 or kind != 8 or values.size != np.prod(shape, dtype=np.int64):
        raise DataError(f"{path} is damaged: its header promises {shape}, it holds {values.size} values.")
    return values.reshape(shape)
