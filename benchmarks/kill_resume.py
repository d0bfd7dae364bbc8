"""Kill real training runs at random moments, resume them, and count what the ledger missed.

    python benchmarks/kill_resume.py --kills 200

A life is one process that begins or resumes a run and trains; it is killed by SIGKILL after a random time. The
releases that truly happened are counted without the ledger: each draw of noise first puts one byte into a file
of that life. After each kill the ledger must charge at least as many, must be readable, and the newest
checkpoint that any life was told of must be there and whole; the next life must be able to go on from it.

Lives are forked from this process before it starts a thread, so that each begins in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from accountant import LedgerError
from accountant.audit.audit import audit_run
from accountant.ledger import state_folder
from accountant.ledger.chain import Head
from accountant.ledger.entry import parse_entries
from accountant.ledger.guard import DEFAULT_BLOCK
from accountant.ledger.replay import replay
from accountant.ledger.state import LedgerState
from planners import plan
from privgen.data.records import DataSet, ImageData, identities
from privgen.errors import CheckpointError
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.methods.gan.method import METHOD
from privgen.methods.gan.settings import GanSettings
from privgen.training.begin import begin
from privgen.training.checkpoint import read_checkpoint, released_digest
from privgen.training.loop import run
from privgen.training.records import ImageRecords
from privgen.training.resume import resume
from privgen.training.run_folder import RunFolder
from privgen.training.session import Halted, Options, Session
from privgen.training.state import parameters_of

RECORDS, ITERATIONS = 200, 600
HALTED, FAILED = 0, 3
STEPS_OF_A_LIFE = 4
AnyTally = TypeVar("AnyTally", bound="Tally")

CONFIG = GanSettings(preset="tiny", latent_dim=8, generator_batch=2, checkpoint_every=3)
PLAN = plan(
    epsilon=5.0,
    delta=1e-5,
    dataset="synthetic",
    dataset_size=RECORDS,
    sampling_rate=0.05,
    iterations=ITERATIONS,
    warm_start=0.0,
)


def synthetic() -> DataSet:
    """Records 16×16 in grey, of two classes."""
    generator = np.random.default_rng(0)
    splits = [
        ImageData(
            name="synthetic",
            split=split,
            images=generator.integers(0, 256, (count, 16, 16, 1), dtype=np.uint8),
            labels=np.arange(count) % 2,
            class_names=("a", "b"),
            ids=identities(f"{split}/{row}" for row in range(count)),
        )
        for split, count in (("train", RECORDS), ("test", 20))
    ]
    return DataSet("synthetic", *splits)


def open_run(out: Path, data: DataSet, options: Options) -> Session | Halted:
    """Begin, or resume what an earlier life left; one that never got as far as a ledger is begun again."""
    ledger = RunFolder(out).ledger
    if ledger.exists() and b"\n" in ledger.read_bytes():
        return resume(out, method=METHOD, data=ImageRecords(data), options=options)
    shutil.rmtree(out, ignore_errors=True)
    return begin(out, plan=PLAN, method=METHOD, settings=CONFIG, data=ImageRecords(data), options=options)


class CountedNoise(ExactGaussian):
    """The exact noise; each draw leaves a byte in a file that survives a kill."""

    def __init__(self, file: int) -> None:
        super().__init__()
        self._file = file

    def floored(self, shape: Any, *, std: float) -> np.ndarray:
        """See ExactGaussian."""
        os.write(self._file, b".")
        return super().floored(shape, std=std)


def live(out: Path, data: DataSet, side: Path, parent: int) -> int:
    """One life: train until the halt or the kill. Notes draws of noise, checkpoints and its end in `side`.

    It ends with its parent, which may be killed too.
    """
    side.mkdir(parents=True)
    drawn, saved = (os.open(side / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for name in ("drawn", "saved"))

    try:
        session = open_run(out, data, Options(noise=lambda: CountedNoise(drawn)))
        (side / "opened").touch()
        if isinstance(session, Halted):
            return HALTED
        for report in run(session):
            if os.getppid() != parent:
                return FAILED
            if report.checkpoint:
                os.write(saved, f"{report.checkpoint}\n".encode())
        return HALTED
    except BaseException:
        (side / "failed").write_text(traceback.format_exc())
        return FAILED


@dataclass
class Tally:
    """What was found over all lives."""

    kills: int = 0
    runs: int = 0
    halts: int = 0
    executed: int = 0
    charged: int = 0
    under_counted: int = 0
    most_over_counted: int = 0
    unreadable_ledgers: int = 0
    cut_last_lines: int = 0
    lost_checkpoints: int = 0
    failed_lives: int = 0
    failed_audits: int = 0
    last_entries: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Nothing under-counted, unreadable or lost."""
        wrong = (
            self.under_counted,
            self.unreadable_ledgers,
            self.lost_checkpoints,
            self.failed_lives,
            self.failed_audits,
            max(0, self.most_over_counted - DEFAULT_BLOCK),
        )
        return not any(wrong)

    def complain(self, what: str) -> None:
        """Remember one finding."""
        self.complaints.append(what)


def executed(sides: list[Path], draws_a_step: int) -> int:
    """Releases that began in these lives, by the bytes that each left; a release cut short counts whole."""
    counts = [(side / "drawn").stat().st_size for side in sides if (side / "drawn").exists()]
    return sum(-(-count // draws_a_step) for count in counts)


def ledger_of(out: Path, tally: Tally) -> LedgerState | None:
    """What the ledger says after a kill, or None before its genesis; its last line may be cut, as a resume knows."""
    folder = RunFolder(out)
    try:
        entries, tail = parse_entries(folder.ledger.read_bytes() if folder.ledger.exists() else b"")
        if folder.head.exists():
            Head.load(folder.head).require_in(entries)
        state = replay(entries) if entries else None
    except LedgerError as error:
        tally.unreadable_ledgers += 1
        tally.complain(f"unreadable ledger: {error}")
        return None
    tally.cut_last_lines += bool(tail)
    tally.last_entries[entries[-1].kind if entries else "none, killed before the genesis"] += 1
    return state


def check_checkpoints(out: Path, state: LedgerState, sides: list[Path], tally: Tally) -> None:
    """The newest in the ledger is there and whole, and what any life was told is saved stands in the ledger."""
    folder, names = RunFolder(out), [record.name for record in state.checkpoints]
    if state.last_checkpoint is not None:
        newest = state.last_checkpoint
        try:
            read_checkpoint(folder.private, newest.name, recorded=names)
            whole = released_digest(folder.private, newest.name) == newest.weights_digest
        except CheckpointError as error:
            whole = False
            tally.complain(str(error))
        tally.lost_checkpoints += not whole
    reported = [(side / "saved").read_text() for side in sides if (side / "saved").exists()]
    for told in "".join(reported).splitlines():
        if told not in names:
            tally.lost_checkpoints += 1
            tally.complain(f"{told} was reported as saved and is not in the ledger")


def fork(out: Path, data: DataSet, side: Path) -> int:
    """Start a life; its process id."""
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        status = live(out, data, side, parent)
    finally:
        sys.stdout.flush()
    os._exit(status)


def wait(child: int, seconds: float) -> int | None:
    """Kill it after so many seconds. Its exit status, or None where the kill came first."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(min(left, 0.005))
    os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return None if status == -signal.SIGKILL else status


def seconds_of(draws: int, folder: Path, data: DataSet) -> float:
    """How long a life takes here to draw noise so often: on a slow machine the lives must be longer to train at all."""
    start, drawn = time.monotonic(), folder / "life" / "drawn"
    child = fork(folder / "run", data, drawn.parent)
    while not (drawn.exists() and drawn.stat().st_size >= draws) and time.monotonic() < start + 60:
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return time.monotonic() - start


def trial(kills: int, *, longest: float, seed: int, folder: Path) -> Tally:
    """Lives until so many were killed.

    Args:
        longest: a life is killed after a time uniform in [0, longest] seconds, longer where this machine is slow.
    """
    moments, data, tally = random.Random(seed), synthetic(), Tally()
    with open_run(folder / "probe", data, Options()) as probe:
        # One step here: what it imports and compiles need not be loaded again by each life.
        next(iter(run(probe)))
        draws = sum(len(parameters_of(probe.state.learner.module_of(part.name))) for part in PLAN.parts)
    longest = max(longest, 2 * seconds_of(STEPS_OF_A_LIFE * draws, folder / "probe-life", data))
    sides: list[Path] = []
    ran = found = 0
    while tally.kills < kills:
        out = folder / f"run-{tally.runs}"
        sides.append(folder / f"lives-{tally.runs}" / f"{len(sides):04d}")
        status = wait(fork(out, data, sides[-1]), moments.uniform(0, longest))
        tally.kills += status is None
        ran, found = judge(out, sides, draws, found - ran, tally)
        if status is None and tally.kills < kills:
            continue
        tally.halts += status == HALTED
        if status not in (None, HALTED):
            tally.failed_lives += 1
            failure = sides[-1] / "failed"
            tally.complain(failure.read_text() if failure.exists() else f"a life ended with status {status}")
        if status == HALTED:
            check_audit(out, tally)
        tally.executed += ran
        tally.charged += found
        tally.runs += 1
        sides, ran, found = [], 0, 0
    return tally


def check_audit(out: Path, tally: Tally) -> None:
    """A run that ended passes its audit; one that lost too many steps released nothing, and its audit says so."""
    released = (RunFolder(out).release / "generator.safetensors").exists()
    verdict = audit_run(out).verdict
    if verdict != ("passed" if released else "incomplete"):
        tally.failed_audits += 1
        tally.complain(f"the audit of {out.name}, which released {'a' if released else 'no'} generator, is {verdict}")


def judge(out: Path, sides: list[Path], draws: int, before: int, tally: Tally) -> tuple[int, int]:
    """After a life: steps that ran and steps that are charged; the difference may grow by one block a crash."""
    state, ran = ledger_of(out, tally), executed(sides, draws)
    found = state.steps_charged if state is not None else 0
    if found < ran:
        tally.under_counted += ran - found
        tally.complain(f"{ran} steps ran, {found} are charged")
    tally.most_over_counted = max(tally.most_over_counted, found - ran - before)
    if state is not None:
        check_checkpoints(out, state, sides, tally)
    return ran, found


def table(tally: Tally, seconds: float) -> str:
    """The result for people."""
    rows = [
        ("kills", tally.kills),
        ("runs; of which halted", f"{tally.runs}; {tally.halts}"),
        ("steps that ran / that are charged", f"{tally.executed} / {tally.charged}"),
        ("steps under-counted", tally.under_counted),
        (f"most steps over-counted by one crash (block {DEFAULT_BLOCK})", tally.most_over_counted),
        ("unreadable ledgers", tally.unreadable_ledgers),
        ("last lines cut short and repaired", tally.cut_last_lines),
        ("checkpoints lost beyond the last", tally.lost_checkpoints),
        ("lives that could not go on", tally.failed_lives),
        ("audits that failed", tally.failed_audits),
        ("seconds", f"{seconds:.0f}"),
    ]
    rows += [(f"last entry after a life: {kind}", count) for kind, count in tally.last_entries.most_common()]
    lines = ["| over all lives | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join([*lines, "", *tally.complaints])


def main() -> int:
    """Run the trial; exit status 0 when nothing was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--longest", type=float, default=1.5, help="seconds of the longest life, at least")
    return run_trial(parser, trial, table)


def run_trial(
    parser: argparse.ArgumentParser, trial: Callable[..., AnyTally], table: Callable[[AnyTally, float], str]
) -> int:
    """Run a trial as the command line asks, show its tally, and give the exit status: 0 when nothing was missed.

    Args:
        parser: with --kills and --longest. trial: called with the kills, `longest`, `seed` and `folder`. table: of a
            tally and the seconds it took.
    """
    parser.add_argument("--seed", type=int, default=0, help="of the moments; the trainings' own randomness is fresh")
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    given = parser.parse_args()
    torch.set_num_threads(1)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        # What these runs leave behind is none of the user's own state.
        os.environ[state_folder.VARIABLE] = str(Path(folder) / "state")
        tally = trial(given.kills, longest=given.longest, seed=given.seed, folder=Path(folder))
    seconds = time.monotonic() - start
    if given.json:
        print(json.dumps({**vars(tally), "sound": tally.sound, "seconds": seconds}))
    else:
        print(table(tally, seconds))
    return 0 if tally.sound else 1


if __name__ == "__main__":
    sys.exit(main())
