"""What may be exported: the files of a run whose audit passes, bit for bit those that its ledger names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from accountant.audit.audit import Audit, audit_run, release_of
from accountant.audit.checks import FAILED
from accountant.audit.guarantee import Guarantee
from accountant.audit.release_files import released_file
from accountant.ledger.state import LedgerState
from privgen.errors import RunError


@dataclass(frozen=True, kw_only=True, slots=True)
class GuardedRelease:
    """A release that an audit stands behind.

    Args:
        folder: the release folder. audit: of the run, passed. state: of its ledger. guarantee: what holds, ε finite.
    """

    folder: Path
    audit: Audit
    state: LedgerState
    guarantee: Guarantee

    def file(self, name: str) -> bytes:
        """A released file.

        Raises:
            RunError: it is missing, or is not the one that the ledger names.
        """
        data = released_file(self.state, self.folder, name)
        if data is None:
            raise RunError(f"{self.folder / name} is missing or is not what was released; restore it, or export anew.")
        return data


def guarded_release(run: Path) -> GuardedRelease:
    """The release of a run, for others to use.

    Args:
        run: runs/NAME, or its release folder.

    Raises:
        LedgerError: there is no ledger, so nothing is known of what it cost.
        RunError: the audit does not pass (an insecure run's does not), or no finite ε holds of it.
    """
    audit = audit_run(run)
    if audit.verdict != "passed":
        failed = next(
            (f"{one.name}: {one.detail}" for one in audit.checks if one.status == FAILED), "it has not halted"
        )
        raise RunError(
            f"{run} is not exported: its audit is {audit.verdict} ({failed}). A card would promise what does not hold; "
            f"see privgen audit {run}."
        )
    assert audit.state is not None and audit.guarantee is not None  # a passed audit has both
    if not math.isfinite(audit.guarantee.epsilon):
        raise RunError(f"{run} is not exported: no finite ε holds of it, and a card would have nothing to promise.")
    return GuardedRelease(folder=release_of(run), audit=audit, state=audit.state, guarantee=audit.guarantee)
