"""`measure_step`: seconds of a training step on this machine, as fixed + per_record · B.

Real steps on made-up records of the right shape: no record is read, nothing is released.
"""

from __future__ import annotations

import statistics
import time

import torch
from torch import Tensor

from accountant.budget import Budget
from accountant.ledger.guard import BudgetGuard
from accountant.plans.plan import Plan
from privgen.config import RunSettings
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.mechanism.system_generator import system_generator
from privgen.training.method import Method, RecordFacts
from privgen.training.private_step import private_step
from privgen.training.state import TrainState, begin_segment

_SMALL, _LARGE, _REPEATS = 64, 256, 3


def measure_step(
    plan: Plan, method: Method, facts: RecordFacts, settings: RunSettings, device: torch.device
) -> tuple[float, float]:
    """Cost of one step with what the method does for free beside it.

    Args:
        plan: whose parts and feedback are run. method, facts, settings: what is trained. device: where.

    Returns:
        (fixed, per_record) seconds, from the medians at two batch sizes; both >= 0.
    """
    small, large = (_seconds(plan, method, facts, settings, device, batch) for batch in (_SMALL, _LARGE))
    per_record = max(0.0, (large - small) / (_LARGE - _SMALL))
    return max(0.0, small - _SMALL * per_record), per_record


def _seconds(
    plan: Plan, method: Method, facts: RecordFacts, settings: RunSettings, device: torch.device, batch: int
) -> float:
    learner = method.begin(plan, facts, settings, latents=system_generator(device))
    state = TrainState(learner=learner, beside=RecordNumbers(device=device))
    phase = plan.schedule()[0]
    event = plan.event_of(phase)
    begin_segment(state, plan, event)
    # A guard in memory with room enough: what is drawn here is made of no record.
    guard = BudgetGuard(Budget(epsilon=1e6, delta=0.5))
    records = tuple(_made_up(like, batch) for like in learner.like())
    noise, taken = ExactGaussian(), []
    for step in range(_REPEATS + 1):
        begun = time.perf_counter()
        private_step(
            state, plan, parts=plan.parts_in(phase), receipt=guard.admit(event), records=records, noise=noise
        )  # fmt: skip
        # As at the end of a run, where everything learns.
        learner.free_step(1.0, step + 1)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[1:])


def _made_up(like: Tensor, count: int) -> Tensor:
    """So many rows of a shape and type: uniform in [−1, 1], and 0 where they are whole numbers."""
    if not like.is_floating_point():
        return like.new_zeros(count, *like.shape[1:])
    return torch.rand(count, *like.shape[1:], device=like.device, dtype=like.dtype) * 2 - 1
