"""Begin a run or go on with one: everything that is checked before a step may happen.

A run begins in this order: folder, plan and step-0 checkpoint, then the genesis entry. Until that entry is
on disk nothing was spent and a failure leaves nothing behind. A resume reads and checks everything first,
appends its own entry, and only then hands out a `Session`.

Clean or crash (DESIGN 3.1, Resuming): a resume is clean only if the checkpoint is the ledger's head. Then
the owed error and the place in the cycle come back. Otherwise what was owed is dropped and a new segment
starts. Noise and Poisson coins are fresh either way: no state of theirs exists in a checkpoint.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from accountant.audit.checks import CANARIES
from accountant.errors import BudgetExhausted, LedgerError
from accountant.events import Event, event_from_json, event_to_json
from accountant.files import write_durably
from accountant.ledger.account import Account
from accountant.ledger.chain import Head, Ledger
from accountant.ledger.entry import parse_entries
from accountant.ledger.extension import blocks_beside
from accountant.ledger.guard import BudgetGuard, genesis_budget
from accountant.ledger.outside_head import OutsideHeads, forget
from accountant.ledger.register import SpendRegister
from accountant.ledger.replay import CheckpointRecord, LedgerState, replay
from accountant.ledger.signing import LedgerSigner, load_signer
from accountant.ledger.writers import PRIVGEN_TRAINING
from accountant.plans.plan import Plan
from privgen.config import TrainConfig
from privgen.data import DataSet
from privgen.data.planned import private_notes, require_planned_data
from privgen.errors import CheckpointError, RunError
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.mechanism.sampling import PoissonSampler
from privgen.mechanism.system_generator import system_generator
from privgen.methods.gan.networks import NetworkConfig
from privgen.training.canaries import Canaries, draw_canaries
from privgen.training.canary_scores import CanaryScorer, watch_of
from privgen.training.checkpoint import (
    Snapshot,
    checkpoint_name,
    drop_old_checkpoints,
    free_name,
    kept_checkpoints,
    read_checkpoint,
    released_digest,
    write_checkpoint,
)
from privgen.training.disk_room import DiskRoom, room_for
from privgen.training.run_folder import RunFolder, discard
from privgen.training.spent_records import enter
from privgen.training.state import TrainState, new_state, restore, snapshot

SAMPLING = "Poisson, 64-bit cryptographic coins"
_INSECURE = "insecure-fixed-seed"
FLOORED_GAUSSIAN = "floored-gaussian"
# Of the charged steps, so much must be in the weights of a run that is released unasked.
LEAST_HELD = 0.8
_MOST_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How to run; none of it is privacy-relevant but `noise`, which the ledger states.

    Args:
        device: torch device. noise: makes the source of noise.
        coins: source of Poisson coins, or None for the operating system's; others are insecure.
        beside: makes the source of the numbers beside records; any but the default is insecure.
        latents: makes the source of the free steps' latent vectors for the device.
        signing_key: an Ed25519 key file, or None.
        extend: go on past the plan's last step with what remains of the budget beside all caps.
        account: of a budget over many runs, or None.
        anchor: a file on another disk or machine that remembers the ledger's head too, or None.
        canaries: how many to plant into a new run, for a one-run audit; 0 for none.
        accept_loss: release weights that hold less than `LEAST_HELD` of the charged steps.
        clock: seconds, from any beginning.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    noise: Callable[[], ExactGaussian] = ExactGaussian
    coins: Callable[[int], Any] | None = None
    beside: Callable[[torch.device], RecordNumbers] = lambda device: RecordNumbers(device=device)
    latents: Callable[[torch.device], torch.Generator] = system_generator
    signing_key: Path | None = None
    extend: bool = False
    account: Account | None = None
    anchor: Path | None = None
    canaries: int = 0
    accept_loss: bool = False
    clock: Callable[[], float] = time.monotonic


@dataclass(kw_only=True)
class Session:
    """A run that may take steps: it holds the ledger's lock until `close`.

    Args:
        folder: the run's. plan, config: what it runs with. data: what it trains on.
        state: networks, optimisers, owed error. guard: the only way to a receipt.
        sampler, noise: fresh in every session.
        salt: of the group assignment; persists over resumes.
        room: on disk, held for the next checkpoint.
        doubt: why a resume is none after a clean stop, though the checkpoint is the newest; or None. Private.
        extended: whether it goes on past the plan's end.
        accept_loss: release whatever there is. clock: seconds.
        released: whether the run has ended with a release.
        planted: canaries, or None. watch: how they are felt.
        rows_checked_at: the reservation at which rows were last looked at, or None.
        outcome: why `loop.run` ended: None while it runs.

    A turn (a step, a checkpoint, the end) that did not come to its own end leaves the session dead: what is owed, the
    networks and the ledger may stand at different places, and only a resume, which counts as a crash, sets them right.
    """

    folder: RunFolder
    plan: Plan
    config: TrainConfig
    network: NetworkConfig
    data: DataSet
    state: TrainState
    guard: BudgetGuard
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
    planted: Canaries | None = None
    watch: CanaryScorer | None = None
    rows_checked_at: int | None = None
    outcome: str | None = None
    _inside: bool = field(default=False, init=False)
    _saved_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._saved_at = self.clock()

    @property
    def checkpoint_due(self) -> bool:
        """At a reservation's end, so that a crash never costs more than a block; after so many steps, or minutes."""
        return (
            self.guard.reserved_ahead == 0
            or self.guard.steps % self.config.checkpoint_every == 0
            or self.clock() - self._saved_at >= _MOST_SECONDS
        )

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
                "going on with it could pay the same residual twice. Close it, then resume the run: privgen train "
                f"--resume --out {self.folder.path}"
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
        self._saved_at = self.clock()
        newest = self.ledger.entries[-1]
        if newest.kind == "checkpoint":
            # A step would have reserved: nothing has happened since.
            return str(newest.body["name"])
        self.guard.commit()
        name = free_name(self.folder.private, self.guard.steps)
        self.room.let_go()
        digest = write_checkpoint(self.folder.private, name, snapshot(self.state, self._facts()))
        if self.watch is not None:
            self.watch.save(self.folder.private)
        self.ledger.append("checkpoint", {"name": name, "step": self.guard.steps, "weights_digest": digest})
        recorded = [str(entry.body["name"]) for entry in self.ledger.entries if entry.kind == "checkpoint"]
        drop_old_checkpoints(self.folder.private, recorded=recorded, keep=self.config.keep_checkpoints)
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
        return checkpoint_metadata(self.state.event, salt=self.salt, config=self.config, network=self.network)

    def close(self) -> None:
        """Let go of the ledger, and of the room on disk."""
        self.room.let_go()
        self.ledger.close()

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


def checkpoint_metadata(
    event: Event | None, *, salt: bytes, config: TrainConfig, network: NetworkConfig
) -> dict[str, Any]:
    """What a checkpoint's state.json says beside the tensors."""
    return {
        "event": None if event is None else event_to_json(event),
        "salt": salt.hex(),
        "config": config.to_json(),
        "network": network.to_json(),
    }


def begin(
    out: Path | str,
    *,
    plan: Plan,
    data: DataSet,
    config: TrainConfig,
    network: NetworkConfig,
    options: Options,
) -> Session:
    """A new run.

    Raises:
        RunError: the folder exists or cannot be written. DataError: the data are not the planned ones.
        OSError, LedgerError: no room. In every case nothing was spent and nothing is left behind.
    """
    require_planned_data(plan, data)
    if plan.warm_start is not None and not network.mixture_clusters:
        raise RunError("The plan has a warm start and the generator no mixture for it; set mixture_clusters >= 1.")
    _require_room(plan, options.account)
    signer = load_signer(options.signing_key) if options.signing_key else None
    folder = RunFolder.create(out)
    try:
        folder.write_beginning({"config": config.to_json(), "network": network.to_json(), "canaries": options.canaries})
        plan.save(folder.plan)
        folder.write_fingerprint(data.fingerprint())
        folder.write_source(data.source, private_notes(data, stated_size=plan.dataset_size))
        planted = _plant(folder, data, options.canaries)
        state = new_state(plan, network, config, options.latents(options.device), options.beside(options.device))
        salt = os.urandom(16)
        facts = checkpoint_metadata(None, salt=salt, config=config, network=network)
        digest = write_checkpoint(folder.private, checkpoint_name(0), snapshot(state, facts))
        room = DiskRoom(folder.private, room_for(state, plan))
        room.hold()
        noise = options.noise()
        ledger = Ledger.create(folder.ledger, head_path=folder.head, signer=signer.sign if signer else None)
    except BaseException:
        discard(folder)
        raise
    try:
        genesis = ledger.append("genesis", _genesis(plan, noise, options, signer, planted))
        ledger.remember_outside(OutsideHeads.of(folder.ledger, genesis.digest, anchor=options.anchor))
        ledger.append("checkpoint", {"name": checkpoint_name(0), "step": 0, "weights_digest": digest})
        _enter_into_register(ledger, folder, plan, data)
        return _session(folder, plan, config, network, data, state, ledger, salt, noise, options, planted, room)
    except BaseException:
        ledger.close()
        if ledger.entries:
            forget(ledger.entries[0].digest)
        discard(folder)
        raise


def _enter_into_register(ledger: Ledger, folder: RunFolder, plan: Plan, data: DataSet) -> None:
    """Have this machine know which records the run may spend on; where it cannot, the run goes on all the same."""
    known = replay(ledger.entries)
    with contextlib.suppress(OSError, LedgerError):
        enter(
            plan, data, register=SpendRegister(), run=ledger.entries[0].digest, name=folder.path.name,
            date=str(known.genesis.get("date")), extra_blocks=known.extra_blocks,
        )  # fmt: skip


def _begin_again(folder: RunFolder, plan: Plan | None, data: DataSet, options: Options) -> Session:
    """Begin a run that was killed before it began, as it was to be begun."""
    facts = folder.read_beginning()
    own = Plan.load(folder.plan) if folder.plan.exists() else plan
    if own is None:
        raise RunError(f"{folder.path} was interrupted before it began and spent nothing; give its --plan.")
    if plan is not None and plan.digest != own.digest:
        raise RunError(f"The plan is not the one that {folder.path} was to be begun with; omit --plan to use that.")
    require_planned_data(own, data)
    try:
        config, network = TrainConfig.from_json(facts["config"]), NetworkConfig.from_json(facts["network"])
        options = replace(options, canaries=int(facts["canaries"]))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder.path} does not say how it was to be begun ({error}); begin another run.") from error
    discard(folder)
    return begin(folder.path, plan=own, data=data, config=config, network=network, options=options)


def _require_room(plan: Plan, account: Account | None) -> None:
    """Raise BudgetExhausted unless the account has room for a first step."""
    if account is not None and not account.affordable(plan.event_of(plan.phase_at(0)), 1):
        raise BudgetExhausted(
            f"The account {account.path} has no room for one step of this plan; see privgen account show. "
            "Nothing was begun."
        )


def _plant(folder: RunFolder, data: DataSet, count: int) -> Canaries | None:
    """Draw canaries and write them to the private folder, before the genesis names their digest."""
    if not count:
        return None
    height, width, channels = data.train.images.shape[1:]
    planted = draw_canaries(count, image_shape=(height, width, channels), classes=len(data.train.class_names))
    write_durably(folder.private / CANARIES, planted.to_bytes())
    return planted


def _planted(folder: RunFolder, known: LedgerState) -> Canaries | None:
    """The canaries that a run was begun with."""
    named = known.canaries
    if named is None:
        return None
    try:
        planted = Canaries.read((folder.private / CANARIES).read_bytes())
    except OSError as error:
        raise CheckpointError(f"Cannot read {folder.private / CANARIES} ({error}); restore it.") from error
    if planted.digest != named.digest:
        raise CheckpointError(f"{folder.private / CANARIES} is not the file that the ledger names; restore it.")
    return planted


def _genesis(
    plan: Plan, noise: ExactGaussian, options: Options, signer: LedgerSigner | None, planted: Canaries | None
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "writer": PRIVGEN_TRAINING,
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
    if options.extend:
        body["extra_blocks"] = blocks_beside(plan)
    if options.anchor is not None:
        body["anchor"] = True
    if planted is not None:
        body["canaries"] = {"count": len(planted), "digest": planted.digest}
    if signer is not None:
        body["public_key"] = signer.public_key
    if options.account is not None:
        body["account"] = {"name": options.account.path.stem, "identity": options.account.identity}
    return body


def _session(
    folder: RunFolder,
    plan: Plan,
    config: TrainConfig,
    network: NetworkConfig,
    data: DataSet,
    state: TrainState,
    ledger: Ledger,
    salt: bytes,
    noise: ExactGaussian,
    options: Options,
    planted: Canaries | None,
    room: DiskRoom,
    doubt: str | None = None,
) -> Session:
    extended = replay(ledger.entries).extended
    guard = BudgetGuard(
        plan.budget,
        ledger=ledger,
        accountant="prv" if extended else plan.accountant,
        account=options.account,
        run=f"{folder.path.name} {ledger.entries[0].body.get('run', 'unnamed')}",
    )
    drawable = data.train.ids
    if planted is not None:
        drawable = np.concatenate([drawable, planted.ids[planted.included]])
    sampler = PoissonSampler(drawable, bands=plan.bands, salt=salt, coins=options.coins)
    return Session(
        folder=folder,
        plan=plan,
        config=config,
        network=network,
        data=data,
        state=state,
        guard=guard,
        ledger=ledger,
        sampler=sampler,
        noise=noise,
        salt=salt,
        room=room,
        doubt=doubt,
        extended=extended,
        accept_loss=options.accept_loss,
        clock=options.clock,
        planted=planted,
        watch=None if planted is None else watch_of(planted, plan, salt, folder.private, state.latents.device),
    )


def resume(
    out: Path | str,
    *,
    data: DataSet,
    options: Options,
    plan: Plan | None = None,
    checkpoint: str | None = None,
) -> Session | Halted:
    """Go on with a run.

    Args:
        plan: if given, must be the run's own. checkpoint: its name, or None for the newest.

    Returns:
        A session, or what the ledger says of a run that has halted: then nothing was changed.

    Raises:
        RunError, DataError, CheckpointError, LedgerError: each with its own message; nothing was changed
            but that an unterminated last line was repaired.
    """
    folder = RunFolder.existing(out)
    signer = load_signer(options.signing_key) if options.signing_key else None
    if not folder.begun:
        return _begin_again(folder, plan, data, options)
    _write_first_head(folder)
    ledger = Ledger.open(folder.ledger, head_path=folder.head, signer=signer.sign if signer else None)
    try:
        known = replay(ledger.entries)
        if known.halted is not None and not options.extend:
            ledger.close()
            return Halted(reason=known.halted, steps=known.steps_charged)
        own = _own_plan(known, plan, folder)
        _require_signer(known, signer)
        _require_account(known, options.account)
        require_planned_data(own, data)
        folder.require_fingerprint(data.fingerprint())
        record = _record(known, checkpoint)
        doubt = _doubt(ledger, folder, options)
        snap = _read_recorded(folder, record, [one.name for one in known.checkpoints])
        clean = known.clean_head and record.seq == known.entries - 1 and doubt is None
        session_parts = _restored(own, snap, options, clean=clean)
        planted = _planted(folder, known)
        noise = options.noise()
        _require_no_less_secrecy(known, noise, options)
        body: dict[str, Any] = {
            "checkpoint_seq": record.seq,
            "clean": clean,
            "extend": options.extend,
            "noise": noise.kind,
        }
        if options.extend:
            body["extra_blocks"] = _extra_blocks(own, known)
        if ledger.repaired is not None:
            body["repaired"] = ledger.repaired
        folder.sweep()
        config, network, state, salt = session_parts
        room = DiskRoom(folder.private, room_for(state, own))
        room.hold()
        ledger.append("resume", body)
        _enter_into_register(ledger, folder, own, data)
        names = [one.name for one in known.checkpoints] or [record.name]
        drop_old_checkpoints(folder.private, recorded=names, keep=len(names))
        return _session(folder, own, config, network, data, state, ledger, salt, noise, options, planted, room, doubt)
    except BaseException:
        ledger.close()
        raise


def _write_first_head(folder: RunFolder) -> None:
    """Write the head that a crash right after the first entry left unwritten."""
    data = folder.ledger.read_bytes()
    if data.count(b"\n") == 1 and not folder.head.exists() and kept_checkpoints(folder.private) == [checkpoint_name(0)]:
        (genesis,), _ = parse_entries(data)
        Head(seq=0, digest=genesis.digest).save(folder.head)


def _doubt(ledger: Ledger, folder: RunFolder, options: Options) -> str | None:
    """Have heads outside the folder kept from here on; says why none of them knows this very end, or None.

    Raises:
        LedgerBroken: one knows of an entry that this ledger lacks: it is a copy or a backup of a run that went on.
        RunError: the run was begun with an anchor, and none is given.
    """
    entries = ledger.entries
    if entries[0].body.get("anchor") and options.anchor is None:
        raise RunError("The run was begun with an anchor file, which knows where it stands; give its --anchor.")
    ledger.remember_outside(OutsideHeads.of(folder.ledger, entries[0].digest, anchor=options.anchor))
    if options.account is not None:
        options.account.require_newest(entries, path=folder.ledger)
    if Head.load(folder.head).behind(entries):
        return "the private folder does not know the ledger's last entry"
    return ledger.outside.doubts(entries) if ledger.outside is not None else None


def _extra_blocks(plan: Plan, known: LedgerState) -> int:
    """What an extension adds: as it was fixed, or as it is fixed now.

    Raises:
        BudgetExhausted: nothing.
    """
    extra = known.extra_blocks or blocks_beside(plan)
    if not extra:
        raise BudgetExhausted(
            f"Nothing remains of ε = {plan.epsilon:g} beside what the plan's phases may charge; the run has ended."
        )
    return extra


def _require_no_less_secrecy(known: LedgerState, noise: ExactGaussian, options: Options) -> None:
    """Raise RunError if noise or coins would be weaker than what the genesis says of the whole run."""
    own = known.genesis.get("noise")
    if own not in (FLOORED_GAUSSIAN, _INSECURE):
        raise RunError(
            f"The run was begun with {own!r} noise, which is not exact in floating point: what it releases costs more "
            f"than it says. It cannot go on; begin another run."
        )
    if noise.kind == _INSECURE != own or (options.coins is not None and known.genesis.get("sampling") == SAMPLING):
        raise RunError(
            "The run was begun with noise and batches that nobody can guess; a fixed seed would void what it "
            "promises: omit --insecure-fixed-seed."
        )


def _own_plan(known: LedgerState, plan: Plan | None, folder: RunFolder) -> Plan:
    if known.plan is None:
        raise RunError(f"{folder.path} was not begun by privgen train; it has no plan to go on with.")
    if plan is not None and plan.digest != known.plan.digest:
        raise RunError(
            f"The plan is not the one that {folder.path} was begun with; omit --plan to use the run's own, "
            "or begin another run with another --out."
        )
    return known.plan


def _require_signer(known: LedgerState, signer: LedgerSigner | None) -> None:
    own = known.genesis.get("public_key")
    if own != (signer.public_key if signer else None):
        remedy = "give its --signing-key" if own else "omit --signing-key"
        raise RunError(f"The run was begun {'signed' if own else 'unsigned'} by another key; {remedy}.")


def _require_account(known: LedgerState, account: Account | None) -> None:
    own = known.genesis.get("account")
    if own is None and account is None:
        return
    if own is None or account is None or own.get("identity") != account.identity:
        remedy = f"give its --account {own.get('name')}" if own else "omit --account"
        raise RunError(f"The run was begun {'under another' if own else 'without an'} account; {remedy}.")


def _record(known: LedgerState, name: str | None) -> CheckpointRecord:
    """The checkpoint to resume from, which must be in this ledger's past."""
    if not known.checkpoints:
        return CheckpointRecord(name=checkpoint_name(0), seq=0, step=0, weights_digest="", held=0)
    if name is None:
        return known.checkpoints[-1]
    for record in reversed(known.checkpoints):
        if record.name == name:
            return record
    raise CheckpointError(f"{name} is not in this ledger's past; the newest that is: {known.checkpoints[-1].name}.")


def _read_recorded(folder: RunFolder, record: CheckpointRecord, recorded: list[str]) -> Snapshot:
    snap = read_checkpoint(folder.private, record.name, recorded=recorded)
    if record.weights_digest and released_digest(folder.private, record.name) != record.weights_digest:
        raise CheckpointError(
            f"{folder.private / record.name} is not the checkpoint that the ledger names: its weights differ."
        )
    return snap


def _restored(
    plan: Plan, snap: Snapshot, options: Options, *, clean: bool
) -> tuple[TrainConfig, NetworkConfig, TrainState, bytes]:
    facts: Mapping[str, Any] = snap.state
    try:
        config = TrainConfig.from_json(facts["config"])
        network = NetworkConfig.from_json(facts["network"])
        salt = bytes.fromhex(facts["salt"])
        event = None if facts["event"] is None else event_from_json(facts["event"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"The checkpoint's state.json is inconsistent: {error}") from error
    state = new_state(plan, network, config, options.latents(options.device), options.beside(options.device))
    restore(state, snap, plan=plan, event=event, clean=clean)
    return config, network, state, salt
