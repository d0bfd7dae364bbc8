"""`OutsideHeads`: the newest entry of a ledger, remembered where the ledger's own folder is not.

A run's folder can be copied, and put back from a backup, and everything in it comes along: ledger, head, checkpoints,
signatures. So the head is also kept in the user's state folder, and where one is named in an anchor file, on another
disk or another machine. It only moves forwards.

A ledger that lacks the entry that is remembered is a copy or a backup of one that went on: it is refused, for two
ends of one run cost more than either says. A ledger that has it may go on, as after a clean stop only if what is
remembered is its newest entry and it lies where it lay, at the same path with the same inode; and else as after a
crash, where nothing owed is restored and what may have run elsewhere shares no block with what comes.

What stays possible: to go on with copies on machines that share neither state folder, account nor anchor. An audit
says so.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from accountant.canonical_json import canonical, parse_object
from accountant.errors import InvalidValue, LedgerBroken, LedgerError, LedgerLocked
from accountant.files import write_durably
from accountant.json_reader import JsonObject
from accountant.ledger.state_folder import make_private_folder, state_folder

SCHEMA = "privgen.head/1"
_FOLDER = "heads"


class Chained(Protocol):
    """What is asked of an entry."""

    @property
    def seq(self) -> int: ...

    @property
    def digest(self) -> str: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class OutsideHead:
    """An entry of a ledger, and where that lay when it was written.

    Args:
        ledger: digest of its first entry, by which ledgers are told apart.
        seq, digest: of the newest entry. path: where the ledger lay. inode: its file's number there.
    """

    ledger: str
    seq: int
    digest: str
    path: str
    inode: int

    @classmethod
    def load(cls, file: Path) -> OutsideHead | None:
        """What a file remembers, or None where there is none.

        Raises:
            LedgerError: it is damaged.
        """
        try:
            read = JsonObject(parse_object(file.read_bytes()), "what is remembered")
            read.require_fields(("schema", "ledger", "seq", "digest", "path", "inode"))
            if read.text("schema") != SCHEMA:
                raise ValueError(f"it is not of schema {SCHEMA}")
            return cls(
                ledger=read.text("ledger"),
                seq=read.integer("seq", least=0),
                digest=read.text("digest"),
                path=read.text("path"),
                inode=read.integer("inode"),
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, InvalidValue) as error:
            raise LedgerError(f"Cannot read what {file} remembers of the ledger ({error}); restore it.") from error

    def save(self, file: Path) -> None:
        """Write it whole or not at all."""
        fields = {name: getattr(self, name) for name in ("ledger", "seq", "digest", "path", "inode")}
        write_durably(file, canonical({"schema": SCHEMA, **fields}) + b"\n")

    def require_in(self, entries: Sequence[Chained], *, file: Path, path: Path) -> None:
        """Raise LedgerBroken unless a ledger has this entry.

        Args:
            file: that remembers it. path: of the ledger, both for the message.
        """
        if self.ledger != entries[0].digest:
            raise LedgerBroken(f"{file} remembers another ledger than {path}; give each its own.")
        if self.seq < len(entries) and entries[self.seq].digest == self.digest:
            return
        raise LedgerBroken(
            f"{path} is a copy or a backup of a ledger that went on: entry {self.seq}, written to {self.path}, is not "
            f"in it ({file} remembers it). Two ends of one run cost more than either says. Go on with the one that "
            "went on, or begin another run; an account adds runs up."
        )


class OutsideHeads:
    """Every place outside the folder that remembers one ledger's head; locked until `close`.

    Use `of`. A copy of the ledger elsewhere on this machine has the same heads, and so the same lock.

    Args:
        path: the ledger's. genesis: digest of its first entry. files: that remember its head.
        lock: descriptor of a locked file, or None.
        missing: why the state folder remembers nothing, or None where it does.
    """

    def __init__(
        self, path: Path, genesis: str, files: tuple[Path, ...], *, lock: int | None, missing: str | None
    ) -> None:
        self.path, self.genesis, self.files, self.missing = path, genesis, files, missing
        self._lock = lock

    @classmethod
    def of(
        cls, path: Path | str, genesis: str, *, anchor: Path | None = None, folder: Path | None = None
    ) -> OutsideHeads:
        """Those of a ledger that is to be appended to.

        Args:
            path: the ledger's. genesis: digest of its first entry. anchor: a file that remembers it too, or None.
            folder: the state folder, or None for the user's own. Where it cannot be written to, `missing` says why.

        Raises:
            LedgerLocked: another process holds a ledger that begins with the same entry: this one, or a copy.
        """
        folder = state_folder() if folder is None else folder
        anchors = () if anchor is None else (Path(anchor),)
        try:
            make_private_folder(folder / _FOLDER)
            lock = os.open(_lock_file(folder, genesis), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            missing = f"the state folder {folder} cannot be written to ({error.strerror})"
            return cls(Path(path), genesis, anchors, lock=None, missing=missing)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise LedgerLocked(
                f"Another process holds {path} or a copy of it; wait for it to end, or train into another --out."
            ) from error
        return cls(Path(path), genesis, (_head_file(folder, genesis), *anchors), lock=lock, missing=None)

    def require_in(self, entries: Sequence[Chained]) -> None:
        """Raise LedgerBroken where a head that is remembered is not in this ledger."""
        known = ((file, OutsideHead.load(file)) for file in self.files)
        require_in([(file, head) for file, head in known if head is not None], entries, path=self.path)

    def doubts(self, entries: Sequence[Chained]) -> str | None:
        """Why going on may not be called clean, or None: something outside knows this very end, at this very place."""
        known = [head for head in map(OutsideHead.load, self.files) if head is not None]
        if not known:
            return (
                self.missing or "nothing outside the folder remembers this ledger's end: another machine may know more"
            )
        if any(head.digest != entries[-1].digest for head in known):
            return "what is remembered outside the folder is not this ledger's last entry"
        if not any((head.path, head.inode) == self._place() for head in known):
            return f"the ledger does not lie where it lay ({known[0].path}): it was moved, copied or restored"
        return None

    def advance(self, entry: Chained) -> None:
        """Remember a newer entry; what is known to be newer is never put back.

        Raises:
            LedgerError: it could not be written, or another one is known already.
        """
        path, inode = self._place()
        for file in self.files:
            known = OutsideHead.load(file)
            if known is not None and (known.ledger != self.genesis or known.seq > entry.seq):
                raise LedgerBroken(f"{file} remembers a newer entry than {entry.seq}, or another ledger's.")
            head = OutsideHead(ledger=self.genesis, seq=entry.seq, digest=entry.digest, path=path, inode=inode)
            try:
                head.save(file)
            except OSError as error:
                raise LedgerError(
                    f"Cannot write {file}: {error.strerror}; make room. No step was run for it."
                ) from error

    def _place(self) -> tuple[str, int]:
        real = self.path.resolve()
        return str(real), real.stat().st_ino

    def close(self) -> None:
        """Release the lock. Closing twice is nothing."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def files_at_hand(genesis: str, *, anchor: Path | None = None, folder: Path | None = None) -> tuple[Path, ...]:
    """Files that remember a ledger's head and are there; for who only reads.

    Args:
        genesis: digest of its first entry. anchor: an anchor file, or None. folder: the state folder, or None for the
            user's own.
    """
    own = _head_file(state_folder() if folder is None else folder, genesis)
    return tuple(file for file in (own, *(() if anchor is None else (anchor,))) if file.exists())


def heads_at_hand(
    genesis: str, *, anchor: Path | None = None, folder: Path | None = None
) -> tuple[tuple[Path, OutsideHead], ...]:
    """What these files remember. To be read *before* the ledger: of one that grows meanwhile more would be remembered
    than was read of it, and it would be taken for a backup.

    Raises:
        LedgerError: one is damaged.
    """
    files = files_at_hand(genesis, anchor=anchor, folder=folder)
    return tuple((file, head) for file in files if (head := OutsideHead.load(file)) is not None)


def require_in(heads: Sequence[tuple[Path, OutsideHead]], entries: Sequence[Chained], *, path: Path) -> None:
    """Raise LedgerBroken where one of these heads is not in the ledger at `path`."""
    for file, head in heads:
        head.require_in(entries, file=file, path=path)


def forget(genesis: str, *, folder: Path | None = None) -> None:
    """Remove what the state folder remembers of a ledger that was never begun."""
    folder = state_folder() if folder is None else folder
    for file in (_head_file(folder, genesis), _lock_file(folder, genesis)):
        file.unlink(missing_ok=True)


def _head_file(folder: Path, genesis: str) -> Path:
    return folder / _FOLDER / f"{genesis}.json"


def _lock_file(folder: Path, genesis: str) -> Path:
    return folder / _FOLDER / f"{genesis}.lock"
