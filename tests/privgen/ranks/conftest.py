"""Two or three processes over gloo, forked from this one, in each of which a function runs as under torchrun."""

import faulthandler
import os
import pickle
import shutil
import signal
import socket
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from privgen.training.distributed import World


@dataclass(frozen=True)
class Failed:
    """What a rank raised.

    Args:
        kind: the error's class. text: its words. trace: where.
    """

    kind: str
    text: str
    trace: str


KILLED = "killed"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    return {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }  # fmt: skip


def _live(rank: int, size: int, port: int, work: Callable[..., Any], result: Path) -> None:
    os.environ.update(environment(rank, size, port))
    torch.set_num_threads(1)
    # Where a rank hangs, it says where before it is ended.
    faulthandler.dump_traceback_later(40)
    try:
        found = work(rank)
    except BaseException as error:
        found = Failed(type(error).__name__, str(error), traceback.format_exc())
    result.write_bytes(pickle.dumps(found))


def run_ranks(size: int, work: Callable[[int], Any], *, seconds: float = 60) -> list[Any]:
    """What `work(rank)` gave on each rank; `Failed` where it raised, KILLED where a signal ended the rank."""
    port, folder = free_port(), Path(tempfile.mkdtemp())
    children = []
    for rank in range(size):
        child = os.fork()
        if not child:
            try:
                _live(rank, size, port, work, folder / str(rank))
            finally:
                os._exit(0)
        children.append(child)
    end = time.monotonic() + seconds
    waiting = dict(zip(children, range(size), strict=True))
    while waiting and time.monotonic() < end:
        found, _ = os.waitpid(-1, os.WNOHANG)
        if waiting.pop(found, None) is None:
            time.sleep(0.005)
    for child in waiting:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert not waiting, f"ranks {sorted(waiting.values())} did not end in {seconds} s"
    said = [folder / str(rank) for rank in range(size)]
    results = [pickle.loads(one.read_bytes()) if one.exists() else KILLED for one in said]  # noqa: S301  (our own)
    shutil.rmtree(folder)
    return results


def in_world(work: Callable[[World], Any], *, timeout: float = 20) -> Callable[[int], Any]:
    """The work, handed the world of its rank."""

    def joined(rank: int) -> Any:
        world = World.joined(timeout=timeout)
        try:
            return work(world)
        finally:
            world.ranks.leave()
            if dist.is_initialized():
                dist.destroy_process_group()

    return joined


@pytest.fixture(scope="session")
def ranks() -> Any:
    """Run a function on several ranks: `ranks(size, work)`, each rank's `work(world)`."""

    def run(size: int, work: Callable[[World], Any], *, timeout: float = 20, seconds: float = 60) -> list[Any]:
        return run_ranks(size, in_world(work, timeout=timeout), seconds=seconds)

    run.Failed, run.KILLED, run.processes, run.environment, run.free_port = (  # type: ignore[attr-defined]
        Failed, KILLED, run_ranks, environment, free_port,
    )  # fmt: skip
    return run
