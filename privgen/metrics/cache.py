"""Results of an evaluation, kept for the next: of real images, and of these generated ones against them. Private.

What is finished is kept at once, so that an evaluation that was interrupted goes on where it was.

A file is named by the digest of a key that states everything it depends on. A damaged file is made again.

>>> Cache(None).recall("sum", lambda: {"value": np.array(3.0)})["value"].item()
3.0
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accountant.files import write_durably

Arrays = dict[str, NDArray[Any]]


def user_cache() -> Path:
    """Where evaluations of images outside a run keep such results."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "privgen" / "evaluation"


class Cache:
    """Arrays by key in a folder of mode 0700.

    Args:
        folder: created when first needed; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def recall(self, key: str, make: Callable[[], Arrays]) -> Arrays:
        """The arrays of a key; if there are none, they are made and kept.

        Args:
            key: everything they depend on, in words. make: makes them.

        Raises:
            OSError: they cannot be written.
        """
        arrays = self.find(key)
        if arrays is None:
            arrays = make()
            self.keep(key, arrays)
        return arrays

    def find(self, key: str) -> Arrays | None:
        """The arrays of a key, or None if they are missing or damaged."""
        if self._folder is None:
            return None
        try:
            with np.load(_path(self._folder, key), allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def keep(self, key: str, arrays: Arrays) -> None:
        """Keep the arrays of a key.

        Raises:
            OSError: they cannot be written.
        """
        if self._folder is None:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        write_durably(_path(self._folder, key), buffer.getvalue())


def as_array(result: object) -> NDArray[Any]:
    """A result of plain numbers and words as an array, in JSON.

    >>> from_array(as_array({"value": 0.1}))
    {'value': 0.1}
    """
    return np.array(json.dumps(result))


def from_array(array: NDArray[Any]) -> Any:
    """What `as_array` was given."""
    return json.loads(str(array))


def _path(folder: Path, key: str) -> Path:
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
