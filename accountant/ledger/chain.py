"""The ledger: an append-only file that says what was spent, each line chained to the one before.

Lines (`accountant.ledger.entry`) are written whole and fsynced before `append` returns, so what the ledger says has
happened on disk before anything that it speaks of happens in the run. One process at a time holds the ledger. Its
newest entry is remembered in another folder (`Head`), so that a dropped tail is seen.

    >>> import tempfile
    >>> from accountant.ledger.entry import read_entries
    >>> path = Path(tempfile.mkdtemp()) / "ledger.jsonl"
    >>> with Ledger.create(path) as ledger:
    ...     _ = ledger.append("genesis", {"plan": None})
    ...     ledger.append("halt", {"reason": "example", "steps": 0}).seq
    1
    >>> [entry.kind for entry in read_entries(path)]
    ['genesis', 'halt']
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from accountant.canonical_json import canonical, digest, parse_object
from accountant.errors import LedgerBroken, LedgerError, LedgerLocked
from accountant.files import fsync_folder, write_durably
from accountant.json_reader import JsonObject
from accountant.ledger.entry import (
    FRAME,
    GENESIS_PREVIOUS,
    KINDS,
    Entry,
    content_of,
    line_of,
    parse_entries,
    parse_line,
)
from accountant.ledger.outside_head import OutsideHeads

Signer = Callable[[bytes], bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """The ledger's newest entry as the private folder remembers it: a dropped tail is seen by it.

    It is written after the ledger, so a crash between the two leaves it one entry behind, never ahead.
    """

    seq: int
    digest: str

    def save(self, path: Path) -> None:
        """Write it whole or not at all."""
        write_durably(path, canonical({"seq": self.seq, "digest": self.digest}) + b"\n")

    @classmethod
    def load(cls, path: Path) -> Head:
        """Read it.

        Raises:
            LedgerError: missing or damaged.
        """
        try:
            read = JsonObject(parse_object(path.read_bytes()), "the head")
            return cls(seq=read.integer("seq"), digest=read.text("digest"))
        except (OSError, ValueError) as error:
            raise LedgerError(f"Cannot read the ledger's head {path}: {error}; restore it from a backup.") from error

    def require_in(self, entries: list[Entry]) -> None:
        """Raise LedgerBroken unless this head is an entry of that ledger."""
        if self.seq >= len(entries):
            raise LedgerBroken(
                f"The ledger ends at entry {len(entries) - 1}, but entry {self.seq} was written: "
                "its tail was dropped; restore the file from a backup."
            )
        if entries[self.seq].digest != self.digest:
            raise LedgerBroken(
                f"Entry {self.seq} is not the one that was written: the ledger was rewritten; "
                "restore the file from a backup."
            )
        if self.behind(entries) > 1:
            raise LedgerBroken(
                f"{self.behind(entries)} entries stand after entry {self.seq}, the last that was written by who holds "
                "the run's private folder: somebody added them; restore the file from a backup."
            )

    def behind(self, entries: Sequence[object]) -> int:
        """How many entries stand after this one: 0, or 1 after a crash between the ledger's write and its own."""
        return len(entries) - 1 - self.seq


class Ledger:
    """A ledger open for appending, locked against other processes until `close`.

    Use `Ledger.create` for a new one and `Ledger.open` to go on with one.
    """

    def __init__(
        self,
        descriptor: int,
        path: Path,
        entries: list[Entry],
        *,
        head_path: Path | None,
        signer: Signer | None,
    ) -> None:
        self.path = path
        self.entries = entries
        self.repaired: str | None = None
        # Token of the newest guard on it; a guard that is not the newest admits nothing.
        self.guarded_by: bytes | None = None
        self._descriptor = descriptor
        self._head_path = head_path
        self._signer = signer
        self._outside: OutsideHeads | None = None
        self._closed = False

    @classmethod
    def create(cls, path: Path | str, *, head_path: Path | None = None, signer: Signer | None = None) -> Ledger:
        """A new, empty ledger.

        Args:
            path: where; must not exist.
            head_path: where the head's digest is kept, in another folder than the ledger.
            signer: signs each entry's digest (`accountant.ledger.signing`).

        Raises:
            LedgerError: the file exists or cannot be made.
        """
        path = Path(path)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError as error:
            raise LedgerError(f"{path} exists already; go on with it by --resume or choose another --out.") from error
        except OSError as error:
            raise LedgerError(f"Cannot make the ledger {path}: {error.strerror}; choose another --out.") from error
        _lock(descriptor, path)
        fsync_folder(path.parent)
        return cls(descriptor, path, [], head_path=head_path, signer=signer)

    @classmethod
    def open(cls, path: Path | str, *, head_path: Path | None = None, signer: Signer | None = None) -> Ledger:
        """An existing ledger, to go on with; an unterminated last line is repaired and `repaired` says how.

        Raises:
            LedgerError: it cannot be opened. LedgerLocked: another process holds it.
            LedgerBroken: the chain does not hold, or its tail was dropped.
        """
        path = Path(path)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except OSError as error:
            raise LedgerError(f"Cannot open the ledger {path}: {error.strerror}.") from error
        try:
            _lock(descriptor, path)
            entries, tail = parse_entries(path.read_bytes())
            ledger = cls(descriptor, path, entries, head_path=head_path, signer=signer)
            if tail:
                ledger._repair(tail)
            if head_path is not None:
                Head.load(head_path).require_in(ledger.entries)
            if not ledger.entries:
                raise LedgerBroken(f"The ledger {path} is empty: entry 0, the genesis, is missing.")
        except BaseException:
            os.close(descriptor)
            raise
        return ledger

    def _repair(self, tail: bytes) -> None:
        """Keep a last line that lacks only its end; drop one that was cut, whose step never began."""
        seq = len(self.entries)
        previous = self.entries[-1].digest if self.entries else GENESIS_PREVIOUS
        whole = os.fstat(self._descriptor).st_size - len(tail)
        try:
            entry = parse_line(tail, seq=seq, previous=previous)
        except LedgerBroken:
            # Was it ever whole? The head knows: it is written only after a line is on disk.
            if self._head_path is not None and Head.load(self._head_path).seq >= seq:
                raise LedgerBroken(
                    f"Entry {seq} was written whole and is damaged now; restore the ledger from a backup."
                ) from None
            os.ftruncate(self._descriptor, whole)
            self.repaired = f"dropped an interrupted write of {len(tail)} bytes after entry {seq - 1}"
        else:
            os.write(self._descriptor, b"\n")
            self.entries.append(entry)
            self.repaired = f"ended the line of entry {seq}"
        os.fsync(self._descriptor)

    @property
    def head(self) -> str:
        """Digest of the newest entry."""
        return self.entries[-1].digest if self.entries else GENESIS_PREVIOUS

    @property
    def closed(self) -> bool:
        """Whether the lock was released: another process may hold the ledger by now."""
        return self._closed

    def append(self, kind: str, body: Mapping[str, object]) -> Entry:
        """Write one entry durably: line and fsync, then the head, then the heads outside the folder.

        Raises:
            LedgerError: it could not be written (disk full, read-only); the ledger is as it was before.
        """
        if kind not in KINDS:
            raise LedgerError(f"Expected entry kind={kind!r} to be one of: {', '.join(KINDS)}.")
        if self._closed:
            raise LedgerError("The ledger is closed.")
        if taken := set(body) & set(FRAME):
            raise LedgerError(f"An entry's own fields cannot be called {sorted(taken)}.")
        entry = self._next_entry(kind, body)
        self._write(line_of(entry))
        self.entries.append(entry)
        if self._head_path is not None:
            try:
                Head(seq=entry.seq, digest=entry.digest).save(self._head_path)
            except OSError as error:
                raise LedgerError(_no_room(self._head_path, error)) from error
        if self._outside is not None:
            self._outside.advance(entry)
        return entry

    @property
    def outside(self) -> OutsideHeads | None:
        """What remembers its newest entry outside the folder, if anything does."""
        return self._outside

    def remember_outside(self, heads: OutsideHeads) -> None:
        """Have the newest entry remembered outside the folder too, from the next one on; closes `heads` when it closes.

        Raises:
            LedgerBroken: what is remembered there is not in this ledger.
        """
        self._outside = heads
        heads.require_in(self.entries)

    def _next_entry(self, kind: str, body: Mapping[str, object]) -> Entry:
        seq, previous = len(self.entries), self.head
        # Through JSON and back, so that what is in memory is what a reader will see.
        body = parse_object(canonical(dict(body)))
        own = digest(content_of(seq=seq, kind=kind, previous=previous, body=body))
        signature = None if self._signer is None else self._signer(bytes.fromhex(own)).hex()
        return Entry(seq=seq, kind=kind, previous=previous, digest=own, body=body, signature=signature)

    def _write(self, line: bytes) -> None:
        before = os.fstat(self._descriptor).st_size
        try:
            written = 0
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
            os.fsync(self._descriptor)
        except OSError as error:
            os.ftruncate(self._descriptor, before)
            raise LedgerError(_no_room(self.path, error)) from error

    def close(self) -> None:
        """Release the lock. Closing twice is nothing."""
        if not self._closed:
            self._closed = True
            os.close(self._descriptor)
            if self._outside is not None:
                self._outside.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _no_room(path: Path, error: OSError) -> str:
    return f"Cannot write {path}: {error.strerror}; make room or give another --out. No step was run for it."


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise LedgerLocked(f"Another process holds {path}; wait for it to end, or train into another --out.") from error
