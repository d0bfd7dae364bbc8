"""`measure_step`: seconds of a training step on this machine, as fixed + per_record · B.

Real steps on made-up images of the data set's shape: no record is read, nothing is released.
"""

from __future__ import annotations

import statistics
import time

import torch

from accountant.budget import Budget
from accountant.ledger.guard import BudgetGuard
from accountant.plans.plan import Plan
from privgen.config import TrainConfig
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.system_generator import system_generator
from privgen.methods.gan.networks import NetworkConfig
from privgen.training.private_step import generator_step, private_step
from privgen.training.state import begin_segment, new_state

_SMALL, _LARGE, _REPEATS = 64, 256, 3


def measure_step(plan: Plan, network: NetworkConfig, config: TrainConfig, device: torch.device) -> tuple[float, float]:
    """Cost of one step with its generator updates.

    Args:
        plan: whose parts and feedback are run. network, config: what is trained. device: where.

    Returns:
        (fixed, per_record) seconds, from the medians at two batch sizes; both >= 0.
    """
    small, large = (_seconds(plan, network, config, device, batch) for batch in (_SMALL, _LARGE))
    per_record = max(0.0, (large - small) / (_LARGE - _SMALL))
    return max(0.0, small - _SMALL * per_record), per_record


def _seconds(plan: Plan, network: NetworkConfig, config: TrainConfig, device: torch.device, batch: int) -> float:
    state = new_state(plan, network, config, system_generator(device))
    phase = plan.schedule()[0]
    event = plan.event_of(phase)
    begin_segment(state, plan, event)
    # A guard in memory with room enough: what is drawn here is made of no record.
    guard = BudgetGuard(Budget(epsilon=1e6, delta=0.5))
    images = torch.rand(batch, *network.image_shape, device=device) * 2 - 1
    labels = torch.arange(batch, device=device) % network.classes
    noise, taken = ExactGaussian(), []
    for _ in range(_REPEATS + 1):
        begun = time.perf_counter()
        private_step(
            state, plan, config, parts=plan.parts_in(phase), receipt=guard.admit(event), images=images,
            labels=labels, noise=noise,
        )  # fmt: skip
        for _ in range(config.generator_steps):
            generator_step(state, config, class_weight=config.class_weight)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[1:])
