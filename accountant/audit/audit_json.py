"""An audit as JSON: what a script reads, and what it may rely on.

Fields are added and never change their meaning within a schema. Where a ledger could not be read, everything that
would be read from it is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypedDict

from accountant.audit.risk import RisksJson
from accountant.budget import Budget
from accountant.composition.certified import CertifiedJson, finite
from accountant.ledger.state import LedgerState
from accountant.ledger.writers import writer_of
from accountant.plans.caps import CapJson
from accountant.plans.cost_shares import Share

if TYPE_CHECKING:
    from accountant.audit.audit import Audit

SCHEMA = "privgen.audit/1"
CLAIMED_LABEL = "claimed by the published analysis, not a bound"


class TargetJson(TypedDict):
    """The promise."""

    epsilon: float
    delta: float
    neighbouring: str


class SpentJson(CertifiedJson):
    """Both upper bounds, and the smaller of them."""

    epsilon: float | None


class GuaranteeJson(TypedDict):
    """What holds of the run, and by what that was fixed beforehand."""

    epsilon: float | None
    by: str


class WeightsJson(TypedDict):
    """How many of the charged steps are in the weights."""

    held: int
    charged: int


class ClaimedJson(TypedDict):
    """What a published analysis says; not a bound."""

    epsilon: float | None
    label: str


class StepsJson(TypedDict):
    """Steps that ran, that are charged, and that were planned."""

    done: int
    reserved: int
    planned: int | None


class CheckJson(TypedDict):
    """One thing that was looked at: status is passed, failed or not-checked."""

    name: str
    status: str
    detail: str


class AssumptionJson(TypedDict):
    """One thing that the theorem needs: held is checked, by-construction or on-trust."""

    text: str
    held: str


class PlannedPhaseJson(TypedDict):
    """A planned phase, of gradients or of a warm start's statistics."""

    releases: str
    iterations: int
    sampling_rate: float
    noise_multiplier: float


class MechanismJson(TypedDict):
    """How it was done, as plan and ledger say."""

    feedback: str | None
    bands: int | None
    dataset: str | None
    dataset_size: int | None
    phases: list[PlannedPhaseJson]
    caps: list[CapJson] | None
    writer: str
    sampling: object
    noise: object
    canaries: int


class ShareJson(TypedDict):
    """A part and its share of a step's cost."""

    name: str
    clip_norm: float
    residual_clip_norm: float
    feedback_clip_norm: float
    noise_multiplier: float
    share: float
    feedback: float | None


class LedgerJson(TypedDict):
    """How long the ledger is, and the digest of its last entry."""

    entries: int
    head: str


class CheckpointJson(TypedDict):
    """A checkpoint as the ledger names it."""

    name: str
    step: int
    weights_digest: str


class ProvenanceJson(TypedDict):
    """Where it comes from. What the genesis says by itself is passed on as it stands."""

    run: object
    account: object
    date: object
    versions: dict[str, str]
    plan_digest: str | None
    ledger: LedgerJson
    public_key: str | None
    checkpoints: list[CheckpointJson]
    released: dict[str, str]
    resumes: int
    crashes: int


class AuditJson(TypedDict):
    """An audit."""

    schema: str
    run: str
    verdict: str
    target: TargetJson | None
    spent: SpentJson | None
    guarantee: GuaranteeJson | None
    claimed: ClaimedJson | None
    risk: RisksJson | None
    steps: StepsJson | None
    weights: WeightsJson | None
    halted: str | None
    checks: list[CheckJson]
    assumptions: list[AssumptionJson]
    mechanism: MechanismJson | None
    parts: list[ShareJson]
    provenance: ProvenanceJson | None


def audit_to_json(audit: Audit) -> AuditJson:
    """The audit as JSON; an infinite bound is null."""
    state, spent, guarantee = audit.state, audit.spent, audit.guarantee
    return {
        "schema": SCHEMA,
        "run": audit.run,
        "verdict": audit.verdict,
        "target": None if state is None else _target(state.budget),
        "spent": None if spent is None else {**spent.to_json(), "epsilon": finite(spent.epsilon)},
        "guarantee": None if guarantee is None else {"epsilon": finite(guarantee.epsilon), "by": guarantee.by},
        "claimed": None if audit.claimed is None else {"epsilon": finite(audit.claimed), "label": CLAIMED_LABEL},
        "risk": None if (risks := audit.risks) is None else risks.to_json(),
        "steps": None if state is None else _steps(state),
        "weights": None if state is None else {"held": state.held, "charged": state.steps_charged},
        "halted": None if state is None else state.halted,
        "checks": [{"name": c.name, "status": c.status, "detail": c.detail} for c in audit.checks],
        "assumptions": [{"text": a.text, "held": a.held} for a in audit.assumptions],
        "mechanism": None if state is None else _mechanism(state),
        "parts": [_share(share) for share in audit.shares],
        "provenance": None if state is None else _provenance(state),
    }


def _target(budget: Budget) -> TargetJson:
    return {"epsilon": budget.epsilon, "delta": budget.delta, "neighbouring": budget.neighbouring.value}


def _steps(state: LedgerState) -> StepsJson:
    planned = None if state.plan is None else state.plan.steps
    return {"done": state.steps_done, "reserved": state.steps_charged, "planned": planned}


def _mechanism(state: LedgerState) -> MechanismJson:
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


def _share(share: Share) -> ShareJson:
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


def _provenance(state: LedgerState) -> ProvenanceJson:
    return {
        "run": state.genesis.get("run"),
        "account": state.genesis.get("account"),
        "date": state.genesis.get("date"),
        "versions": versions_of(state),
        "plan_digest": None if state.plan is None else state.plan.digest,
        "ledger": {"entries": state.entries, "head": state.head},
        "public_key": state.public_key,
        "checkpoints": [
            {"name": c.name, "step": c.step, "weights_digest": c.weights_digest} for c in state.checkpoints
        ],
        "released": dict(sorted(state.releases.items())),
        "resumes": state.resumes,
        "crashes": state.crashes,
    }
