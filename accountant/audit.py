"""`audit_run`: recompute what a run spent from its ledger, and hold it against what was promised.

It trusts the ledger's chain, the plan and the released files' digests, and echoes no stored ε: everything
that is printed is computed here. One summary object feeds every format (terminal, JSON, Markdown, HTML).

A verdict is "passed" (every check holds and the ledger ends in a halt), "incomplete" (every check holds, the
ledger does not end in a halt) or "failed".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accountant.budget import Budget, EpsilonBounds
from accountant.errors import AccountantError, LedgerError
from accountant.plan import Feedback, Plan
from accountant.prv import PrvAccountant
from accountant.rdp import RdpAccountant
from accountant.verify import LedgerState, Segment, verify_ledger

SCHEMA = "privgen.audit/1"
PASSED, FAILED, NOT_CHECKED = "passed", "failed", "not-checked"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was looked at: its name, "passed", "failed" or "not-checked", and what was seen."""

    name: str
    status: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Assumption:
    """One thing the theorem needs, and how it is held: "checked", "by-construction" or "on-trust"."""

    text: str
    held: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """What was spent, in ε at the budget's δ.

    Args:
        rdp: upper bound by Rényi composition.
        prv: bounds by numerical composition, or None where it has no sound answer; `fallback` says why.
    """

    rdp: float
    prv: EpsilonBounds | None
    fallback: str | None = None

    @property
    def epsilon(self) -> float:
        """The smaller of the two valid upper bounds: this is what is spent."""
        return self.rdp if self.prv is None else min(self.rdp, self.prv.upper)


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """What an audit found. `state` and `spent` are None where the ledger could not be read as one."""

    run: str
    state: LedgerState | None
    spent: Spent | None
    checks: tuple[Check, ...]
    assumptions: tuple[Assumption, ...]

    @property
    def verdict(self) -> str:
        """ "passed", "incomplete" or "failed"."""
        if self.state is None or any(check.status == FAILED for check in self.checks):
            return "failed"
        return "incomplete" if self.state.halted is None else "passed"

    def to_json(self) -> dict[str, Any]:
        """The audit as JSON (DESIGN section 10)."""
        state, spent = self.state, self.spent
        return {
            "schema": SCHEMA,
            "run": self.run,
            "verdict": self.verdict,
            "target": None if state is None else _target(state.budget),
            "spent": None if spent is None else _spent_to_json(spent),
            "steps": None if state is None else _steps(state),
            "halted": None if state is None else state.halted,
            "checks": [{"name": c.name, "status": c.status, "detail": c.detail} for c in self.checks],
            "assumptions": [{"text": a.text, "held": a.held} for a in self.assumptions],
        }


def audit_run(run: Path | str, *, public_key: str | None = None) -> Audit:
    """Audit a run's folder.

    Args:
        run: runs/NAME. public_key: the signer's key as known from elsewhere, hexadecimal.

    Returns:
        The audit; a broken ledger is a failed audit, not an exception.

    Raises:
        LedgerError: there is no ledger to audit.
    """
    run = Path(run)
    release, private = run / "release", run / "private"
    path = release / "ledger.jsonl"
    if not path.exists():
        raise LedgerError(f"There is no ledger in {run}; name a run's folder, such as runs/NAME.")
    try:
        state = verify_ledger(path, public_key=public_key)
    except LedgerError as error:
        broken = Check(name="ledger chain", status=FAILED, detail=str(error))
        return Audit(run=run.name, state=None, spent=None, checks=(broken,), assumptions=())
    spent = price(state.segments, state.budget)
    checks = (
        Check(
            name="ledger chain",
            status=PASSED,
            detail=f"{state.entries} entries, each chained to the one before; head {state.head[:16]}",
        ),
        _head_check(path, private / "head.json"),
        _signature_check(state, public_key),
        _plan_check(state, release / "plan.json"),
        _sampling_check(state),
        _budget_check(state, spent),
        *_release_checks(state, release),
    )
    return Audit(run=run.name, state=state, spent=spent, checks=checks, assumptions=assumptions_of(state))


def compose(accountant: Any, segments: Iterable[Segment]) -> Any:
    """Charge an accountant for segments, each rounding its blocks up by itself; returns it."""
    for segment in segments:
        if segment.reserved:
            accountant.new_segment()
            accountant.compose(segment.event, segment.reserved)
    return accountant


def price(segments: Iterable[Segment], budget: Budget) -> Spent:
    """What these segments cost at the budget's δ and adjacency, by RDP and by PRV."""
    segments = tuple(segments)
    if not any(segment.reserved for segment in segments):
        return Spent(rdp=0.0, prv=EpsilonBounds(0.0, 0.0, 0.0))
    rdp = compose(RdpAccountant(neighbouring=budget.neighbouring), segments).get_epsilon(budget.delta)
    bounds = compose(PrvAccountant(neighbouring=budget.neighbouring), segments).get_epsilon_bounds(budget.delta)
    if bounds.fallback is not None:
        return Spent(rdp=rdp, prv=None, fallback=bounds.fallback)
    return Spent(rdp=rdp, prv=bounds)


def _target(budget: Budget) -> dict[str, Any]:
    return {"epsilon": budget.epsilon, "delta": budget.delta, "neighbouring": budget.neighbouring.value}


def _spent_to_json(spent: Spent) -> dict[str, Any]:
    prv = spent.prv
    bounds = None if prv is None else {"lower": prv.lower, "estimate": prv.estimate, "upper": prv.upper}
    return {"rdp": spent.rdp, "prv": bounds, "epsilon": spent.epsilon}


def _steps(state: LedgerState) -> dict[str, int | None]:
    planned = None if state.plan is None else state.plan.iterations
    return {"done": state.steps_done, "reserved": state.steps_charged, "planned": planned}


def _head_check(path: Path, head_path: Path) -> Check:
    name = "nothing dropped from the end"
    if not head_path.exists():
        return Check(name=name, status=NOT_CHECKED, detail="needs the run's private folder, which is not at hand here")
    try:
        verify_ledger(path, head_path=head_path)
    except LedgerError as error:
        return Check(name=name, status=FAILED, detail=str(error))
    return Check(name=name, status=PASSED, detail="the head's digest in the private folder is in the chain")


def _signature_check(state: LedgerState, public_key: str | None) -> Check:
    own = state.genesis.get("public_key")
    if own is None:
        return Check(name="signature", status=NOT_CHECKED, detail="the ledger is not signed (train with --signing-key)")
    if public_key is None:
        detail = f"every entry is signed by {own[:16]}…; compare that key with the signer's (--public-key)"
        return Check(name="signature", status=NOT_CHECKED, detail=detail)
    return Check(name="signature", status=PASSED, detail=f"every entry is signed by {own[:16]}…")


def _plan_check(state: LedgerState, path: Path) -> Check:
    name = "plan against what ran"
    if state.plan is None:
        return Check(name=name, status=NOT_CHECKED, detail="the run had no plan, only a budget")
    try:
        plan = Plan.load(path)
    except AccountantError as error:
        return Check(name=name, status=FAILED, detail=str(error))
    if plan.digest != state.plan.digest:
        return Check(name=name, status=FAILED, detail="plan.json is not the plan that the ledger was begun with")
    return Check(
        name=name,
        status=PASSED,
        detail=f"every reserved step is the plan's event at its place; plan {plan.digest[:16]}",
    )


def _sampling_check(state: LedgerState) -> Check:
    sampling, noise = state.genesis.get("sampling"), state.genesis.get("noise")
    detail = f"sampling {sampling or 'not stated'}, noise {noise or 'not stated'}"
    if noise == "insecure-fixed-seed":
        return Check(
            name="sampling and noise",
            status=FAILED,
            detail=f"{detail}: who knows the seed can subtract the noise; this run protects nobody",
        )
    status = PASSED if sampling and noise else NOT_CHECKED
    return Check(name="sampling and noise", status=status, detail=detail)


def _budget_check(state: LedgerState, spent: Spent) -> Check:
    budget = state.budget
    ok = spent.epsilon <= budget.epsilon
    relation = "at most" if ok else "MORE THAN"
    detail = f"ε = {spent.epsilon:.6g} spent, {relation} the promised {budget.epsilon:g} at δ = {budget.delta:g}"
    return Check(name="spend within the budget", status=PASSED if ok else FAILED, detail=detail)


def _release_checks(state: LedgerState, release: Path) -> list[Check]:
    if not state.releases:
        return [Check(name="released files", status=NOT_CHECKED, detail="the ledger names no released file yet")]
    checks = []
    for name, digest in sorted(state.releases.items()):
        # A name comes from the ledger: only a plain file of the release folder is ever opened.
        path = release / Path(name).name
        if Path(name).name != name or not path.is_file():
            status, detail = FAILED, f"{name} is named in the ledger and is not there"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            status, detail = FAILED, f"{name} is not the file that was released: its digest differs"
        else:
            status, detail = PASSED, f"SHA-256 {digest[:16]}… as in the ledger"
        checks.append(Check(name=f"released {Path(name).name}", status=status, detail=detail))
    return checks


def assumptions_of(state: LedgerState) -> tuple[Assumption, ...]:
    """What the theorem needs for such a run, each with how it is held."""
    common = (
        Assumption(text="one person is one record; N is public and so are all hyper-parameters", held="on-trust"),
        Assumption(
            text="hyper-parameters were not chosen by looking at this data set, or their search was charged",
            held="on-trust",
        ),
        Assumption(
            text="each step draws one true Poisson batch; sums are divided by qN, never by the realised size",
            held="by-construction",
        ),
        Assumption(text="each record's gradient is clipped to C1 and no layer mixes records", held="by-construction"),
        Assumption(
            text="noise of the charged standard deviation, once a receipt, in floating point",
            held="by-construction",
        ),
        Assumption(text="every step was reserved in the ledger before it ran", held="by-construction"),
        Assumption(text="the steps in the ledger are the plan's", held="checked"),
        Assumption(text="the program that ran is the published one", held="on-trust"),
    )
    if state.plan is None or state.plan.feedback is not Feedback.BANDED:
        return common
    banded = (
        Assumption(
            text="a record's group depends on its identity and a salt alone, so removing one moves no other",
            held="by-construction",
        ),
        Assumption(text="nothing owed crosses a crash; a crash starts a new segment", held="checked"),
    )
    return (*common, *banded)


__all__ = [
    "Assumption",
    "Audit",
    "Check",
    "Spent",
    "assumptions_of",
    "audit_run",
    "compose",
    "price",
]
