"""`audit_run`: recompute what a run spent from its ledger, and hold it against what was promised.

It trusts the ledger's chain, the plan and the released files' digests, and echoes no stored ε: everything
that is printed is computed here. One summary object feeds every format (terminal, JSON, Markdown, HTML).

A verdict is "passed" (every check holds and the ledger ends in a halt), "incomplete" (every check holds, the
ledger does not end in a halt, or nothing was spent and nothing released) or "failed".
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from accountant.audit.assumptions import Assumption, assumptions_of
from accountant.audit.audit_json import CLAIMED_LABEL, AuditJson, audit_to_json, versions_of
from accountant.audit.checks import (
    FAILED,
    Check,
    budget_check,
    canary_checks,
    chain_check,
    checkpoint_checks,
    head_check,
    plan_check,
    promise_check,
    remembered_check,
    sampling_check,
    signature_check,
    steps_check,
)
from accountant.audit.guarantee import Guarantee, guarantee_of
from accountant.audit.release_files import release_checks
from accountant.audit.risk import GROUP_SIZES, Risks, risks_of_guarantee, risks_of_promise
from accountant.bound_text import exact_text, upper_text
from accountant.budget import Budget
from accountant.composition.certified import Certified, certify
from accountant.composition.rdp import RdpAccountant
from accountant.composition.segments import compose_segments
from accountant.errors import LedgerError
from accountant.html_table import html_table
from accountant.ledger.entry import read_entries
from accountant.ledger.outside_head import OutsideHead, heads_at_hand
from accountant.ledger.replay import verify_ledger
from accountant.ledger.state import LedgerState, Segment, charged
from accountant.plans.cost_shares import Share, shares_of

# What reading an entry of the wrong form can raise; anybody can write such a ledger, and its digests then hold.
_MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """What an audit found. `state` and `spent` are None where the ledger could not be read as one.

    Args:
        run: the run folder's name.
        state: what the ledger says. spent: what that costs, recomputed.
        guarantee: what holds of it: for a plan ε of its caps, whatever was charged so far.
        claimed: for `paper` feedback the ε that the published analysis says of the same steps, which is no bound.
        checks, assumptions: what was looked at, and what the theorem needs beside it.
        group_sizes: of how many records together the risk is said, beside that of one.
    """

    run: str
    state: LedgerState | None
    spent: Certified | None
    guarantee: Guarantee | None = None
    claimed: float | None = None
    checks: tuple[Check, ...]
    assumptions: tuple[Assumption, ...]
    group_sizes: tuple[int, ...] = GROUP_SIZES

    @property
    def risks(self) -> Risks | None:
        """What any attack on what is released could reach; None where the ledger could not be read as one."""
        if self.state is None or self.guarantee is None:
            return None
        try:
            return risks_of_guarantee(self.guarantee, self.state.budget, self.group_sizes)
        except ArithmeticError:
            # Numbers that nobody trains with: no bound was found, so everything is possible.
            return risks_of_promise(epsilon=math.inf, delta=self.state.budget.delta, group_sizes=self.group_sizes)

    @property
    def verdict(self) -> str:
        """ "passed", "incomplete" or "failed"."""
        if self.state is None or any(check.status == FAILED for check in self.checks):
            return "failed"
        return "incomplete" if self.state.halted is None or not self.state.steps_charged else "passed"

    @property
    def shares(self) -> tuple[Share, ...]:
        """Who spends what of a step; empty for a run without a plan."""
        return () if self.state is None or self.state.plan is None else shares_of(self.state.plan)

    def _repr_html_(self) -> str:
        """The audit as a notebook shows it: the verdict, what holds, and every check."""
        rows = [("verdict", self.verdict)]
        if self.state is not None and self.guarantee is not None:
            budget = self.state.budget
            spent = (
                f"ε ≤ {upper_text(self.guarantee.epsilon)} at δ = {exact_text(budget.delta)}, by {self.guarantee.by}"
            )
            target = f"ε = {exact_text(budget.epsilon)} at δ = {exact_text(budget.delta)}, {budget.neighbouring.value}"
            rows += [("holds", spent), ("promised", target), ("steps charged", str(self.state.steps_charged))]
        rows += [(check.name, f"{check.status}: {check.detail}") for check in self.checks]
        return html_table(f"Audit of {self.run}", rows)

    def to_json(self) -> AuditJson:
        """The audit as JSON; an infinite bound is null."""
        return audit_to_json(self)


def audit_run(run: Path | str, *, public_key: str | None = None, anchor: Path | None = None) -> Audit:
    """Audit a run.

    Args:
        run: runs/NAME, its release folder alone, or a ledger's file alone. public_key: the signer's key as known from
            elsewhere, hexadecimal. anchor: a file that remembers the ledger's head, or None.

    Returns:
        The audit; a broken ledger is a failed audit, not an exception.

    Raises:
        LedgerError: there is no ledger to audit.
    """
    run = Path(run)
    alone = run.is_file()
    path = run if alone else release_of(run) / "ledger.jsonl"
    if not path.exists():
        raise LedgerError(f"There is no ledger in {run}; name a run's folder, such as runs/NAME, or a ledger's file.")
    remembered = _remembered(path, anchor)
    try:
        state = verify_ledger(path, public_key=public_key)
        entries = read_entries(path)
    except LedgerError as error:
        return _unreadable(run, str(error))
    except _MALFORMED as error:
        return _unreadable(run, f"an entry does not have the form of a ledger's ({type(error).__name__}: {error})")
    spent = price(state.segments, state.budget)
    guarantee = guarantee_of(state, spent)
    private = None if alone else run / "private"
    return Audit(
        run=path.stem if alone else run.resolve().name,
        state=state,
        spent=spent,
        guarantee=guarantee,
        claimed=claimed_by_the_paper(state),
        checks=(
            chain_check(state),
            *(() if private is None else (head_check(path, private, state.entries),)),
            remembered_check(path, entries, remembered),
            signature_check(state, public_key),
            plan_check(state, None if alone else path.with_name("plan.json")),
            sampling_check(state),
            budget_check(state, guarantee.epsilon, by=guarantee.by),
            *promise_check(state),
            steps_check(state),
            *(() if private is None else _folder_checks(state, path.parent, private)),
        ),
        assumptions=assumptions_of(
            state,
            signed=public_key is not None,
            private_folder_present=private is not None and (private / "head.json").exists(),
            remembered=bool(remembered),
        ),
    )


def _remembered(path: Path, anchor: Path | None) -> tuple[tuple[Path, OutsideHead], ...] | None:
    """What is remembered of a ledger outside its folder, before the ledger is read; None where that is damaged."""
    try:
        return heads_at_hand(read_entries(path)[0].digest, anchor=anchor)
    except (LedgerError, *_MALFORMED):
        return None


def _folder_checks(state: LedgerState, release: Path, private: Path) -> list[Check]:
    """What a run's folder holds beside its ledger."""
    return [
        *canary_checks(state, private),
        *checkpoint_checks(state, private),
        *release_checks(state, release),
    ]


def _unreadable(run: Path, why: str) -> Audit:
    broken = Check(name="ledger chain", status=FAILED, detail=why)
    return Audit(run=run.resolve().name, state=None, spent=None, checks=(broken,), assumptions=())


def release_of(run: Path) -> Path:
    """A run's release folder, which may be all that a third party was given."""
    return run if (run / "ledger.jsonl").exists() and not (run / "release").exists() else run / "release"


def price(segments: Iterable[Segment], budget: Budget) -> Certified:
    """What these segments cost at the budget's δ and adjacency, by RDP and by PRV."""
    try:
        return certify(charged(segments), delta=budget.delta, neighbouring=budget.neighbouring)
    except ArithmeticError as error:
        # Numbers that nobody trains with: no bound was found, so none is said.
        return Certified(rdp=math.inf, fallback=f"the numbers are out of range ({error})")


def claimed_by_the_paper(state: LedgerState) -> float | None:
    """The ε that the published analysis of `paper` feedback says of these steps, or None for other feedback.

    It divides the noise by √(1 + ρ) and then charges plain subsampled steps, by RDP: as if what is fed back were
    amplified by the step's own sampling. It is not (docs/privacy.md, theorem 4), so this is not a bound.
    `accountant.claims.claims` says the
    same of a published setting.
    """
    claimed = claimed_segments(state)
    if not claimed:
        return None
    try:
        composed = compose_segments(RdpAccountant(state.budget.neighbouring), charged(claimed))
        return composed.get_epsilon(state.budget.delta)
    except ArithmeticError:
        return math.inf


def claimed_segments(state: LedgerState) -> tuple[Segment, ...]:
    """The charged segments of `paper` feedback as that analysis sees them; empty for other feedback."""
    return tuple(
        replace(segment, event=claimed)
        for segment in state.segments
        if segment.reserved and (claimed := segment.event.claimed()) is not None
    )


__all__ = [
    "CLAIMED_LABEL",
    "Assumption",
    "Audit",
    "Check",
    "assumptions_of",
    "audit_run",
    "claimed_by_the_paper",
    "claimed_segments",
    "price",
    "release_of",
    "versions_of",
]
