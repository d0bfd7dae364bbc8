"""`DiskRoom`: room for the next checkpoint and for the release, taken from the disk before the first step.

A disk that fills up in the middle of a run would otherwise be found out after steps were charged whose weights can no
longer be kept. What is held is given back when it is about to be used, and taken again afterwards; where that fails a
checkpoint has just been written, and nothing is lost.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from accountant.plans.plan import Plan
from privgen.training.state import TrainState, parameters_of

_NAME = ".room"
# State files, the ledger's next lines, a grid of samples, and the folders themselves.
_BESIDE = 2_000_000
_LONGEST_NUMBER = 8  # bytes of what is owed, which may be int64


class DiskRoom:
    """Bytes that a file in a run's private folder holds.

    Args:
        private: the folder. size: in bytes, > 0.
    """

    def __init__(self, private: Path, size: int) -> None:
        self.path, self.size = private / _NAME, size

    def hold(self) -> None:
        """Take the room, or keep it where it is taken.

        Raises:
            OSError: there is not so much; nothing is taken.
        """
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                _allocate(descriptor, self.size, self.path)
            finally:
                os.close(descriptor)
        except OSError as error:
            self.let_go()
            text = f"{error.strerror} for the next checkpoint and the release ({self.size / 1e6:.0f} MB)"
            raise OSError(error.errno, text, str(self.path.parent)) from error

    def let_go(self) -> None:
        """Give it back. Nothing where nothing is held."""
        self.path.unlink(missing_ok=True)


def _allocate(descriptor: int, size: int, path: Path) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    elif shutil.disk_usage(path.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def room_for(state: TrainState, plan: Plan) -> int:
    """Bytes of the largest checkpoint that a run can come to, and of what it releases, with a margin.

    Networks, twice as much for their optimisers, what is released twice, and what each part owes: a
    number of eight bytes for each of its parameters and each band.
    """
    learner = state.learner
    modules = learner.modules().values()
    networks = sum(t.numel() * t.element_size() for module in modules for t in module.state_dict().values())
    released = sum(t.numel() * t.element_size() for t in learner.released().state_dict().values())
    owed: int = sum(
        p.numel() * _LONGEST_NUMBER * (plan.bands + 1)
        for part in plan.parts
        for p in parameters_of(learner.module_of(part.name)).values()
    )
    needed: int = 3 * networks + 2 * released + owed + _BESIDE
    return needed
