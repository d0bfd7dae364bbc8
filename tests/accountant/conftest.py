"""A run's folder as training leaves it, made without torch: ledger, plan, weights, checkpoint and head."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from accountant import BudgetGuard, Feedback, Ledger, Part, Plan
from accountant.audit.checks import WEIGHTS
from accountant.ledger.genesis import genesis_budget

STEPS = 12
PLAN = Plan(
    epsilon=10.0,
    delta=1e-5,
    dataset="digits",
    dataset_size=1437,
    feedback=Feedback.BANDED,
    bands=2,
    sampling_rate=0.05,
    iterations=STEPS,
    noise_multiplier=1.0,
    parts=(Part(name="critic", clip_norm=0.5, residual_clip_norm=0.5, noise_multiplier=1.0),),
)


def made_run(
    folder: Path,
    *,
    plan: Plan | None = PLAN,
    steps: int = STEPS,
    halt: bool = True,
    genesis: Mapping[str, object] | None = None,
) -> Path:
    """The folder of a run that took so many steps; `genesis` adds to its first entry or changes it."""
    release, private = folder / "release", folder / "private"
    release.mkdir(parents=True)
    private.mkdir()
    (release / WEIGHTS).write_bytes(b"weights")
    weights = hashlib.sha256(b"weights").hexdigest()
    budget = PLAN.budget if plan is None else plan.budget
    planned = {} if plan is None else {"plan": plan.to_json(), "plan_digest": plan.digest}
    body = {"budget": genesis_budget(budget), "sampling": "Poisson", "noise": "floored-gaussian", **planned}
    event = PLAN.event_of(PLAN.schedule()[0]) if plan is None else plan.event_of(plan.schedule()[0])
    with Ledger.create(release / "ledger.jsonl", head_path=private / "head.json") as ledger:
        ledger.append("genesis", {**body, **(genesis or {})})
        guard = BudgetGuard(budget, ledger=ledger, block=4)
        for _ in range(steps):
            guard.admit(event).redeem(event)
        guard.commit()
        name = f"checkpoint-{steps:07d}"
        (private / name).mkdir()
        (private / name / WEIGHTS).write_bytes(b"weights")
        ledger.append("checkpoint", {"name": name, "step": steps, "weights_digest": weights})
        ledger.append("release", {"files": {WEIGHTS: weights}})
        if halt:
            guard.halt("the plan's iterations are done")
    if plan is not None:
        plan.save(release / "plan.json")
    return folder


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Path]:
    """`made_run`."""
    return made_run


@pytest.fixture(scope="session")
def some_plan() -> Plan:
    """The plan that `make_run` follows."""
    return PLAN
