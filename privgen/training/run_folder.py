"""A run's folder: what may leave the house, and what may not.

runs/NAME/release/   plan.json ledger.jsonl generator.safetensors generator.json samples.png report.*
runs/NAME/private/   (mode 0700) checkpoints, metrics.jsonl, fingerprint.json, head.json, results/

>>> import tempfile
>>> run = RunFolder.create(Path(tempfile.mkdtemp()) / "example")
>>> oct(run.private.stat().st_mode & 0o777)
'0o700'
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accountant.files import write_durably
from privgen.errors import RunError

RELEASED = ("generator.safetensors", "generator.json", "samples.png")


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
    def ledger(self) -> Path:
        """The ledger."""
        return self.release / "ledger.jsonl"

    @property
    def head(self) -> Path:
        """The ledger's head, by which a dropped tail is seen."""
        return self.private / "head.json"

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
        if run.path.exists() and (not run.path.is_dir() or any(run.path.iterdir())):
            raise RunError(f"{run.path} exists already; go on with it by --resume, or choose another --out.")
        try:
            run.release.mkdir(parents=True)
            run.private.mkdir(mode=0o700)
            run.private.chmod(0o700)
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

    def sweep(self) -> None:
        """Remove the temporary files that interrupted writes of this run's own left behind."""
        for path in (self.plan, self.ledger, self.head, *(self.release / name for name in RELEASED)):
            for interrupted in path.parent.glob(f".{path.name}.*.tmp"):
                interrupted.unlink(missing_ok=True)

    def append_metrics(self, values: Mapping[str, Any]) -> None:
        """Add a line to private/metrics.jsonl: losses on real data, batch sizes and norms stay in there."""
        self._append("metrics.jsonl", values)

    def append_row_check(self, values: Mapping[str, Any]) -> None:
        """Add a line to private/row-checks.jsonl: what the row check found."""
        self._append("row-checks.jsonl", values)

    def _append(self, name: str, values: Mapping[str, Any]) -> None:
        with (self.private / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def write_fingerprint(self, fingerprint: str) -> None:
        """Remember which data this run is of; private, for a digest of data confirms a guess of it."""
        write_durably(self.private / "fingerprint.json", json.dumps({"data": fingerprint}).encode())

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
    """Remove a run whose start failed before it spent anything.

    Nothing is removed once a ledger exists in which a step was reserved.
    """
    if run.ledger.exists() and b'"kind":"reserve"' in run.ledger.read_bytes():
        return
    for folder in (run.release, run.private):
        shutil.rmtree(folder, ignore_errors=True)
    # It may hold something else, or be a mount point: the reason why the start failed is what matters.
    with contextlib.suppress(OSError):
        run.path.rmdir()
