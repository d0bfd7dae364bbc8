"""`privgen train` under torchrun: the ranks that train together, of which the first alone speaks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from privgen.cli.console import console, err_console

if TYPE_CHECKING:
    from privgen.training.distributed import World


@contextmanager
def joined(*, timeout: float) -> Iterator[World]:
    """The world of this process; what ranks but the first would print is not printed, so that each line stands once.

    Args:
        timeout: seconds in which a rank must answer.
    """
    from privgen.errors import RankLost
    from privgen.training.distributed import World

    world = World.joined(timeout=timeout)
    if not world.leads:
        console.quiet = err_console.quiet = True
    try:
        yield world
    except RankLost:
        # The first may be the one that is gone.
        err_console.quiet = False
        raise
    finally:
        world.ranks.leave()


def own_device(name: str) -> str:
    """The device of this process: of several on a machine, each has a GPU of its own."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if name == "cuda" and "LOCAL_RANK" in os.environ else name
