"""Kill a rank of real trainings at random moments, resume them on other numbers of ranks, and count what was missed.

    python benchmarks/kill_ranks.py --kills 50

A life is two or three processes over gloo that begin or resume a run of `PrivateTraining` together. A random time after
all have joined, or after all have drawn noise, by turns, one of them, any of them, gets SIGKILL; each tenth kill comes
while they still look for each other. The others must end by themselves: as ranks that lost one or, where they had not
joined, as ranks that do not find each other. Either of these before the kill is a failure.

Steps that truly ran are counted without the ledger: each draw of noise first puts one byte into a file of that life and
rank, and a step counts as soon as one rank has begun to draw. After each kill the ledger must charge at least as many,
be readable, and name a newest checkpoint that is there and whole; and the next life must be able to go on.

Lives are forked from a process that has trained one step: what a training imports is loaded once, and not by each rank.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from kill_resume import CountedNoise, Tally, check_audit, check_checkpoints, ledger_of, run_trial, table
from torch import nn

from privgen import PrivateTraining
from privgen.errors import RankLost, RunError
from privgen.training.distributed import World
from privgen.training.run_folder import RunFolder

RECORDS, STEPS, SIZES = 96, 400, (2, 3)
# Seconds in which a rank must answer, and in which all must have joined, and have ended once one is killed: who finds
# no rank 0 at all tries it again, which takes three times as long.
TIMEOUT, ENDED = 10.0, 60.0
# Each so-manieth kill comes within so many seconds of the start: mostly before all have joined.
JOINING, JOINED_IN = 10, 0.3
HALTED, LOST, FAILED, UNJOINED = 0, 3, 4, 5


@dataclass
class RanksTally(Tally):
    """What was found, and what only ranks can do wrong.

    Args:
        hung: ranks that did not end by themselves. lost: ranks that ended because another was killed. unjoined: those
            that ended because another was killed before all had joined.
    """

    hung: int = 0
    lost: int = 0
    unjoined: int = 0

    @property
    def sound(self) -> bool:
        """Nothing under-counted, unreadable, lost or hanging."""
        return super().sound and not self.hung


def network() -> nn.Module:
    """Small enough for some hundred steps a second."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))


def slices(size: int) -> list[int]:
    """How often each rank draws noise in one step: once for each parameter that its slice has a number of."""
    lengths = [p.numel() for p in network().parameters()]
    own = -(-sum(lengths) // size)
    found = []
    for rank in range(size):
        at, count = 0, 0
        for length in lengths:
            count += max(at, rank * own) < min(at + length, (rank + 1) * own)
            at += length
        found.append(count)
    return found


def training_of(out: Path, *, resume: bool) -> PrivateTraining:
    """The run of all lives."""
    x = torch.randn(RECORDS, 6, generator=torch.Generator().manual_seed(0))
    model = network()
    return PrivateTraining(
        model, torch.optim.Adam(model.parameters()), (x, (x[:, 0] > 0).long()), out=out, resume=resume,
        loss=lambda model, record: nn.functional.cross_entropy(model(record[0]), record[1]),
        epsilon=8.0, delta=1e-4, batch_size=24, steps=STEPS, bands=2, checkpoint_every=5, physical_batch=32,
        rank_timeout=TIMEOUT,
    )  # fmt: skip


def live(out: Path, side: Path, *, resume: bool) -> int:
    """One rank's life: train until the halt, the kill, or another's kill. Notes in `side` what it did and met."""
    side.mkdir(parents=True)
    drawn, saved = (os.open(side / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for name in ("drawn", "saved"))
    joined, join = side / "joined", World.joined

    def join_and_note(*, timeout: float) -> World:
        world = join(timeout=timeout)
        joined.write_bytes(b".")
        return world

    try:
        World.joined = join_and_note  # type: ignore[method-assign, assignment]
        training = training_of(out, resume=resume)
        training._options = replace(training._options, noise=lambda: CountedNoise(drawn))
        for report in training:
            if report.checkpoint and os.environ["RANK"] == "0":
                os.write(saved, f"{report.checkpoint}\n".encode())
        return HALTED
    except BaseException as error:
        (side / "failed").write_text(traceback.format_exc())
        if isinstance(error, RankLost):
            return LOST
        return UNJOINED if isinstance(error, RunError) and not joined.exists() else FAILED


def fork(out: Path, side: Path, size: int, *, resume: bool) -> list[int]:
    """Start the ranks of a life; their process ids."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    children = []
    for rank in range(size):
        child = os.fork()
        if not child:
            status = FAILED
            try:
                os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1",
                               "MASTER_PORT": str(port), "LOCAL_RANK": str(rank)}  # fmt: skip
                status = live(out, side / str(rank), resume=resume)
            finally:
                os._exit(status)
        children.append(child)
    return children


def end_of(children: list[int], victim: int, due: Callable[[], bool]) -> list[int | None]:
    """Kill one as soon as it is due, unless all end before.

    Returns:
        Exit statuses; None for who did not end by itself, and FAILED for who lost the others before the kill.
    """
    statuses: list[int | None] = [None] * len(children)
    killed, end = False, time.monotonic() + 2 * ENDED
    while None in statuses and time.monotonic() < end:
        if not killed and statuses[victim] is None and due():
            os.kill(children[victim], signal.SIGKILL)
            killed, end = True, time.monotonic() + ENDED
        for rank, child in enumerate(children):
            if statuses[rank] is None and (found := os.waitpid(child, os.WNOHANG))[0]:
                status = os.waitstatus_to_exitcode(found[1])
                statuses[rank] = FAILED if status in (LOST, UNJOINED) and not killed else status
        time.sleep(0.005)
    for rank, child in enumerate(children):
        if statuses[rank] is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return statuses


def moment(side: Path, size: int, mark: str | None, seconds: float) -> Callable[[], bool]:
    """Says whether so many seconds are over since each rank has something in this file of its; with None, since now."""
    begun = time.monotonic() if mark is None else None

    def over() -> bool:
        nonlocal begun
        if begun is None and mark is not None:
            files = [side / str(rank) / mark for rank in range(size)]
            begun = time.monotonic() if all(file.exists() and file.stat().st_size for file in files) else None
        return begun is not None and time.monotonic() > begun + seconds

    return over


def executed(side: Path, size: int) -> int:
    """Steps of a life that began to draw noise on any rank."""
    draws = slices(size)
    files = [side / str(rank) / "drawn" for rank in range(size)]
    return max(-(-file.stat().st_size // n) if file.exists() else 0 for file, n in zip(files, draws, strict=True))


def judge_life(side: Path, statuses: list[int | None], tally: RanksTally) -> None:
    """What the ranks of one life did wrong."""
    tally.hung += statuses.count(None)
    tally.lost += statuses.count(LOST)
    tally.unjoined += statuses.count(UNJOINED)
    for rank, status in enumerate(statuses):
        if status is None:
            tally.complain(f"rank {rank} did not end by itself")
        elif status not in (HALTED, LOST, UNJOINED, -signal.SIGKILL):
            tally.failed_lives += 1
            failure = side / str(rank) / "failed"
            tally.complain(failure.read_text() if failure.exists() else f"rank {rank} ended with status {status}")


def trial(kills: int, *, longest: float, seed: int, folder: Path) -> RanksTally:
    """Lives until so many ranks were killed."""
    moments, tally = random.Random(seed), RanksTally()
    with contextlib.closing(iter(training_of(folder / "first", resume=False))) as steps:
        next(steps)
    ran = found = 0
    sides: list[Path] = []
    while tally.kills < kills:
        out, size = folder / f"run-{tally.runs}", moments.choice(SIZES)
        ledger = RunFolder(out).ledger
        resume = ledger.exists() and b"\n" in ledger.read_bytes()
        if not resume:
            shutil.rmtree(out, ignore_errors=True)
        side = folder / f"lives-{tally.runs}" / f"{len(sides):04d}"
        victim = moments.randrange(size)
        mark = None if tally.kills % JOINING == JOINING - 1 else ("drawn", "joined")[tally.kills % 2]
        due = moment(side, size, mark, moments.uniform(0, longest if mark else JOINED_IN))
        statuses = end_of(fork(out, side, size, resume=resume), victim, due)
        sides += [side / str(rank) for rank in range(size)]
        # Rank 0 writes its reports alone: a kill there is looked at as all are, but it stops nobody.
        tally.kills += -signal.SIGKILL in statuses and HALTED not in statuses
        judge_life(side, statuses, tally)
        state, over = ledger_of(out, tally), found - ran
        ran += executed(side, size)
        found = state.steps_charged if state is not None else 0
        if found < ran:
            tally.under_counted += ran - found
            tally.complain(f"{ran} steps ran, {found} are charged")
        tally.most_over_counted = max(tally.most_over_counted, found - ran - over)
        if state is not None:
            check_checkpoints(out, state, sides, tally)
        # A run that lost too many steps to kills has no halt in its ledger, and every further life ends at once.
        halted = state is not None and (state.halted is not None or set(statuses) == {HALTED})
        if halted or tally.kills >= kills or tally.hung or tally.failed_lives:
            tally.halts += halted
            if halted:
                _audit(out, tally)
            tally.executed, tally.charged, tally.runs = tally.executed + ran, tally.charged + found, tally.runs + 1
            sides, ran, found = [], 0, 0
    return tally


def _audit(out: Path, tally: RanksTally) -> None:
    """A library run releases model.safetensors where the trial of `kill_resume` looks for a generator."""
    weights = RunFolder(out).release / "model.safetensors"
    if weights.exists():
        check_audit_of_model(out, tally)
    else:
        check_audit(out, tally)


def check_audit_of_model(out: Path, tally: RanksTally) -> None:
    """A run that ended with a release passes its audit."""
    from accountant.audit.audit import audit_run

    if (verdict := audit_run(out).verdict) != "passed":
        tally.failed_audits += 1
        tally.complain(f"the audit of {out.name}, which released a model, is {verdict}")


def main() -> int:
    """Run the trial; exit status 0 when nothing was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--longest", type=float, default=4.0, help="seconds from a mark to the kill, at most")
    return run_trial(parser, trial, ranks_table)


def ranks_table(tally: RanksTally, seconds: float) -> str:
    """The tally, and what only several ranks can do."""
    ended = f"ranks that ended because another was killed: {tally.lost}; before all had joined: {tally.unjoined}"
    return f"{table(tally, seconds)}\n{ended}\nranks that hung: {tally.hung}"


if __name__ == "__main__":
    sys.exit(main())
