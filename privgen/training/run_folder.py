"""A run's folder: what may leave the house, and what may not.

runs/NAME/release/   plan.json ledger.jsonl generator.safetensors generator.json samples.png report.*
runs/NAME/samples/   grids of samples while it trains: post-processing of what is released
runs/NAME/logs/      what --log wrote, released quantities alone
runs/NAME/private/   (mode 0700) checkpoints, metrics.jsonl, fingerprint.json, source.json, head.json, results/

>>> import tempfile
>>> run = RunFolder.create(Path(tempfile.mkdtemp()) / "example")
>>> oct(run.private.stat().st_mode & 0o777)
'0o700'
"""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accountant.files import write_durably
from accountant.plans.plan import Plan
from privgen.errors import RunError


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The places of one run.

    Args:
        path: runs/NAME.
    """

    path: Path

    @property
    def release(self) -> Path:
        """What may leave the house."""
        return self.path / "release"

    @property
    def private(self) -> Path:
        """What may not."""
        return self.path / "private"

    @property
    def samples(self) -> Path:
        """Grids of samples while it trains; may leave the house as what is released may."""
        return self.path / "samples"

    @property
    def ledger(self) -> Path:
        """The ledger."""
        return self.release / "ledger.jsonl"

    @property
    def head(self) -> Path:
        """The ledger's head, by which a dropped tail is seen."""
        return self.private / "head.json"

    @property
    def argument(self) -> str:
        """The path as it is written in a command that is printed, to be copied."""
        return shlex.quote(str(self.path))

    @property
    def plan(self) -> Path:
        """The plan that the run was begun with."""
        return self.release / "plan.json"

    @classmethod
    def create(cls, path: Path | str) -> RunFolder:
        """Make a new run's folder.

        Raises:
            RunError: something stands there already, or it cannot be made or written to.
        """
        run = cls(Path(path))
        if run.path.exists() and not run._is_bare():
            raise RunError(f"{run.path} exists already; go on with it by --resume, or choose another --out.")
        try:
            run.release.mkdir(parents=True, exist_ok=True)
            run.private.mkdir(mode=0o700, exist_ok=True)
            run.private.chmod(0o700)
            for half in run._half_begun():
                half.unlink(missing_ok=True)
        except OSError as error:
            discard(run)
            raise RunError(f"Cannot make {run.path}: {error.strerror}; choose another --out.") from error
        return run

    @classmethod
    def existing(cls, path: Path | str) -> RunFolder:
        """A run that was begun before.

        Raises:
            RunError: there is none.
        """
        run = cls(Path(path))
        if not run.private.is_dir() or not run.release.is_dir():
            raise RunError(f"There is no run in {run.path}; name a run's folder, or begin one without --resume.")
        return run

    def _is_bare(self) -> bool:
        """Whether it is empty, or was killed before a file was in it."""
        if not self.path.is_dir():
            return False
        places = list(self.path.iterdir())
        if not all(place in (self.release, self.private) and place.is_dir() for place in places):
            return False
        return {entry for place in places for entry in place.iterdir()} <= set(self._half_begun())

    def _half_begun(self) -> Iterator[Path]:
        """What a kill in the very first write left: nothing is known of the run, and nothing was done."""
        return self.private.glob(f".{self._beginning.name}.*.tmp")

    @property
    def begun(self) -> bool:
        """Whether the ledger's first entry stands: until then nothing is spent.

        Raises:
            RunError: it does not, and something that only comes after it does: the ledger was cut.
        """
        if self.ledger.exists() and b"\n" in self.ledger.read_bytes():
            return True
        if self.head.exists():
            raise RunError(
                f"{self.path} was begun, and its ledger has lost its first entry; restore {self.ledger} from a backup."
            )
        return False

    def write_beginning(self, facts: Mapping[str, Any]) -> None:
        """Remember how the run is begun, before anything else is written: a kill from here on can be resumed."""
        write_durably(self._beginning, json.dumps(facts).encode())

    def read_beginning(self) -> Mapping[str, Any]:
        """What `write_beginning` wrote.

        Raises:
            RunError: nothing, or it is damaged.
        """
        try:
            facts = json.loads(self._beginning.read_bytes())
            if not isinstance(facts, dict):
                raise ValueError("no object")
        except (OSError, ValueError) as error:
            raise RunError(
                f"{self.path} was interrupted before it began, spent nothing, and does not say how it was begun "
                f"({error}); give the same command again, without --resume."
            ) from error
        return facts

    @property
    def _beginning(self) -> Path:
        return self.private / "begin.json"

    def sweep(self) -> None:
        """Remove the temporary files that interrupted writes of this run's own left behind."""
        released = (file for place in (self.release, self.samples) for file in place.glob(".*.[0-9]*.tmp"))
        for interrupted in (*released, *self.private.glob(f".{self.head.name}.[0-9]*.tmp")):
            interrupted.unlink(missing_ok=True)

    def append_metrics(self, values: Mapping[str, Any]) -> None:
        """Add a line to private/metrics.jsonl: losses on real data, batch sizes and norms stay in there."""
        self._append("metrics.jsonl", values)

    def append_row_check(self, values: Mapping[str, Any]) -> None:
        """Add a line to private/row-checks.jsonl: what the row check found."""
        self._append("row-checks.jsonl", values)

    def append_warning(self, text: str) -> None:
        """Add a line to private/warnings.jsonl: what the training watch saw, of released quantities alone."""
        self._append("warnings.jsonl", {"text": text})

    def append_seconds(self, *, clock: float, processor: float) -> None:
        """Add a line to private/seconds.jsonl: what one session took."""
        self._append("seconds.jsonl", {"clock": round(clock, 1), "processor": round(processor, 1)})

    def processor_seconds(self) -> float | None:
        """What all sessions took of a processor; None where it was not kept."""
        try:
            lines = (self.private / "seconds.jsonl").read_text().splitlines()
            return float(sum(json.loads(line)["processor"] for line in lines)) if lines else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _append(self, name: str, values: Mapping[str, Any]) -> None:
        with (self.private / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def write_fingerprint(self, fingerprint: str) -> None:
        """Remember which data this run is of; private, for a digest of data confirms a guess of it."""
        write_durably(self.private / "fingerprint.json", json.dumps({"data": fingerprint}).encode())

    def write_source(self, source: str | None, notes: Sequence[str]) -> None:
        """Remember where the data were, and what was odd about them; a path or a record's name is never released."""
        text = json.dumps({"dataset": source, "notes": list(notes)}, indent=2, ensure_ascii=False)
        # A lone surrogate (a path that is no UTF-8) is escaped as JSON escapes it.
        write_durably(self.private / "source.json", text.encode("utf-8", "backslashreplace"))

    def source(self) -> str | None:
        """What the data were loaded by when the run was begun, or was about to be; None if nobody knows."""
        for file in (self.private / "source.json", self._beginning):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                found = json.loads(file.read_bytes())["dataset"]
                return found if isinstance(found, str) else None
        return None

    def known_plan(self) -> Plan | None:
        """The plan that the run was begun with, or was about to be; None if nobody knows.

        Raises:
            InvalidValue: it is damaged.
        """
        if self.plan.exists():
            return Plan.load(self.plan)
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return Plan.from_json(json.loads(self._beginning.read_bytes())["plan"])
        return None

    def require_fingerprint(self, fingerprint: str) -> None:
        """Raise RunError unless the data are those that the run was begun with."""
        path = self.private / "fingerprint.json"
        try:
            known = json.loads(path.read_bytes())["data"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"Cannot read {path} ({error}); restore it from a backup.") from error
        if known != fingerprint:
            raise RunError(
                "The data set is not the one that this run was begun with; give the same --dataset and "
                "--data-dir, or begin another run (its spend then counts beside this one's)."
            )


def discard(run: RunFolder) -> None:
    """Remove a run whose start failed, or was killed, before it spent anything.

    Nothing is removed once a ledger exists in which a step was reserved.
    """
    if run.ledger.exists() and b'"kind":"reserve"' in run.ledger.read_bytes():
        return
    for folder in (run.release, run.private):
        shutil.rmtree(folder, ignore_errors=True)
    # It may hold something else, or be a mount point: the reason why the start failed is what matters.
    with contextlib.suppress(OSError):
        run.path.rmdir()
