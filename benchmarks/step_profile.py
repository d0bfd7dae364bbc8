"""Where the time of a training step goes, on made-up images: python benchmarks/step_profile.py [--threads 1]

Prints, for a run with and one without a warm start, the milliseconds of each stage (median of the repetitions) and its
share of the step. No record is read.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch

from accountant import BudgetGuard
from accountant.budget import Budget
from planners import plan
from privgen.config import default_config, warm_config
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.system_generator import system_generator
from privgen.methods.gan.networks import NetworkConfig
from privgen.training import private_step as steps
from privgen.training.state import begin_segment, new_state

BATCH, STAGES = 256, ("_fakes", "private_sums", "_fed_back", "gaussian", "_update")


def timed(taken: dict[str, list[float]], name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, whose seconds are added up under its name."""

    def run(*arguments: Any, **options: Any) -> Any:
        begun = time.perf_counter()
        result = call(*arguments, **options)
        taken[name][-1] += time.perf_counter() - begun
        return result

    return run


def profile(fraction: float, repetitions: int) -> dict[str, float]:
    """Median seconds of each stage of a step."""
    made = plan(epsilon=10.0, delta=1e-5, dataset_size=60000, batch_size=BATCH, iterations=1000, warm_start=fraction)
    config = (warm_config if fraction else default_config)(made.dataset_size)
    network = NetworkConfig.of(config, image_shape=(1, 28, 28), classes=10, warm_start=bool(fraction))
    state = new_state(made, network, config, system_generator(torch.device("cpu")))
    phase = made.schedule()[0]
    event = made.event_of(phase)
    begin_segment(state, made, event)
    guard = BudgetGuard(Budget(epsilon=1e6, delta=0.5))
    images, labels = torch.rand(BATCH, 1, 28, 28) * 2 - 1, torch.arange(BATCH) % 10
    noise, taken = ExactGaussian(), defaultdict(list)
    plain = {name: getattr(steps, name) for name in STAGES}
    try:
        for name, call in plain.items():
            setattr(steps, name, timed(taken, name, call))
        for _ in range(repetitions + 2):
            for name in (*STAGES, "generator", "average", "whole"):
                taken[name].append(0.0)
            begun = time.perf_counter()
            steps.private_step(
                state, made, config, parts=made.parts_in(phase), receipt=guard.admit(event), images=images,
                labels=labels, noise=noise,
            )  # fmt: skip
            timed(taken, "generator", steps.generator_step)(state, config, class_weight=config.class_weight)
            timed(taken, "average", steps.average_generator)(state, 0.99)
            taken["whole"][-1] = time.perf_counter() - begun
    finally:
        for name, call in plain.items():
            setattr(steps, name, call)
    return {name: statistics.median(values[2:]) for name, values in taken.items()}


def main() -> None:
    """Profile both kinds of run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=15)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"expected batch {BATCH}, small, 28×28, {given.threads} threads, load {os.getloadavg()[0]:.1f}")
    for fraction in (0.0, 0.8):
        found = profile(fraction, given.repetitions)
        print(f"warm start {fraction:g}: {found['whole'] * 1e3:.0f} ms a step")
        for name in (*STAGES, "generator", "average"):
            print(f"  {name:14s} {found[name] * 1e3:7.1f} ms  {found[name] / found['whole']:5.1%}")


if __name__ == "__main__":
    main()
