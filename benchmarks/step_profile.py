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
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.mechanism.system_generator import system_generator
from privgen.methods.gan.generator_step import average_generator, generator_step
from privgen.methods.gan.method import METHOD
from privgen.training import method, private_step
from privgen.training.method import RecordFacts
from privgen.training.state import TrainState, begin_segment

BATCH = 256
# Where each stage of the private half is called from.
STAGES = {"private_sums": method, "feed_back": private_step, "gaussian": private_step, "_update": private_step}


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
    settings = METHOD.default_settings(made.dataset_size, warm_start=bool(fraction))
    facts = RecordFacts(shape=(1, 28, 28), class_names=tuple("0123456789"))
    learner = METHOD.begin(made, facts, settings, latents=system_generator(torch.device("cpu")))
    state = TrainState(learner=learner, beside=RecordNumbers())
    phase = made.schedule()[0]
    event = made.event_of(phase)
    begin_segment(state, made, event)
    guard = BudgetGuard(Budget(epsilon=1e6, delta=0.5))
    images, labels = torch.rand(BATCH, 1, 28, 28) * 2 - 1, torch.arange(BATCH) % 10
    noise, taken = ExactGaussian(), defaultdict(list)
    plain = {name: getattr(module, name) for name, module in STAGES.items()}
    try:
        for name, call in plain.items():
            setattr(STAGES[name], name, timed(taken, name, call))
        for _ in range(repetitions + 2):
            for name in (*STAGES, "generator", "average", "whole"):
                taken[name].append(0.0)
            begun = time.perf_counter()
            private_step.private_step(
                state, made, parts=made.parts_in(phase), receipt=guard.admit(event), records=(images, labels),
                noise=noise,
            )  # fmt: skip
            timed(taken, "generator", generator_step)(learner, class_weight=settings.class_weight)
            timed(taken, "average", average_generator)(learner, 0.99)
            taken["whole"][-1] = time.perf_counter() - begun
    finally:
        for name, call in plain.items():
            setattr(STAGES[name], name, call)
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
