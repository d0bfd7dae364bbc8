"""What an audit looks at, one function a check: each says "passed", "failed" or "not-checked", and what it saw.

    >>> Check(name="signature", status=NOT_CHECKED, detail="the ledger is not signed").status
    'not-checked'

Names of files come from the ledger: only a plain file of the release folder, or of a checkpoint's folder, is
ever opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accountant.bound_text import exact_text, upper_text
from accountant.errors import AccountantError, LedgerError
from accountant.ledger.chain import Head
from accountant.ledger.outside_head import Chained, OutsideHead, require_in
from accountant.ledger.replay import verify_ledger
from accountant.ledger.state import CheckpointRecord, LedgerState
from accountant.plans.plan import Plan

PASSED, FAILED, NOT_CHECKED = "passed", "failed", "not-checked"
# The weights that a run may release, as they are called in a checkpoint.
WEIGHTS = "generator.safetensors"
# As they are called where they are released: a generator's, or those of a model of somebody's own.
RELEASED_WEIGHTS = (WEIGHTS, "model.safetensors")
CANARIES = "canaries.safetensors"
# Above it a promise says nothing of anything: e^ε is more than every odds that anybody could state.
LARGEST_PROMISE = 1e6
_NOISE_KINDS = ("floored-gaussian",)
_FLOATING = ("fast", "secure")


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was looked at: its name, "passed", "failed" or "not-checked", and what was seen."""

    name: str
    status: str
    detail: str


def chain_check(state: LedgerState) -> Check:
    """The ledger was read, so its chain holds; says how long it is."""
    detail = f"{state.entries} entries, each chained to the one before; head {state.head[:16]}"
    return Check(name="ledger chain", status=PASSED, detail=detail)


def head_check(path: Path, private: Path, entries: int) -> Check:
    """The end of the ledger at `path`, of so many entries, against the digest that the private folder remembers."""
    name, head_path = "nothing dropped from the end", private / "head.json"
    if not head_path.exists():
        # A crash right after the first entry leaves it unwritten; nothing else does.
        if private.is_dir() and entries > 1:
            return Check(name=name, status=FAILED, detail="head.json is missing from the run's private folder")
        return Check(name=name, status=NOT_CHECKED, detail="needs the run's private folder, which is not at hand here")
    try:
        verify_ledger(path, head_path=head_path)
        behind = entries - 1 - Head.load(head_path).seq
    except LedgerError as error:
        return Check(name=name, status=FAILED, detail=str(error))
    if behind > 0:
        detail = "the last entry is not the one that the private folder remembers: a crash leaves it so, or a forger"
        return Check(name=name, status=NOT_CHECKED, detail=detail)
    return Check(name=name, status=PASSED, detail="the last entry is the one that the private folder remembers")


def remembered_check(
    path: Path, entries: Sequence[Chained], heads: tuple[tuple[Path, OutsideHead], ...] | None
) -> Check:
    """The ledger against what is remembered outside its folder: a copy or a backup of one that went on lacks that.

    Args:
        path: the ledger's. entries: its own. heads: that are remembered of it, and in which files, read before the
            ledger was (`accountant.ledger.outside_head`); None where they cannot be read.
    """
    name = "not put back to an older state"
    if heads is None:
        detail = "what is remembered of it outside its folder cannot be read; restore it"
        return Check(name=name, status=FAILED, detail=detail)
    if not heads:
        detail = "nothing outside the folder remembers this ledger's end here: another machine may know more of it"
        return Check(name=name, status=NOT_CHECKED, detail=detail)
    try:
        require_in(heads, entries, path=path)
    except LedgerError:
        # The paths in the error are private, and a report may be published.
        detail = "it lacks an entry that is remembered outside its folder: it is a copy or a backup of one that went on"
        return Check(name=name, status=FAILED, detail=detail)
    detail = f"what is remembered in {len(heads)} place{'s' if len(heads) > 1 else ''} outside its folder is in it"
    return Check(name=name, status=PASSED, detail=detail)


def signature_check(state: LedgerState, public_key: str | None) -> Check:
    """Who signed; the signatures themselves were verified when the ledger was read."""
    own = state.public_key
    if own is None:
        return Check(name="signature", status=NOT_CHECKED, detail="the ledger is not signed (train with --signing-key)")
    if public_key is None:
        detail = f"every entry is signed by {own[:16]}…; compare that key with the signer's (--public-key)"
        return Check(name="signature", status=NOT_CHECKED, detail=detail)
    return Check(name="signature", status=PASSED, detail=f"every entry is signed by {own[:16]}…")


def plan_check(state: LedgerState, path: Path | None) -> Check:
    """The plan file at `path` against the plan that the ledger was begun with; None where the ledger came alone."""
    name = "plan against what ran"
    if state.plan is None:
        return Check(name=name, status=NOT_CHECKED, detail="the run had no plan, only a budget")
    if path is None:
        detail = f"the ledger came alone; every reserved step is the event of the plan in it, {state.plan.digest[:16]}"
        return Check(name=name, status=PASSED, detail=detail)
    try:
        plan = Plan.load(path)
    except AccountantError as error:
        return Check(name=name, status=FAILED, detail=str(error))
    if plan.digest != state.plan.digest:
        return Check(name=name, status=FAILED, detail="plan.json is not the plan that the ledger was begun with")
    detail = f"every reserved step is the plan's event at its place; plan {plan.digest[:16]}"
    return Check(name=name, status=PASSED, detail=detail)


def sampling_check(state: LedgerState) -> Check:
    """What the run says of its coins and its noise: a seed that somebody knows protects nobody."""
    name = "sampling and noise"
    sampling, noise = state.genesis.get("sampling"), state.genesis.get("noise")
    resumed = [kind for kind in dict.fromkeys(state.resumed_with) if kind != noise]
    also = f", after a resume {', '.join(resumed)}" if resumed else ""
    detail = f"sampling {sampling or 'not stated'}, noise {noise or 'not stated'}{also}"
    if "insecure" in detail:
        detail = f"{detail}: who knows the seed can subtract the noise; this run protects nobody"
        return Check(name=name, status=FAILED, detail=detail)
    if any(kind in _FLOATING for kind in (noise, *resumed)):
        detail = f"{detail}: noise in floating point has holes and no tail, so that its ε did not hold; train again"
        return Check(name=name, status=FAILED, detail=detail)
    if sampling is not None and not str(sampling).startswith("Poisson"):
        return Check(name=name, status=FAILED, detail=f"{detail}: the charge is for Poisson sampling and for no other")
    known = sampling is not None and all(kind in _NOISE_KINDS for kind in (noise, *resumed))
    return Check(name=name, status=PASSED if known else NOT_CHECKED, detail=detail)


def canary_checks(state: LedgerState, private: Path) -> list[Check]:
    """The planted canaries and their coins, against the digest that was in the ledger before the first step."""
    named = state.canaries
    if named is None:
        return []
    name, path = "canaries", private / CANARIES
    if not is_file(path):
        detail = f"{named.count} were planted; needs the run's private folder, which is not at hand here"
        return [Check(name=name, status=NOT_CHECKED, detail=detail)]
    if digest_of(path) != named.digest:
        return [Check(name=name, status=FAILED, detail=f"{CANARIES} is not the file that the run was begun with")]
    return [Check(name=name, status=PASSED, detail=f"{named.count} were planted, as the ledger has named them")]


def steps_check(state: LedgerState) -> Check:
    """That something was spent, and how much of it is in the weights that were released."""
    name, charged = "steps in the released weights", state.steps_charged
    if not charged:
        if state.releases:
            detail = "files were released and no step is in the ledger: nothing is known of what they cost"
            return Check(name=name, status=FAILED, detail=detail)
        return Check(name=name, status=NOT_CHECKED, detail="nothing was spent, nothing was released")
    if not _weights_in(state):
        return Check(name=name, status=NOT_CHECKED, detail=f"no weights are released; {charged} steps are charged")
    held = released_from(state).held
    lost = "" if held == charged else "; the others stood reserved when the run was interrupted, and are spent"
    return Check(name=name, status=PASSED, detail=f"{held} of {charged} charged steps{lost}")


def budget_check(state: LedgerState, epsilon: float, *, by: str = "what was charged") -> Check:
    """What is guaranteed, recomputed, against the promise.

    Args:
        epsilon: the guarantee. by: what it is of, in a clause.
    """
    budget = state.budget
    ok = epsilon <= budget.epsilon
    relation = "at most" if ok else "MORE THAN"
    detail = (
        f"ε = {upper_text(epsilon)} spent, by {by}: {relation} the promised {exact_text(budget.epsilon)} "
        f"at δ = {exact_text(budget.delta)}"
    )
    return Check(name="spend within the budget", status=PASSED if ok else FAILED, detail=detail)


def promise_check(state: LedgerState) -> list[Check]:
    """A promise so large that it is none: a run without privacy, as a ceiling to compare others with."""
    epsilon = state.budget.epsilon
    if epsilon <= LARGEST_PROMISE:
        return []
    detail = f"TRAINED WITHOUT PRIVACY: ε = {exact_text(epsilon)} promises nobody anything; release nothing of it"
    return [Check(name="a promise at all", status=FAILED, detail=detail)]


def checkpoint_checks(state: LedgerState, private: Path) -> list[Check]:
    """Checkpoints: the released weights are the last one's, and what the private folder still holds is unchanged."""
    name, last = "checkpoint digests", state.last_checkpoint
    if last is None:
        return [Check(name=name, status=NOT_CHECKED, detail="the ledger names no checkpoint yet")]
    # A run that was extended past its halt and goes on has released an earlier checkpoint's.
    released_then = {record.weights_digest for record in state.checkpoints} if state.halted is None else set()
    wrong = [n for n in _weights_in(state) if state.releases[n] not in {last.weights_digest} | released_then]
    if wrong:
        detail = f"the released {wrong[0]} is not that of the last checkpoint, {last.name}"
        return [Check(name=name, status=FAILED, detail=detail)]
    # A step may be checkpointed again after a resume: the newest record of a name is the one that counts.
    records = {record.name: record for record in state.checkpoints}.values()
    kept = [record for record in records if is_file(plain_in(private, record.name) / WEIGHTS)]
    changed = [record.name for record in kept if digest_of(private / record.name / WEIGHTS) != record.weights_digest]
    if changed:
        detail = f"{', '.join(changed)}: the weights are not those that the ledger names"
        return [Check(name=name, status=FAILED, detail=detail)]
    return [_checkpoints_found(name, state, last, kept)]


def _checkpoints_found(name: str, state: LedgerState, last: CheckpointRecord, kept: list[CheckpointRecord]) -> Check:
    seen = []
    if _weights_in(state):
        source = released_from(state)
        seen.append(f"the released weights are those of {source.name}")
    if kept:
        seen.append(f"{len(kept)} of {len(state.checkpoints)} are in the private folder, unchanged")
    detail = "; ".join(seen) or "needs the run's private folder, which is not at hand here"
    return Check(name=name, status=PASSED if seen else NOT_CHECKED, detail=detail)


def _weights_in(state: LedgerState) -> list[str]:
    """Names of released weights."""
    return [name for name in RELEASED_WEIGHTS if name in state.releases]


def released_from(state: LedgerState) -> CheckpointRecord:
    """The checkpoint whose weights were released; the last one where the ledger names none of them."""
    digests = {state.releases[name] for name in _weights_in(state)}
    own = (one for one in reversed(state.checkpoints) if one.weights_digest in digests)
    last = state.last_checkpoint
    nothing = CheckpointRecord(name="none", seq=0, step=0, weights_digest="", held=0)
    return next(own, nothing if last is None else last)


def plain_in(folder: Path, name: str) -> Path:
    """A file of a folder by a name that a ledger gave: never one elsewhere."""
    return folder / Path(name.replace("\0", "�")).name


def is_file(path: Path) -> bool:
    """Whether there is such a file; False for a name that none can have."""
    try:
        return path.is_file()
    except OSError:
        return False


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
