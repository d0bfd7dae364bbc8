"""One process at a time: an exclusive lock on a file that is open, which is let go when its holder ends.

Where the system has flock, the file itself is locked: nothing is added beside it, and the kernel lets go however the
process ends. Where it has none (Windows), `filelock` locks a hidden file beside it: a lock on the file itself would
keep readers out there, and an audit reads a ledger while a run writes it. Reading, planning and auditing need no lock.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "ledger.jsonl"
    >>> path.touch()
    >>> one, other = (os.open(path, os.O_RDWR | BINARY) for _ in range(2))
    >>> held = Exclusive.take(one, path)
    >>> Exclusive.take(other, path)
    Traceback (most recent call last):
    BlockingIOError: another process holds it
    >>> held.release()
    >>> os.close(one)
    >>> Exclusive.take(other, path).release()
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Without it Windows would write two bytes at each line's end.
BINARY: int = getattr(os, "O_BINARY", 0)


class _Releasable(Protocol):
    def release(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Exclusive:
    """A lock that is held.

    Args:
        beside: the lock on the hidden file, or None where the open file itself is locked until it is closed.
    """

    beside: _Releasable | None

    @classmethod
    def take(cls, descriptor: int, path: Path) -> Exclusive:
        """Lock an open file, or say at once that another process has it.

        Args:
            descriptor: of the file, open for writing. path: its path.

        Raises:
            BlockingIOError: another holds it. OSError: it cannot be locked here.
        """
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BlockingIOError("another process holds it") from error
            return cls(None)
        from filelock import FileLock, Timeout

        lock = FileLock(path.with_name(f".{path.name}.lock"), thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            raise BlockingIOError("another process holds it") from error
        return cls(lock)

    def release(self) -> None:
        """Let go of a hidden file's lock; that of the file itself goes when it is closed."""
        if self.beside is not None:
            self.beside.release()
