"""`SpendRegister`: which runs used the same records, on this user's machine, and what they may have cost together.

Every run pays for itself, and a record that is in two of them pays twice. Who trains again on the same records, a year
later or under another name, is told so: a run leaves keyed digests of its records here, eight bytes each, and what its
plan's caps allow. The digests are of what training sees after decoding, the label included, so a resized or relabelled
copy of a record goes unseen. The key never leaves the folder; no record can be found out from a digest without it.

    ε of several runs together      Σ D_α of all, converted at δ     at the order α that the first of them fixed

which is a Rényi filter's (Feldman & Zrnic 2021, arXiv 2008.11193): later runs may be chosen by looking at earlier ones.
The register is private: nothing of it is ever in a release folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from accountant.budget import Budget
from accountant.canonical_json import parse_object
from accountant.composition.rdp import RdpAccountant
from accountant.composition.segments import Composition, compose_segments
from accountant.errors import AccountantError, LedgerError
from accountant.events import event_from_json, event_to_json
from accountant.files import write_durably
from accountant.json_reader import JsonObject
from accountant.ledger.state_folder import make_private_folder, state_folder

SCHEMA = "privgen.register/1"
_FOLDER, _KEY, _KEY_BYTES, _DIGEST_BYTES = "register", "key", 32, 8
Digests = NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlierRun:
    """A run that used some of the same records.

    Args:
        run: digest of its ledger's first entry. name: its folder's. date: the day it began, ISO.
        charges: all that its caps allow. order: α of the filter that it fixed for its records.
        shared: how many of the records that were asked about it had.
    """

    run: str
    name: str
    date: str
    charges: Composition
    order: float
    shared: int


class SpendRegister:
    """The register in a state folder; reading one that is not there finds nothing.

    Args:
        folder: the state folder, or None for the user's own.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (state_folder() if folder is None else folder) / _FOLDER

    @property
    def empty(self) -> bool:
        """Whether no run is in it: then there is nothing to read data for."""
        return not any(self.folder.glob("*.json"))

    def digests(self, records: Iterable[bytes]) -> Digests:
        """Keyed digests of records, sorted, equal ones once.

        Args:
            records: each as the bytes that training sees of it.

        Raises:
            OSError: the key cannot be made. LedgerError: it is damaged.
        """
        key = self._key()
        whole = b"".join(hashlib.blake2b(record, key=key, digest_size=_DIGEST_BYTES).digest() for record in records)
        return np.unique(np.frombuffer(whole, dtype="<u8").astype(np.uint64))

    def _key(self) -> bytes:
        path = self.folder / _KEY
        if not path.exists():
            make_private_folder(self.folder)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(os.urandom(_KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
        key = path.read_bytes()
        if len(key) != _KEY_BYTES:
            raise LedgerError(f"{path} is damaged: without it no earlier run is recognised; restore it or remove it.")
        return key

    def remember(self, *, run: str, name: str, date: str, charges: Composition, order: float, records: Digests) -> None:
        """Enter a run, or what it may cost by now.

        Args:
            run: digest of its ledger's first entry. name: its folder's. date: ISO. charges: all that its caps allow.
            order: α that its records' filter has. records: from `digests`.

        Raises:
            OSError: no room, or the folder cannot be written to.
        """
        make_private_folder(self.folder)
        said = {
            "schema": SCHEMA,
            "name": name,
            "date": date,
            "order": order,
            "charges": [{"event": event_to_json(event), "steps": steps} for event, steps in charges],
        }
        write_durably(self.folder / f"{run}.records", records.astype("<u8").tobytes())
        write_durably(self.folder / f"{run}.json", json.dumps(said).encode())

    def earlier(self, records: Digests, *, but: str | None = None) -> tuple[EarlierRun, ...]:
        """Runs that used any of these records, the first one first.

        Args:
            records: from `digests`. but: a run that is not counted, by the digest of its first entry.

        Raises:
            LedgerError: an entry is damaged.
        """
        found = [
            run
            for path in sorted(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
            if path.stem != but and (run := self._read(path, records)) is not None
        ]
        return tuple(sorted(found, key=lambda run: run.date))

    def _read(self, path: Path, records: Digests) -> EarlierRun | None:
        try:
            own = np.frombuffer(path.with_suffix(".records").read_bytes(), dtype="<u8")
            shared = int(np.isin(records, own).sum())
            if not shared:
                return None
            read = JsonObject(parse_object(path.read_bytes()), path.name)
            if read.text("schema") != SCHEMA:
                raise LedgerError(f"{path} is of another schema than {SCHEMA}.")
            return EarlierRun(
                run=path.stem,
                name=read.text("name"),
                date=read.text("date"),
                order=read.number("order"),
                charges=tuple(
                    (event_from_json(dict(item.child("event").data)), item.integer("steps", least=1))
                    for item in read.children("charges")
                ),
                shared=shared,
            )
        except (OSError, ValueError, AccountantError) as error:
            raise LedgerError(f"The register's {path} cannot be read ({error}); restore it from a backup.") from error


def together(charges: Sequence[Composition], *, budget: Budget, order: float) -> float:
    """ε of several runs together at a budget's δ and adjacency, by a filter at one order; may be infinite.

    Args:
        charges: what each may be charged. order: α, fixed before the second of them was chosen.
    """
    accountant = RdpAccountant(budget.neighbouring, orders=[order])
    for composition in charges:
        compose_segments(accountant, composition)
    return accountant.get_epsilon(budget.delta)
