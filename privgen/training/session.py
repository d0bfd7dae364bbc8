"""`Session`: a run that may take steps, and the turns that keep it alive.

`privgen.training.begin` and `privgen.training.resume` hand one out, after everything that is checked before a step may
happen. It holds the ledger's lock until it is closed.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from accountant.events import Event, event_to_json
from accountant.ledger.account import Account
from accountant.ledger.chain import Ledger
from accountant.ledger.granted import Grant, GrantedGuard
from accountant.ledger.guard import BudgetGuard
from accountant.ledger.receipt import Receipt
from accountant.plans.plan import Plan
from privgen.errors import RunError
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.mechanism.sampling import PoissonSampler
from privgen.mechanism.system_generator import system_generator
from privgen.training.canary_scores import CanaryScorer
from privgen.training.checkpoint import (
    Snapshot,
    drop_old_checkpoints,
    free_name,
    write_checkpoint,
)
from privgen.training.disk_room import DiskRoom
from privgen.training.distributed import World, digest_of_modules
from privgen.training.gradient_canaries import IMAGE, Planted
from privgen.training.gradient_canary_scores import GradientCanaryScorer
from privgen.training.method import Learner
from privgen.training.records import TrainingRecords
from privgen.training.run_folder import RunFolder
from privgen.training.sample_grids import SampleGrids
from privgen.training.state import TrainState, snapshot
from privgen.training.watch import TrainingWatch

# Of the charged steps, so much must be in the weights of a run that is released unasked.
LEAST_HELD = 0.8
_MOST_SECONDS = 300.0
# Passes of a whole row check, of which each is worth two of a step's: their rows are hashed.
_PASSES = 4.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How to run; none of it is privacy-relevant but `noise`, which the ledger states.

    Args:
        device: torch device. noise: makes the source of noise.
        coins: source of Poisson coins, or None for the operating system's; others are insecure.
        salt: makes a new run's 16 bytes by which records fall into groups; any but the default is insecure.
        beside: makes the source of the numbers beside records; any but the default is insecure.
        latents: makes the source of the free steps' latent vectors for the device.
        signing_key: an Ed25519 key file, or None.
        extend: go on past the plan's last step with what remains of the budget beside all caps.
        account: of a budget over many runs, or None.
        anchor: a file on another disk or machine that remembers the ledger's head too, or None.
        canaries: how many to plant into a new run, for a one-run audit; 0 for none.
        canary_kind: "image" or "gradient".
        accept_loss: release weights that hold less than `LEAST_HELD` of the charged steps.
        remembered: whether this machine's register of spent records is to know of the run; a trial on public data with
            noise from a seed promises nothing, and would be warned of for ever.
        clock: seconds, from any beginning.
        world: who trains together.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    noise: Callable[[], ExactGaussian] = ExactGaussian
    coins: Callable[[int], Any] | None = None
    salt: Callable[[], bytes] = lambda: os.urandom(16)
    beside: Callable[[torch.device], RecordNumbers] = lambda device: RecordNumbers(device=device)
    latents: Callable[[torch.device], torch.Generator] = system_generator
    signing_key: Path | None = None
    extend: bool = False
    account: Account | None = None
    anchor: Path | None = None
    canaries: int = 0
    canary_kind: str = IMAGE
    accept_loss: bool = False
    remembered: bool = True
    clock: Callable[[], float] = time.monotonic
    world: World = field(default_factory=World)


@dataclass(kw_only=True)
class Session:
    """A run that may take steps: it holds the ledger's lock until `close`.

    Where several ranks train together each has one. Only rank 0's touches folder, ledger and room, inside
    `World.led`; the others' are stand-ins (`privgen.training.opening`).

    Args:
        folder: the run's. plan: what it runs with. method: name of what is trained. data: what it trains on.
        state: networks, optimisers, owed error. guard: the only way to a receipt.
        sampler, noise: fresh in every session.
        salt: of the group assignment; persists over resumes.
        room: on disk, held for the next checkpoint.
        doubt: why a resume is none after a clean stop, though the checkpoint is the newest; or None. Private.
        extended: whether it goes on past the plan's end.
        accept_loss: release whatever there is. clock: seconds.
        released: whether the run has ended with a release.
        planted: canaries, or None. watch: how they are felt. Both are rank 0's.
        world: who trains together. shard: rows of the data whose coins are tossed here, or None for all.
        gathered: whether rank 0 needs each step's sums before noise by themselves: where there are canaries.
        rows_checked_at: the reservation at which rows were last looked at, or None.
        pace: steps that take some minutes here, as told by the first row check, which sees no record. The clock of the
            steps themselves decides nothing: it tells how large the batches were, and where checkpoints stand is
            in the ledger.
        training_watch: warns where what is released shows a run going wrong.
        grids: of samples, every few minutes.
        outcome: why `loop.run` ended: None while it runs.

    A turn (a step, a checkpoint, the end) that did not come to its own end leaves the session dead: what is owed, the
    networks and the ledger may stand at different places, and only a resume, which counts as a crash, sets them right.
    """

    folder: RunFolder
    plan: Plan
    method: str
    data: TrainingRecords
    state: TrainState
    guard: BudgetGuard | GrantedGuard
    ledger: Ledger
    sampler: PoissonSampler
    noise: ExactGaussian
    salt: bytes
    room: DiskRoom
    doubt: str | None = None
    extended: bool = False
    accept_loss: bool = False
    clock: Callable[[], float] = time.monotonic
    released: bool = False
    planted: Planted | None = None
    watch: CanaryScorer | GradientCanaryScorer | None = None
    rows_checked_at: int | None = None
    pace: int | None = None
    grids: SampleGrids = field(default_factory=SampleGrids)
    outcome: str | None = None
    training_watch: TrainingWatch = field(init=False)
    world: World = field(default_factory=World)
    shard: NDArray[np.int64] | None = None
    gathered: bool = False
    _inside: bool = field(default=False, init=False)
    _saved_at: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._saved_at = self.guard.steps
        self.training_watch = TrainingWatch(self.plan)

    @property
    def checkpoint_due(self) -> bool:
        """At a reservation's end: a crash costs a block at most; else after so many steps, or at the pace."""
        return (
            self.guard.reserved_ahead == 0
            or self.guard.steps % self.state.learner.settings.checkpoint_every == 0
            or (self.pace is not None and self.guard.steps - self._saved_at >= self.pace)
        )

    def pace_by(self, seconds: float) -> None:
        """Have a checkpoint and a grid of samples every few minutes, by how long the first row check took."""
        size = max(1, min(self.state.physical_batches.values(), default=1))
        passes = max(1, math.ceil(self.plan.expected_batch_size / size))
        step = max(seconds * passes / _PASSES, 1e-3)
        self.pace = max(1, int(_MOST_SECONDS / step))
        self.grids.pace_by(step, minutes=self.state.learner.settings.samples_every_minutes)

    @property
    def charging(self) -> BudgetGuard:
        """The guard that charges: rank 0's."""
        assert isinstance(self.guard, BudgetGuard)  # whoever asks is led by rank 0
        return self.guard

    def must_stop(self, asked: bool) -> bool:
        """Whether any rank is asked to stop, once all have been seen to be alike.

        Raises:
            RunError: one is not.
        """
        learner = self.state.learner
        alone = self.world.size == 1
        digest = b"" if alone else digest_of_modules(iter((*learner.modules().values(), learner.released())))
        return self.world.must_stop(plan=self.plan.digest, step=self.guard.steps, parameters=digest, stop=asked)

    def admit(self, event: Event) -> Receipt:
        """The receipt of one more step: rank 0 charges it, has that on disk, and only then says so.

        Raises:
            BudgetExhausted: it would overspend. LedgerError, RunError: it could not be written, on rank 0 or elsewhere.
        """
        if self.world.size == 1:
            return self.charging.admit(event)
        receipts = []

        def charge() -> dict[str, Any]:
            receipts.append(self.charging.admit(event))
            return Grant.of(self.charging, receipts[0]).to_json()

        grant = self.world.led(charge)
        if isinstance(self.guard, GrantedGuard):
            return self.guard.admit(Grant.from_json(grant))
        return receipts[0]

    @property
    def loss(self) -> str | None:
        """Why the weights are not worth what was charged, or None."""
        held, charged = self.guard.held, self.guard.steps
        if charged and held >= LEAST_HELD * charged:
            return None
        return f"the weights hold {held} of {charged} charged steps"

    def require_alive(self) -> None:
        """Raise RunError if a turn of this session was interrupted, anywhere and by anything."""
        if self._inside:
            raise RunError(
                f"This session was interrupted inside a step (after {self.guard.steps} charged steps) and is dead: "
                "going on with it could pay the same residual twice. Close it, then resume the run: "
                f"privgen train --resume --out {self.folder.argument}"
            )

    @contextmanager
    def turn(self) -> Iterator[None]:
        """What must come to its end or leave the session dead.

        Raises:
            RunError: an earlier turn did not.
        """
        self.require_alive()
        self._inside = True
        yield
        # Not in a finally clause: a KeyboardInterrupt or a MemoryError between any two instructions must not pass here.
        self._inside = False

    def save(self) -> str:
        """Commit the steps, write a checkpoint, and enter it in the ledger. Returns its name.

        Raises:
            OSError: no room; the checkpoints before are untouched and the spend is in the ledger.
            RunError: the session was interrupted before.
        """
        with self.turn():
            return self._save()

    def _save(self) -> str:
        self._saved_at = self.guard.steps
        whole = snapshot(self.state, self._facts(), ranks=self.world.ranks)
        return str(self.world.led(lambda: self._write(whole)))

    def _write(self, whole: Snapshot) -> str:
        newest = self.ledger.entries[-1]
        if newest.kind == "checkpoint":
            # A step would have reserved: nothing has happened since.
            return str(newest.body["name"])
        self.charging.commit()
        name = free_name(self.folder.private, self.guard.steps)
        self.room.let_go()
        digest = write_checkpoint(self.folder.private, name, whole)
        if self.watch is not None:
            self.watch.save(self.folder.private)
        self.ledger.append("checkpoint", {"name": name, "step": self.guard.steps, "weights_digest": digest})
        recorded = [str(entry.body["name"]) for entry in self.ledger.entries if entry.kind == "checkpoint"]
        drop_old_checkpoints(self.folder.private, recorded=recorded, keep=self.state.learner.settings.keep_checkpoints)
        self.room.hold()
        return name

    def name_reports(self, reports: Sequence[Path]) -> None:
        """Enter the reports' digests behind the halt, so that an edited one is seen.

        Raises:
            OSError, LedgerError: one cannot be read, or there is no room for the entry.
        """
        files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in reports}
        self.ledger.append("release", {"files": files})

    def _facts(self) -> dict[str, Any]:
        return checkpoint_metadata(self.state.event, salt=self.salt, method=self.method, learner=self.state.learner)

    def close(self) -> None:
        """Let go of the ledger, of the room on disk, and of the other ranks, which stop if they are still at work."""
        if self.world.leads:
            self.room.let_go()
            self.ledger.close()
        self.world.part_from(orderly=self.outcome is not None and not self._inside)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class Halted:
    """A run that has ended: there is nothing to go on with.

    Args:
        reason: the ledger's. steps: that are charged.
    """

    reason: str
    steps: int


def checkpoint_metadata(event: Event | None, *, salt: bytes, method: str, learner: Learner) -> dict[str, Any]:
    """What a checkpoint's state.json says beside the tensors."""
    return {
        "event": None if event is None else event_to_json(event),
        "salt": salt.hex(),
        **how_to_rebuild(method, learner),
    }


def how_to_rebuild(method: str, learner: Learner) -> dict[str, Any]:
    """JSON by which `Method.rebuild` makes the same networks; a checkpoint without a method is of the GAN."""
    return {"method": method, "config": learner.settings.to_json(), "network": dict(learner.network)}
