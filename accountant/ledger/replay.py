"""Read a ledger as what it says: which plan, which segments of which events, what is done, what was halted.

`verify_ledger` checks the chain and every entry's meaning and returns a `LedgerState`. The guard goes on from
that state when a run resumes, and the audit prices it; there is no second reading of a ledger.

What counts as spent (docs/privacy.md, "Spending: the guard"): within a segment the steps that a commit counted, and
every step that was reserved after it, whether it ran or not. A resume after a crash starts a new segment.

    >>> import tempfile
    >>> from accountant.ledger.chain import Ledger
    >>> path = Path(tempfile.mkdtemp()) / "ledger.jsonl"
    >>> ledger = Ledger.create(path)
    >>> _ = ledger.append("genesis", {"budget": {"epsilon": 1.0, "delta": 1e-5,
    ...                                          "neighbouring": "add-or-remove-one"}})
    >>> _ = ledger.append("reserve", {"segment": 0, "steps": 8, "event": {"kind": "subsampled-gaussian",
    ...                               "sampling_rate": 0.1, "noise_multiplier": 2.0}})
    >>> _ = ledger.append("commit", {"segment": 0, "steps": 5})
    >>> verify_ledger(path).segments
    (Segment(event=SubsampledGaussian(sampling_rate=0.1, noise_multiplier=2.0), committed=5, reserved=5),)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from accountant.budget import Budget, Neighbouring
from accountant.errors import AccountantError, InvalidValue, LedgerBroken
from accountant.events import Event, event_from_json
from accountant.json_reader import JsonObject
from accountant.ledger.chain import Head
from accountant.ledger.entry import Entry, read_entries
from accountant.ledger.signing import verify_signature
from accountant.ledger.state import REPORTS, CheckpointRecord, LedgerState, Segment, charged_blocks
from accountant.plans.plan import Plan


def verify_ledger(path: Path | str, *, head_path: Path | None = None, public_key: str | None = None) -> LedgerState:
    """Check a ledger file from first to last entry and say what it says.

    Args:
        path: ledger.jsonl, or a run's folder.
        head_path: private/head.json, where one has it: a dropped tail is seen by it.
        public_key: the signer's key as known from elsewhere, hexadecimal; every entry must be signed by it.

    Raises:
        LedgerError: the file cannot be read. LedgerIncomplete: its last line is cut short.
        LedgerBroken: an entry was changed, dropped, added, reordered, is not signed, or makes no sense where
            it stands; the message names it.
    """
    path = Path(path)
    if path.is_dir():
        path = next((p for p in (path / "release" / "ledger.jsonl", path / "ledger.jsonl") if p.exists()), path)
    # The head first: a run that goes on meanwhile may write an entry between the two.
    head = None if head_path is None else Head.load(head_path)
    entries = read_entries(path)
    if head is not None:
        head.require_in(entries)
    return replay(entries, public_key=public_key)


def replay(entries: list[Entry], *, public_key: str | None = None) -> LedgerState:
    """What a list of chained entries says; see `verify_ledger`."""
    state = _genesis(entries[0])
    own_key = state.public_key
    if public_key is not None and own_key != public_key:
        raise LedgerBroken("Entry 0 was not signed with the key that you gave: this is another signer's ledger.")
    for entry in entries:
        if own_key is not None:
            _require_signature(entry, own_key)
        if entry.seq:
            state = _apply(state, entry)
        state = replace(state, entries=entry.seq + 1, head=entry.digest, clean_head=entry.kind == "checkpoint")
    return state


def _require_signature(entry: Entry, key: str) -> None:
    try:
        signature = bytes.fromhex(entry.signature or "")
    except ValueError:
        signature = b""
    if not verify_signature(key, bytes.fromhex(entry.digest), signature):
        raise LedgerBroken(f"Entry {entry.seq} is not signed by the ledger's key: the chain was rewritten.")


def _genesis(entry: Entry) -> LedgerState:
    if entry.kind != "genesis":
        raise LedgerBroken(f"Entry 0 is a {entry.kind}, not the genesis: the ledger's beginning is missing.")
    try:
        read = entry.read.child("budget")
        budget = Budget(
            epsilon=read.number("epsilon"),
            delta=read.number("delta"),
            neighbouring=Neighbouring(read.text("neighbouring")),
        )
        planned = entry.read.optional_child("plan")
        plan = None if planned is None else Plan.from_json(planned.data)
        entry.read.optional_text("public_key")
    except (AccountantError, OverflowError, ValueError) as error:
        raise LedgerBroken(f"Entry 0 (genesis) is inconsistent: {error}") from error
    if plan is not None and (plan.digest != entry.body.get("plan_digest") or plan.budget != budget):
        raise LedgerBroken("Entry 0 (genesis) holds a plan that is not the one whose digest or budget it names.")
    _require_canaries(entry.read)
    return LedgerState(
        budget=budget,
        plan=plan,
        genesis=entry.body,
        releases={},
        extended=bool(entry.body.get("extend")),
        extra_blocks=_extra_blocks(entry, 0),
        ranks=_ranks(entry),
    )


def _ranks(entry: Entry) -> int:
    """How many processes train together from here on; one where nothing is said."""
    ranks = entry.body.get("ranks", 1)
    if type(ranks) is not int or ranks < 1:
        raise LedgerBroken(f"Entry {entry.seq} ({entry.kind}) is of ranks={ranks!r}; expected an integer >= 1.")
    return ranks


def _extra_blocks(entry: Entry, known: int) -> int:
    """Of an extension: fixed when it is first asked for."""
    if not entry.body.get("extend"):
        return known
    extra = entry.body.get("extra_blocks", known)
    if type(extra) is not int or extra < 0 or known not in (0, extra):
        raise LedgerBroken(f"Entry {entry.seq} ({entry.kind}) extends by {extra!r} blocks, where {known} were fixed.")
    return extra


def _require_canaries(read: JsonObject) -> None:
    try:
        named = read.optional_child("canaries")
        if named is not None:
            named.integer("count", least=1)
            named.text("digest")
    except InvalidValue as error:
        raise LedgerBroken(f"Entry 0 (genesis) names canaries without a count and a digest: {error}") from error


def _apply(state: LedgerState, entry: Entry) -> LedgerState:
    if state.halted is not None and not _may_follow_a_halt(entry):
        raise LedgerBroken(f"Entry {entry.seq} ({entry.kind}) stands after the halt.")
    try:
        return _HANDLERS[entry.kind](state, entry)
    except KeyError as error:
        raise LedgerBroken(f"Entry {entry.seq} ({entry.kind}) lacks the field {error}.") from error
    except (AccountantError, AttributeError, OverflowError, TypeError, ValueError) as error:
        if isinstance(error, LedgerBroken):
            raise
        raise LedgerBroken(f"Entry {entry.seq} ({entry.kind}) makes no sense: {error}") from error


def _may_follow_a_halt(entry: Entry) -> bool:
    if entry.kind == "resume":
        return entry.body.get("extend") is True
    files = entry.body.get("files")
    return entry.kind == "release" and isinstance(files, Mapping) and set(files) <= set(REPORTS)


def _count(entry: Entry, name: str, *, least: int) -> int:
    value = entry.body[name]
    if type(value) is not int or value < least:
        raise LedgerBroken(f"Entry {entry.seq} ({entry.kind}) has {name}={value!r}, expected an integer >= {least}.")
    return value


def _reserve(state: LedgerState, entry: Entry) -> LedgerState:
    event = event_from_json(entry.read.child("event").data)
    steps, number = _count(entry, "steps", least=1), _count(entry, "segment", least=0)
    phase = _require_planned(state, entry, event, steps)
    segments = list(state.segments)
    last = segments[-1] if segments else None
    same = last is not None and (not last.reserved or (last.event, last.phase) == (event, phase))
    if last is not None and same and number == len(segments) - 1:
        segments[-1] = replace(last, event=event, phase=phase, reserved=last.reserved + steps)
    elif number == len(segments):
        segments.append(Segment(event, 0, steps, phase))
    else:
        raise LedgerBroken(f"Entry {entry.seq} reserves for segment {number} of {len(segments)}.")
    if state.caps is not None and state.caps.room(phase, charged_blocks(segments, state.caps)) < 0:
        raise LedgerBroken(f"Entry {entry.seq} charges more blocks than the cap of phase {phase + 1} allows.")
    return replace(state, segments=tuple(segments), reached=state.reached + steps)


def _require_planned(state: LedgerState, entry: Entry, event: Event, steps: int) -> int:
    """The phase that a reservation is of; it must be the plan's at that place, and within the phase."""
    if state.plan is None or state.caps is None:
        return 0
    phase = state.plan.phase_number(state.reached)
    if phase == len(state.caps.phases):
        raise LedgerBroken(f"Entry {entry.seq} reserves steps past the plan's {state.plan.steps}.")
    cap = state.caps.phases[phase]
    if event != cap.event:
        raise LedgerBroken(f"Entry {entry.seq} reserves {event}, but the plan says {cap.event} there.")
    end = sum(one.steps for one in state.caps.phases[: phase + 1])
    if state.reached + steps > end and phase < len(state.plan.releases()):
        raise LedgerBroken(
            f"Entry {entry.seq} reserves {steps} steps, past the plan's step {end}, where phase {phase + 1} ends."
        )
    return phase


def _commit(state: LedgerState, entry: Entry) -> LedgerState:
    steps, number = _count(entry, "steps", least=0), _count(entry, "segment", least=0)
    if number != len(state.segments) - 1:
        raise LedgerBroken(f"Entry {entry.seq} commits segment {number}, which is not the last one.")
    last = state.segments[-1]
    if not last.committed <= steps <= last.reserved:
        raise LedgerBroken(
            f"Entry {entry.seq} commits {steps} steps, possible were {last.committed} to {last.reserved}."
        )
    held = state.held + steps - last.committed
    segments = (*state.segments[:-1], replace(last, committed=steps, reserved=steps))
    return replace(state, segments=segments, held=held, reached=held)


def _checkpoint(state: LedgerState, entry: Entry) -> LedgerState:
    step = _count(entry, "step", least=0)
    if step != state.steps_charged:
        raise LedgerBroken(f"Entry {entry.seq} is a checkpoint of step {step}, not of {state.steps_charged}.")
    if state.segments and state.segments[-1].committed != state.segments[-1].reserved:
        raise LedgerBroken(f"Entry {entry.seq} is a checkpoint with steps reserved and not committed.")
    record = CheckpointRecord(
        name=str(entry.body["name"]),
        seq=entry.seq,
        step=step,
        weights_digest=str(entry.body["weights_digest"]),
        held=state.held,
    )
    return replace(state, checkpoints=(*state.checkpoints, record))


def _resume(state: LedgerState, entry: Entry) -> LedgerState:
    """A clean resume goes on with the last segment; after a crash the next reservation opens a new one."""
    seq = _count(entry, "checkpoint_seq", least=0)
    record = next((one for one in state.checkpoints if one.seq == seq), None)
    if record is None and seq != 0:
        raise LedgerBroken(f"Entry {entry.seq} resumes from entry {seq}, which is no checkpoint.")
    clean = entry.body["clean"]
    if clean is True and not (state.clean_head and seq == entry.seq - 1):
        raise LedgerBroken(f"Entry {entry.seq} calls itself a clean resume, but the checkpoint was not the head.")
    segments = state.segments
    if clean is not True and segments and segments[-1].reserved:
        # An empty segment marks the cut: nothing that is owed crosses it, and blocks round up on both sides.
        segments = (*segments, replace(segments[-1], committed=0, reserved=0))
    held = 0 if record is None else record.held
    return replace(
        state,
        segments=segments,
        held=held,
        reached=held,
        extra_blocks=_extra_blocks(entry, state.extra_blocks),
        ranks=max(state.ranks, _ranks(entry)),
        resumes=state.resumes + 1,
        crashes=state.crashes + (clean is not True),
        extended=state.extended or entry.body.get("extend") is True,
        halted=None,
        resumed_with=(*state.resumed_with, *([str(entry.body["noise"])] if "noise" in entry.body else [])),
    )


def _halt(state: LedgerState, entry: Entry) -> LedgerState:
    steps = _count(entry, "steps", least=0)
    if steps != state.steps_charged or (state.steps_done != state.steps_charged and not state.crashes):
        raise LedgerBroken(f"Entry {entry.seq} halts at {steps} steps, but {state.steps_charged} are charged.")
    return replace(state, halted=str(entry.body["reason"]))


def _release(state: LedgerState, entry: Entry) -> LedgerState:
    return replace(state, releases={**state.releases, **entry.read.texts("files")})


def _second_genesis(state: LedgerState, entry: Entry) -> LedgerState:
    raise LedgerBroken(f"Entry {entry.seq} is a second genesis: two ledgers were joined.")


_HANDLERS = {
    "genesis": _second_genesis,
    "reserve": _reserve,
    "commit": _commit,
    "checkpoint": _checkpoint,
    "resume": _resume,
    "halt": _halt,
    "release": _release,
}
