"""`open_run`: begin or resume a run in a world of any size: rank 0 opens it, and hands the others all that they need.

The others read no file of the run. Networks, optimisers, what is owed and the state of the free steps' random numbers
come from rank 0, so that all go on from the same bits; coins, noise and numbers beside records are each rank's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor

from accountant.events import event_from_json
from accountant.ledger.granted import GrantedGuard
from accountant.plans.plan import Plan
from privgen.errors import RunError
from privgen.generate import tensor_bytes
from privgen.mechanism.error_feedback import FeedbackMemory
from privgen.mechanism.sampling import PoissonSampler
from privgen.training.checkpoint import Snapshot
from privgen.training.method import Method
from privgen.training.records import TrainingRecords
from privgen.training.run_folder import RunFolder
from privgen.training.session import Halted, Options, Session, checkpoint_metadata
from privgen.training.state import TrainState, begin_segment, restore, snapshot

_KINDS = ("networks", "optimisers", "generator")


def open_run(
    opening: Callable[[Options], Session | Halted],
    *,
    plan: Plan | None,
    method: Method,
    data: TrainingRecords,
    options: Options,
) -> Session | Halted:
    """A session on every rank, or what rank 0's ledger says of a run that has halted.

    Args:
        opening: begins or resumes the run, as `privgen.training.begin` and `privgen.training.resume` do; called on
            rank 0 alone.
        plan: as every rank was given it, or None for that of the run which goes on. method, data: that every rank has.
        options: with the world in it.

    Raises:
        RunError: the ranks have different data, code or random bits, or one of them could not open the run.
        As `opening`, on rank 0; there is nothing charged in any case.
    """
    world = options.world
    if world.size == 1:
        return opening(options)
    world.require_same(_alike(plan, method, data, options))
    free = _Remembered(options.latents)
    opened: list[Session | Halted] = []

    def lead() -> dict[str, Any]:
        opened.append(opening(replace(options, latents=free)))
        return _told(opened[0], free)

    said = world.led(lead)
    if "halted" in said:
        return Halted(reason=said["halted"], steps=said["steps"])
    handed = world.ranks.from_first(b"" if not opened else _tensors(cast("Session", opened[0])))
    try:
        with world.together():
            if not opened:
                opened.append(_following(said, load(handed), method, data, options))
        session = cast("Session", opened[0])
        world.require_different(session.sampler.mark())
        world.require_different(session.noise.mark())
    except BaseException:
        for one in opened:
            cast("Session", one).close()
        raise
    return session


def _alike(plan: Plan | None, method: Method, data: TrainingRecords, options: Options) -> dict[str, str]:
    """What all ranks must have in common, so that they compute the same bits of the same run."""
    ids = np.sort(np.ascontiguousarray(data.ids).view("V16").reshape(-1))
    return {
        "plan": "the run's own" if plan is None else plan.digest,
        "method": method.name,
        "data set": data.fingerprint(),
        "set of identities": hashlib.sha256(ids.tobytes()).hexdigest(),
        "version of privgen": version("privgen"),
        "version of torch": torch.__version__,
        "kind of device": options.device.type,
        "kind of processor": torch.backends.cpu.get_cpu_capability(),
        "number of threads": str(torch.get_num_threads()),
        "kind of noise": options.noise().kind,
    }


class _Remembered:
    """Makes the source of the free steps' numbers, and knows it afterwards: all ranks draw the same from it."""

    def __init__(self, make: Callable[[torch.device], torch.Generator]) -> None:
        self._make = make
        self.made: torch.Generator | None = None

    def __call__(self, device: torch.device) -> torch.Generator:
        self.made = self._make(device)
        return self.made


def _told(opened: Session | Halted, free: _Remembered) -> dict[str, Any]:
    """What the others are told in words."""
    if isinstance(opened, Halted):
        return {"halted": opened.reason, "steps": opened.steps}
    assert free.made is not None  # a learner was made with it
    state = opened.state
    return {
        "folder": str(opened.folder.path),
        "plan": opened.plan.to_json(),
        "state": checkpoint_metadata(
            state.event, salt=opened.salt, method=opened.method, learner=state.learner
        ) | {"progress": dict(state.learner.progress())},
        "oldest": {part: owed.oldest for part, owed in state.owed.items() if isinstance(owed, FeedbackMemory)},
        "free": free.made.get_state().numpy().tobytes().hex(),
        "steps": opened.guard.steps,
        "held": opened.guard.held,
        "extended": opened.extended,
        "accept_loss": opened.accept_loss,
        "gathered": opened.gathered,
    }  # fmt: skip


def _tensors(session: Session) -> bytes:
    """The tensors of networks, optimisers and release, as one safetensors file."""
    snap = snapshot(session.state, {})
    return tensor_bytes({f"{kind}:{name}": t for kind in _KINDS for name, t in getattr(snap, kind).items()})


def _following(
    said: Mapping[str, Any], tensors: Mapping[str, Tensor], method: Method, data: TrainingRecords, options: Options
) -> Session:
    """The session of a rank that follows.

    Raises:
        RunError: what rank 0 opened is not of this method.
    """
    plan, about, world = Plan.from_json(said["plan"]), said["state"], options.world
    if about["method"] != method.name:
        raise RunError(f"Rank 0 opened a run of method {about['method']}, and this rank has {method.name}.")
    data.require_planned(plan)
    state, salt = _state(said, tensors, plan, method, options), bytes.fromhex(about["salt"])
    mine = world.shard(data.ids, salt=salt)
    assert mine is not None  # who follows is not alone
    absent: Any = _OfFirst()
    return Session(
        folder=RunFolder(Path(said["folder"])),
        plan=plan,
        method=method.name,
        data=data,
        state=state,
        guard=GrantedGuard(steps=said["steps"], held=said["held"]),
        ledger=absent,
        sampler=PoissonSampler(data.ids, bands=plan.bands, salt=salt, coins=options.coins, mine=mine),
        noise=options.noise(),
        salt=salt,
        room=absent,
        extended=said["extended"],
        accept_loss=said["accept_loss"],
        clock=options.clock,
        world=world,
        shard=np.flatnonzero(mine),
        gathered=said["gathered"],
    )


def _state(
    said: Mapping[str, Any], tensors: Mapping[str, Tensor], plan: Plan, method: Method, options: Options
) -> TrainState:
    """Rank 0's networks, with nothing owed by this rank: what is owed is rank 0's, and sums add up."""
    about = said["state"]
    latents = options.latents(options.device)
    settings = method.settings_from_json(about["config"])
    learner = method.rebuild(plan, about["network"], settings, latents=latents)
    latents.set_state(torch.frombuffer(bytearray.fromhex(said["free"]), dtype=torch.uint8))
    state = TrainState(learner=learner, beside=options.beside(options.device))
    kinds = {
        kind: {n.removeprefix(f"{kind}:"): t for n, t in tensors.items() if n.startswith(f"{kind}:")} for kind in _KINDS
    }
    snap = Snapshot(owed={}, state={"progress": about["progress"]}, **kinds)
    restore(state, snap, plan=plan, event=None, clean=False)
    if about["event"] is not None:
        begin_segment(state, plan, event_from_json(about["event"]))
        for part, owed in state.owed.items():
            if isinstance(owed, FeedbackMemory):
                owed.turn_to(said["oldest"][part])
    return state


class _OfFirst:
    """What rank 0 alone has: the ledger, and the room on disk."""

    def __getattr__(self, name: str) -> NoReturn:
        raise RunError(f"Rank 0 alone has the ledger and the folder of a run; {name} was asked of another rank.")
