"""Begin a run: everything that is checked, written and reserved before the first step may happen.

In this order: how it is begun, plan and step-0 checkpoint, room on disk for the next one, then the genesis entry.
Until that entry is on disk nothing was spent and a failure leaves nothing behind; what was killed before is begun by a
resume.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from accountant.errors import BudgetExhausted, LedgerError
from accountant.ledger.account import Account
from accountant.ledger.chain import Ledger
from accountant.ledger.extension import blocks_beside
from accountant.ledger.genesis import genesis_budget
from accountant.ledger.guard import BudgetGuard
from accountant.ledger.outside_head import OutsideHeads, forget
from accountant.ledger.register import SpendRegister
from accountant.ledger.replay import replay
from accountant.ledger.signing import LedgerSigner, load_signer
from accountant.ledger.state import LedgerState
from accountant.plans.plan import Plan
from privgen.config import RunSettings
from privgen.errors import RunError
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.sampling import PoissonSampler
from privgen.training.checkpoint import (
    checkpoint_name,
    write_checkpoint,
)
from privgen.training.disk_room import DiskRoom, room_for
from privgen.training.gradient_canaries import Planted
from privgen.training.method import Learner, Method
from privgen.training.planting import in_genesis, plant, require_watchable, watch_for
from privgen.training.records import TrainingRecords
from privgen.training.run_folder import RunFolder, discard
from privgen.training.session import Options, Session, checkpoint_metadata, how_to_rebuild
from privgen.training.spent_records import enter
from privgen.training.state import TrainState, snapshot

SAMPLING = "Poisson, 64-bit cryptographic coins"


def begin(
    out: Path | str,
    *,
    plan: Plan,
    method: Method,
    settings: RunSettings,
    data: TrainingRecords,
    options: Options,
) -> Session:
    """A new run.

    Args:
        method, settings: what is trained, and with what. data: what it is trained on.

    Raises:
        RunError: the folder exists or cannot be written, or the plan is another method's.
        DataError: the data are not the planned ones. ConfigError: no network of these settings fits them.
        OSError, LedgerError: no room. In every case nothing was spent and nothing is left behind.
    """
    method.require_planned(plan)
    data.require_planned(plan)
    learner = method.begin(plan, data.facts, settings, latents=options.latents(options.device))
    _require_of_use(plan, method, learner, options)
    state = TrainState(learner=learner, beside=options.beside(options.device))
    _require_room(plan, options.account)
    signer = load_signer(options.signing_key) if options.signing_key else None
    folder = RunFolder.create(out)
    try:
        folder.write_beginning(
            {"plan": plan.to_json(), "dataset": data.source, **how_to_rebuild(method.name, learner),
             "canaries": options.canaries, "canary_kind": options.canary_kind, **beside(options, signer)}
        )  # fmt: skip
        plan.save(folder.plan)
        folder.write_fingerprint(data.fingerprint())
        folder.write_source(data.source, data.notes(plan))
        planted = plant(folder, data, options.canaries, options.canary_kind)
        salt = options.salt()
        facts = checkpoint_metadata(None, salt=salt, method=method.name, learner=learner)
        digest = write_checkpoint(folder.private, checkpoint_name(0), snapshot(state, facts))
        room = DiskRoom(folder.private, room_for(state, plan))
        room.hold()
        noise = options.noise()
        ledger = Ledger.create(folder.ledger, head_path=folder.head, signer=signer.sign if signer else None)
    except BaseException:
        discard(folder)
        raise
    try:
        genesis = ledger.append("genesis", _genesis(plan, method, data, noise, options, signer, planted))
        ledger.remember_outside(OutsideHeads.of(folder.ledger, genesis.digest, anchor=options.anchor))
        ledger.append("checkpoint", {"name": checkpoint_name(0), "step": 0, "weights_digest": digest})
        return open_session(folder, plan, method, data, state, ledger, salt, noise, options, planted, room)
    except BaseException:
        ledger.close()
        if ledger.entries:
            forget(ledger.entries[0].digest)
        discard(folder)
        raise


def _require_of_use(plan: Plan, method: Method, learner: Learner, options: Options) -> None:
    """Raise RunError where a warm start or canaries would be paid for, and do nothing for this method."""
    if plan.warm_start is not None and learner.statistics is None:
        raise RunError(f"The plan has a warm start, which method {method.name} takes nothing of; plan without.")
    require_watchable(plan, method, learner, canaries=options.canaries, kind=options.canary_kind)


def beside(options: Options, signer: LedgerSigner | None) -> dict[str, Any]:
    """Who signs a run, what it is charged to, and whether an anchor knows it: the same where it is begun again."""
    return {
        "public_key": None if signer is None else signer.public_key,
        "account": None if options.account is None else options.account.identity,
        "anchor": options.anchor is not None,
    }


def _require_room(plan: Plan, account: Account | None) -> None:
    """Raise BudgetExhausted unless the account has room for a first step."""
    if account is not None and not account.affordable(plan.event_of(plan.phase_at(0)), 1):
        raise BudgetExhausted(
            f"The account {account.path} has no room for one step of this plan; see privgen account show. "
            "Nothing was begun."
        )


def _genesis(
    plan: Plan,
    method: Method,
    data: TrainingRecords,
    noise: ExactGaussian,
    options: Options,
    signer: LedgerSigner | None,
    planted: Planted | None,
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "writer": method.writer,
        # No two runs begin alike, so that a ledger cannot stand for another and an account tells them apart.
        "run": os.urandom(8).hex(),
        "plan": plan.to_json(),
        "plan_digest": plan.digest,
        "budget": dict(genesis_budget(plan.budget)),
        "noise": noise.kind,
        "sampling": SAMPLING if options.coins is None else "Poisson, insecure seeded coins",
        "versions": {name: version(name) for name in ("privgen", "torch", "numpy", "scipy")}
        | {"python": platform.python_version()},
        # The day and no finer: times between entries would tell how large the batches were.
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "extend": options.extend,
    }
    if data.identified_by is not None:
        body["identities"] = data.identified_by
    if options.extend:
        body["extra_blocks"] = blocks_beside(plan)
    if options.anchor is not None:
        body["anchor"] = True
    if planted is not None:
        body["canaries"] = in_genesis(planted)
    if options.world.size > 1:
        body["ranks"] = options.world.size
    if signer is not None:
        body["public_key"] = signer.public_key
    if options.account is not None:
        body["account"] = {"name": options.account.path.stem, "identity": options.account.identity}
    return body


def _enter_into_register(
    known: LedgerState, genesis: str, folder: RunFolder, plan: Plan, data: TrainingRecords
) -> None:
    """Have this machine know which records the run may spend on; where it cannot, the run goes on all the same."""
    with contextlib.suppress(OSError, LedgerError):
        enter(
            plan, data.contents(), register=SpendRegister(), run=genesis, name=folder.path.name,
            date=str(known.genesis.get("date")), extra_blocks=known.extra_blocks,
        )  # fmt: skip


def open_session(
    folder: RunFolder,
    plan: Plan,
    method: Method,
    data: TrainingRecords,
    state: TrainState,
    ledger: Ledger,
    salt: bytes,
    noise: ExactGaussian,
    options: Options,
    planted: Planted | None,
    room: DiskRoom,
    doubt: str | None = None,
) -> Session:
    """A session on a ledger that was begun or resumed: entered into the register, with guard, sampler and data."""
    known = replay(ledger.entries)
    if options.remembered:
        _enter_into_register(known, ledger.entries[0].digest, folder, plan, data)
    guard = BudgetGuard(
        plan.budget,
        ledger=ledger,
        accountant="prv" if known.extended else plan.accountant,
        account=options.account,
        run=f"{folder.path.name} {ledger.entries[0].body.get('run', 'unnamed')}",
    )
    drawable, mine = data.ids, options.world.shard(data.ids, salt=salt)
    if planted is not None:
        # Canaries are rank 0's, where they are watched.
        drawable = np.concatenate([drawable, planted.ids[planted.included]])
        mine = None if mine is None else np.concatenate([mine, planted.included[planted.included]])
    sampler = PoissonSampler(drawable, bands=plan.bands, salt=salt, coins=options.coins, mine=mine)
    return Session(
        folder=folder,
        plan=plan,
        method=method.name,
        data=data,
        state=state,
        guard=guard,
        ledger=ledger,
        sampler=sampler,
        noise=noise,
        salt=salt,
        room=room,
        doubt=doubt,
        extended=known.extended,
        accept_loss=options.accept_loss,
        clock=options.clock,
        planted=planted,
        world=options.world,
        shard=None if mine is None else np.flatnonzero(mine[: len(data.ids)]),
        gathered=planted is not None,
        watch=None
        if planted is None
        else watch_for(planted, plan, folder, salt=salt, device=state.learner.device, watched=method.watched),
    )
