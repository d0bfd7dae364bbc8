"""Go on with a run: everything is read and checked first, then the resume's own entry is appended, then a `Session`.

Clean or crash (docs/privacy.md, theorem 3): a resume is clean only if the checkpoint is the ledger's head and something
outside the folder knows that very end at that very place. Then the owed error and the place in the cycle come back.
Otherwise what was owed is dropped and a new segment starts. Noise and Poisson coins are fresh either way: no state of
theirs exists in a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from accountant.events import event_from_json
from accountant.json_reader import JsonObject
from accountant.ledger.account import Account
from accountant.ledger.chain import Head, Ledger
from accountant.ledger.entry import parse_entries
from accountant.ledger.extension import blocks_beside
from accountant.ledger.outside_head import OutsideHeads
from accountant.ledger.replay import replay
from accountant.ledger.signing import LedgerSigner, load_signer
from accountant.ledger.state import CheckpointRecord, LedgerState
from accountant.plans.plan import Plan
from privgen.errors import CheckpointError, RunError
from privgen.generate import FIRST_METHOD
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.training.begin import SAMPLING, begin, beside, open_session
from privgen.training.checkpoint import (
    Snapshot,
    checkpoint_name,
    drop_old_checkpoints,
    kept_checkpoints,
    read_checkpoint,
    released_digest,
)
from privgen.training.disk_room import DiskRoom, room_for
from privgen.training.method import Method
from privgen.training.planting import planted_before
from privgen.training.records import TrainingRecords
from privgen.training.run_folder import RunFolder, discard
from privgen.training.session import Halted, Options, Session
from privgen.training.state import TrainState, restore

_INSECURE = "insecure-fixed-seed"
NOTHING_REMAINS = "nothing remains of its budget beside what the plan's phases may charge"
FLOORED_GAUSSIAN = "floored-gaussian"


def resume(
    out: Path | str,
    *,
    method: Method,
    data: TrainingRecords,
    options: Options,
    plan: Plan | None = None,
    checkpoint: str | None = None,
) -> Session | Halted:
    """Go on with a run.

    Args:
        method: that it was begun with. data: what it is trained on.
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
        return _begin_again(folder, plan, method, data, options, signer)
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
        _require_begun_with(folder, own, method, data)
        record = _record(known, checkpoint)
        doubt = _doubt(ledger, folder, options)
        snap = _read_recorded(folder, known, record)
        clean = known.clean_head and record.seq == known.entries - 1 and doubt is None
        state, salt = _restored(own, method, snap, options, clean=clean)
        planted = planted_before(folder, known.canaries)
        noise = _noise(known, options)
        body = {"checkpoint_seq": record.seq, "clean": clean, "noise": noise.kind} | _extension(known, own, options)
        if known.halted is not None and not body["extra_blocks"]:
            ledger.close()
            return Halted(reason=f"{known.halted}; {NOTHING_REMAINS}", steps=known.steps_charged)
        if options.world.size > 1:
            body["ranks"] = options.world.size
        if ledger.repaired is not None:
            body["repaired"] = ledger.repaired
        folder.sweep()
        room = DiskRoom(folder.private, room_for(state, own))
        room.hold()
        ledger.append("resume", body)
        _keep_recorded(folder, known, record)
        return open_session(folder, own, method, data, state, ledger, salt, noise, options, planted, room, doubt)
    except BaseException:
        ledger.close()
        raise


def _require_begun_with(folder: RunFolder, plan: Plan, method: Method, data: TrainingRecords) -> None:
    """Raise RunError or DataError unless the run was begun with this method and on these data."""
    method.require_planned(plan)
    data.require_planned(plan)
    folder.require_fingerprint(data.fingerprint())


def _keep_recorded(folder: RunFolder, known: LedgerState, record: CheckpointRecord) -> None:
    """Remove checkpoints that the ledger does not name, and what interrupted writes left behind."""
    names = [one.name for one in known.checkpoints] or [record.name]
    drop_old_checkpoints(folder.private, recorded=names, keep=len(names))


def _extension(known: LedgerState, plan: Plan, options: Options) -> dict[str, Any]:
    """What a resume's entry says of going on past the plan's end."""
    if not options.extend:
        return {"extend": False}
    return {"extend": True, "extra_blocks": known.extra_blocks or blocks_beside(plan)}


def _begin_again(
    folder: RunFolder,
    plan: Plan | None,
    method: Method,
    data: TrainingRecords,
    options: Options,
    signer: LedgerSigner | None,
) -> Session:
    """Begin a run that was killed before it began, as it was to be begun."""
    facts = folder.read_beginning()
    own = folder.known_plan() or plan
    if own is None:
        raise RunError(f"{folder.path} was interrupted before it began and spent nothing; give its --plan.")
    if any(facts.get(name, now) != now for name, now in beside(options, signer).items()):
        raise RunError(
            f"{folder.path} was to be begun with another --account, --signing-key or --anchor, or without; give the "
            "same."
        )
    if plan is not None and plan.digest != own.digest:
        raise RunError(f"The plan is not the one that {folder.path} was to be begun with; omit --plan to use that.")
    method.require_planned(own)
    data.require_planned(own)
    try:
        settings = method.settings_from_json(facts["config"])
        kind = str(facts.get("canary_kind", options.canary_kind))
        options = replace(options, canaries=int(facts["canaries"]), canary_kind=kind)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder.path} does not say how it was to be begun ({error}); begin another run.") from error
    discard(folder)
    return begin(folder.path, plan=own, method=method, settings=settings, data=data, options=options)


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


def _noise(known: LedgerState, options: Options) -> ExactGaussian:
    """A fresh source; raises RunError if noise or coins would be weaker than what the genesis says of the whole run."""
    noise, own = options.noise(), known.genesis.get("noise")
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
    return noise


def _own_plan(known: LedgerState, plan: Plan | None, folder: RunFolder) -> Plan:
    if known.plan is None:
        raise RunError(f"{folder.path} was not begun by privgen train; it has no plan to go on with.")
    if plan is not None and plan.method != known.plan.method:
        raise RunError(
            f"The plan is for method {plan.method}, and {folder.path} was begun with {known.plan.method}; omit --plan "
            "to use the run's own, or begin another run with another --out."
        )
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
    own = JsonObject(known.genesis, "the genesis").optional_child("account")
    if own is None and account is None:
        return
    if own is None or account is None or own.optional_text("identity") != account.identity:
        remedy = f"give its --account {own.optional_text('name')}" if own else "omit --account"
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


def _read_recorded(folder: RunFolder, known: LedgerState, record: CheckpointRecord) -> Snapshot:
    snap = read_checkpoint(folder.private, record.name, recorded=[one.name for one in known.checkpoints])
    if record.weights_digest and released_digest(folder.private, record.name) != record.weights_digest:
        raise CheckpointError(
            f"{folder.private / record.name} is not the checkpoint that the ledger names: its weights differ."
        )
    return snap


def _restored(plan: Plan, method: Method, snap: Snapshot, options: Options, *, clean: bool) -> tuple[TrainState, bytes]:
    facts: Mapping[str, Any] = snap.state
    made = facts.get("method", FIRST_METHOD)
    if made != method.name:
        raise CheckpointError(f"The checkpoint is of method {made}, not of {method.name}; resume with its own.")
    try:
        settings = method.settings_from_json(facts["config"])
        learner = method.rebuild(plan, facts["network"], settings, latents=options.latents(options.device))
        salt = bytes.fromhex(facts["salt"])
        event = None if facts["event"] is None else event_from_json(facts["event"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"The checkpoint's state.json is inconsistent: {error}") from error
    state = TrainState(learner=learner, beside=options.beside(options.device))
    restore(state, snap, plan=plan, event=event, clean=clean)
    return state, salt
