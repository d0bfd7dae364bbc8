"""Peak memory of a GAN's private step, on made-up images: python benchmarks/step_memory.py --preset paper --side 28

What torch's allocator held at most during a step, beyond what stood before it, and the workspace of the written
gradients, which stays. A step of one record goes before: it makes the generated images that the critic sees. No
record is read.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch
from step import peak_memory

from accountant import BudgetGuard
from accountant.budget import Budget
from planners import plan
from privgen.gradients.clipped_sums import workspace_on
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.mechanism.system_generator import system_generator
from privgen.methods.gan.method import METHOD
from privgen.training.method import RecordFacts
from privgen.training.private_step import private_step
from privgen.training.state import TrainState, begin_segment


def peak(preset: str, *, side: int, channels: int, batch: int) -> int:
    """Bytes, of four bands and the three parts that a plan without a warm start has by default."""
    made = plan(epsilon=10.0, delta=1e-5, dataset_size=60000, batch_size=256, iterations=1000, warm_start=0.0)
    settings = replace(METHOD.default_settings(made.dataset_size, warm_start=False), preset=preset)
    facts = RecordFacts(shape=(channels, side, side), class_names=tuple("0123456789"))
    learner = METHOD.begin(made, facts, settings, latents=system_generator(torch.device("cpu")))
    state = TrainState(learner=learner, beside=RecordNumbers())
    phase = made.schedule()[0]
    event = made.event_of(phase)
    begin_segment(state, made, event)
    guard, noise, parts = BudgetGuard(Budget(epsilon=1e6, delta=0.5)), ExactGaussian(), made.parts_in(phase)

    def step(count: int) -> None:
        records = (torch.rand(count, channels, side, side) * 2 - 1, torch.arange(count) % 10)
        private_step(state, made, parts=parts, receipt=guard.admit(event), records=records, noise=noise)

    step(1)
    return peak_memory(lambda: step(batch))


def main() -> None:
    """Measure one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--side", type=int, default=28)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--batch", type=int, default=256)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = peak(given.preset, side=given.side, channels=given.channels, batch=given.batch)
    space = workspace_on(torch.device("cpu")).size
    print(
        f"{given.preset}, {given.side}×{given.side}×{given.channels}, batch {given.batch}: {found / 1e6:.1f} MB and a "
        f"workspace of {space / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
