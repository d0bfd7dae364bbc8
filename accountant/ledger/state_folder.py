"""Where a user's machine keeps what no run's folder may decide: heads of ledgers, and which records were spent on.

    PRIVGEN_STATE, or XDG_STATE_HOME/privgen, or ~/.local/state/privgen

Nothing in it is ever released. Whoever removes it removes what a copied or restored run would be seen by.

    >>> state_folder({"PRIVGEN_STATE": "/srv/state"}).as_posix(), state_folder({"XDG_STATE_HOME": "/srv"}).as_posix()
    ('/srv/state', '/srv/privgen')
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "PRIVGEN_STATE"


def state_folder(environment: Mapping[str, str] | None = None) -> Path:
    """The folder, which may not exist yet.

    Args:
        environment: variables, or None for the process's own.
    """
    known = os.environ if environment is None else environment
    if known.get(VARIABLE):
        return Path(known[VARIABLE])
    base = known.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "privgen"


def make_private_folder(path: Path) -> None:
    """Make a folder that only its owner can look into, and those above it.

    Raises:
        OSError: it cannot be made.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
