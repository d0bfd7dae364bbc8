"""`audit_run`: recompute what a run spent from its ledger, and hold it against what was promised.

It trusts the ledger's chain, the plan and the released files' digests, and echoes no stored ε: everything
that is printed is computed here. One summary object feeds every format (terminal, JSON, Markdown, HTML).

A verdict is "passed" (every check holds and the ledger ends in a halt), "incomplete" (every check holds, the
ledger does not end in a halt, or nothing was spent and nothing released) or "failed".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from accountant.audit.assumptions import Assumption, assumptions_of
from accountant.audit.checks import (
    FAILED,
    Check,
    budget_check,
    canary_checks,
    chain_check,
    checkpoint_checks,
    head_check,
    plan_check,
    remembered_check,
    sampling_check,
    signature_check,
    steps_check,
)
from accountant.audit.guarantee import Guarantee, guarantee_of
from accountant.audit.release_files import release_checks
from accountant.budget import Budget
from accountant.composition.certified import Certified, certify, finite
from accountant.composition.rdp import RdpAccountant
from accountant.composition.segments import compose_segments
from accountant.errors import LedgerError
from accountant.ledger.entry import read_entries
from accountant.ledger.outside_head import files_at_hand
from accountant.ledger.replay import LedgerState, Segment, charged, verify_ledger
from accountant.ledger.writers import writer_of
from accountant.plans.cost_shares import Share, shares_of

SCHEMA = "privgen.audit/1"
# What reading an entry of the wrong form can raise; anybody can write such a ledger, and its digests then hold.
_MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)
CLAIMED_LABEL = "claimed by the published analysis, not a bound"


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """What an audit found. `state` and `spent` are None where the ledger could not be read as one.

    Args:
        run: the run folder's name.
        state: what the ledger says. spent: what that costs, recomputed.
        guarantee: what holds of it: for a plan ε of its caps, whatever was charged so far.
        claimed: for `paper` feedback the ε that the published analysis says of the same steps, which is no bound.
        checks, assumptions: what was looked at, and what the theorem needs beside it.
    """

    run: str
    state: LedgerState | None
    spent: Certified | None
    guarantee: Guarantee | None = None
    claimed: float | None = None
    checks: tuple[Check, ...]
    assumptions: tuple[Assumption, ...]

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

    def to_json(self) -> dict[str, Any]:
        """The audit as JSON."""
        state, spent = self.state, self.spent
        return {
            "schema": SCHEMA,
            "run": self.run,
            "verdict": self.verdict,
            "target": None if state is None else _target(state.budget),
            "spent": None if spent is None else {**spent.to_json(), "epsilon": finite(spent.epsilon)},
            "guarantee": _guarantee_to_json(self.guarantee),
            "claimed": None if self.claimed is None else {"epsilon": finite(self.claimed), "label": CLAIMED_LABEL},
            "steps": None if state is None else _steps(state),
            "weights": None if state is None else {"held": state.held, "charged": state.steps_charged},
            "halted": None if state is None else state.halted,
            "checks": [{"name": c.name, "status": c.status, "detail": c.detail} for c in self.checks],
            "assumptions": [{"text": a.text, "held": a.held} for a in self.assumptions],
            "mechanism": None if state is None else _mechanism(state),
            "parts": [_share_to_json(share) for share in self.shares],
            "provenance": None if state is None else _provenance(state),
        }


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
    try:
        state = verify_ledger(path, public_key=public_key)
        entries = read_entries(path)
    except LedgerError as error:
        return _unreadable(run, str(error))
    except _MALFORMED as error:
        return _unreadable(run, f"an entry does not have the form of a ledger's ({type(error).__name__}: {error})")
    remembered = files_at_hand(entries[0].digest, anchor=anchor)
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


def _target(budget: Budget) -> dict[str, Any]:
    return {"epsilon": budget.epsilon, "delta": budget.delta, "neighbouring": budget.neighbouring.value}


def _guarantee_to_json(guarantee: Guarantee | None) -> dict[str, Any] | None:
    return None if guarantee is None else {"epsilon": finite(guarantee.epsilon), "by": guarantee.by}


def _steps(state: LedgerState) -> dict[str, int | None]:
    planned = None if state.plan is None else state.plan.steps
    return {"done": state.steps_done, "reserved": state.steps_charged, "planned": planned}


def _mechanism(state: LedgerState) -> dict[str, Any]:
    plan = state.plan
    phases = () if plan is None else plan.releases()
    return {
        "feedback": None if plan is None else plan.feedback.value,
        "bands": None if plan is None else plan.bands,
        "dataset": None if plan is None else plan.dataset,
        "dataset_size": None if plan is None else plan.dataset_size,
        "phases": [
            {
                "releases": p.releases,
                "iterations": p.iterations,
                "sampling_rate": p.sampling_rate,
                "noise_multiplier": p.noise_multiplier,
            }
            for p in phases
        ],
        "caps": None if state.caps is None else state.caps.to_json(),
        "writer": writer_of(state.genesis),
        "sampling": state.genesis.get("sampling"),
        "noise": state.genesis.get("noise"),
        "canaries": 0 if state.canaries is None else state.canaries.count,
    }


def _share_to_json(share: Share) -> dict[str, Any]:
    return {
        "name": share.name,
        "clip_norm": share.clip_norm,
        "residual_clip_norm": share.residual_clip_norm,
        "feedback_clip_norm": share.feedback_clip_norm,
        "noise_multiplier": share.noise_multiplier,
        "share": share.share,
        "feedback": share.feedback,
    }


def versions_of(state: LedgerState) -> dict[str, str]:
    """The software that the ledger says it was written by."""
    versions = state.genesis.get("versions")
    return {str(k): str(v) for k, v in versions.items()} if isinstance(versions, Mapping) else {}


def _provenance(state: LedgerState) -> dict[str, Any]:
    return {
        "run": state.genesis.get("run"),
        "account": state.genesis.get("account"),
        "date": state.genesis.get("date"),
        "versions": versions_of(state),
        "plan_digest": None if state.plan is None else state.plan.digest,
        "ledger": {"entries": state.entries, "head": state.head},
        "public_key": state.genesis.get("public_key"),
        "checkpoints": [
            {"name": c.name, "step": c.step, "weights_digest": c.weights_digest} for c in state.checkpoints
        ],
        "released": dict(sorted(state.releases.items())),
        "resumes": state.resumes,
        "crashes": state.crashes,
    }


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
