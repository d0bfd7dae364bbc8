"""Entries of a ledger: one line each, chained to the line before, and how they are read.

A line is the canonical JSON of an entry: `schema`, `seq`, `kind`, `previous` (the SHA-256 of the entry
before), the entry's own fields, its own `digest`, and a `signature` of that digest where the run is signed.

Guarantees: a changed, dropped, added or reordered entry breaks the chain, and `read_entries` names it. A
dropped tail does not break it; it is seen through the head's digest (`accountant.ledger.chain.Head`).

    >>> line = line_of(Entry(seq=0, kind="genesis", previous=GENESIS_PREVIOUS, body={"plan": None},
    ...     digest=digest(content_of(seq=0, kind="genesis", previous=GENESIS_PREVIOUS, body={"plan": None}))))
    >>> parse_entries(line)[0][0].body
    {'plan': None}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from accountant.canonical_json import canonical, digest, parse_object
from accountant.errors import LedgerBroken, LedgerError, LedgerIncomplete
from accountant.json_reader import JsonObject

SCHEMA = "privgen.ledger/1"
KINDS = ("genesis", "reserve", "commit", "checkpoint", "resume", "halt", "release")
GENESIS_PREVIOUS = "0" * 64
FRAME = ("schema", "seq", "kind", "previous", "digest", "signature")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line of the ledger.

    Args:
        seq: position, from 0.
        kind: one of KINDS.
        previous: digest of the entry before, 64 zeros for the first.
        digest: SHA-256 of everything in this entry but the digest and the signature.
        body: the entry's own fields.
        signature: Ed25519 signature of the digest, hexadecimal, or None.
    """

    seq: int
    kind: str
    previous: str
    digest: str
    body: Mapping[str, object]
    signature: str | None = None

    @property
    def read(self) -> JsonObject:
        """Its own fields, to be read one by one."""
        return JsonObject(self.body, f"entry {self.seq} ({self.kind})")


def content_of(*, seq: int, kind: str, previous: str, body: Mapping[str, object]) -> dict[str, object]:
    """What an entry's digest is of."""
    return {"schema": SCHEMA, "seq": seq, "kind": kind, "previous": previous, **body}


def line_of(entry: Entry) -> bytes:
    """An entry as it stands in the file, its end included."""
    content = content_of(seq=entry.seq, kind=entry.kind, previous=entry.previous, body=entry.body)
    content["digest"] = entry.digest
    if entry.signature is not None:
        content["signature"] = entry.signature
    return canonical(content) + b"\n"


def parse_line(line: bytes, *, seq: int, previous: str) -> Entry:
    """One line without its end, checked against its place in the chain.

    Raises:
        LedgerBroken: the line is not what was written there; the message names the entry.
    """
    try:
        data = parse_object(line)
    except ValueError as error:
        raise LedgerBroken(f"Entry {seq} of the ledger is not readable: {error}.") from error
    body = {name: value for name, value in data.items() if name not in FRAME}
    if data.get("schema") != SCHEMA:
        raise LedgerBroken(f"Entry {seq} has schema {data.get('schema')!r}; this version reads {SCHEMA}.")
    kind = data.get("kind")
    if data.get("seq") != seq or not isinstance(kind, str) or kind not in KINDS:
        raise LedgerBroken(f"Entry {seq} calls itself number {data.get('seq')!r}, {kind!r}.")
    if data.get("previous") != previous:
        raise LedgerBroken(f"Entry {seq} does not follow from the entry before it: the chain is broken.")
    signature = data.get("signature")
    if signature is not None and not isinstance(signature, str):
        raise LedgerBroken(f"Entry {seq} has a signature that is not text.")
    expected = digest(content_of(seq=seq, kind=kind, previous=previous, body=body))
    entry = Entry(seq=seq, kind=kind, previous=previous, digest=expected, body=body, signature=signature)
    if data.get("digest") != expected or line_of(entry) != line + b"\n":
        raise LedgerBroken(f"Entry {seq} ({kind}) was changed: its digest does not match its content.")
    return entry


def parse_entries(data: bytes) -> tuple[list[Entry], bytes]:
    """All terminated lines as entries, and what follows the last line end (empty when all is well).

    Raises:
        LedgerBroken: the chain does not hold.
    """
    *lines, tail = data.split(b"\n")
    entries: list[Entry] = []
    previous = GENESIS_PREVIOUS
    for seq, line in enumerate(lines):
        entries.append(parse_line(line, seq=seq, previous=previous))
        previous = entries[-1].digest
    return entries, tail


def read_entries(path: Path | str) -> list[Entry]:
    """The entries of a whole ledger.

    Raises:
        LedgerError: the file cannot be read or is empty.
        LedgerBroken: the chain does not hold; the message names the first entry at fault.
        LedgerIncomplete: the last line is unterminated; a resume repairs it.
    """
    entries, tail = parse_entries(_read(Path(path)))
    if tail:
        raise LedgerIncomplete(
            f"Entry {len(entries)}, the ledger's last line, is cut short ({len(tail)} bytes): a write was "
            "interrupted or the file was changed; privgen train --resume repairs an interrupted write."
        )
    if not entries:
        raise LedgerBroken(f"The ledger {path} is empty: entry 0, the genesis, is missing.")
    return entries


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LedgerError(
            f"Cannot read the ledger {path}: {error.strerror}; name the run's folder, runs/NAME."
        ) from error
