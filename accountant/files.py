"""Files that are written whole or not at all, and are on disk when the call returns.

>>> import tempfile
>>> path = Path(tempfile.mkdtemp()) / "note.txt"
>>> write_durably(path, b"kept")
>>> path.read_bytes()
b'kept'
"""

from __future__ import annotations

import os
from pathlib import Path


def fsync_folder(folder: Path) -> None:
    """Make a new or renamed name in `folder` durable; Windows has no way to, and its file system's journal does."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes) -> None:
    """Replace a file whole: temporary file, fsync, rename, fsync of the folder.

    Raises:
        OSError: nothing was replaced; it names `path`, not the temporary file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        fsync_folder(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)
