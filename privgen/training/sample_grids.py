"""Grids of samples while a run goes on, so that somebody sees what comes of it before it is done.

Made of what would be released now (`Learner.samples_png`), which is post-processing of releases that are charged: no
record is read, and no random number of the run's is drawn. When one is made follows steps and the speed of the row
check, never the clock of the steps themselves, which tells how large the batches were.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from accountant.files import write_durably
from privgen.training.method import Learner

LATEST = "latest.png"
# So many are kept, the newest.
MOST_GRIDS = 20


@dataclass(kw_only=True)
class SampleGrids:
    """When a grid is due in this session, and where it goes.

    Args:
        every: steps from one to the next, told by `pace_by`; None before, and where none is wanted.
        written_at: step of the last one, or None.
    """

    every: int | None = None
    written_at: int | None = None

    def pace_by(self, seconds: float, *, minutes: float) -> None:
        """Have one so often.

        Args:
            seconds: of a step, about. minutes: from one to the next; 0 makes none.
        """
        self.every = max(1, int(60 * minutes / max(seconds, 1e-3))) if minutes else None

    def write_if_due(self, learner: Learner, folder: Path, *, step: int) -> Path | None:
        """Write step-STEP.png, and the same as latest.png, each whole or not at all.

        Args:
            folder: made where it is missing. step: charged so far.

        Returns:
            The file; None where none is due, the method makes no images, or there is no room: a run does not end by it.
        """
        if self.every is None or (self.written_at is not None and step - self.written_at < self.every):
            return None
        self.written_at = step
        picture = learner.samples_png()
        if picture is None:
            return None
        file = folder / f"step-{step:06d}.png"
        try:
            folder.mkdir(exist_ok=True)
            for place in (file, folder / LATEST):
                write_durably(place, picture)
            for old in sorted(folder.glob("step-*.png"))[:-MOST_GRIDS]:
                old.unlink()
        except OSError:
            return None
        return file
