"""A loop of one's own out of the library's parts: guard, sampler, per-record sums, error feedback, exact release.

Each part keeps its own promise: the guard charges before the step, the sampler draws true Poisson batches, the sums
hold an integer vector a record that is no longer than its clip norm, and `gaussian`, the only function that adds noise,
refuses what was not admitted. That the loop uses them so and keeps nothing else is its author's word: the ledger is an
`own-loop` one, and its audit lists that as taken on trust.

Run it: python docs/examples/own_loop.py ledger.jsonl
"""

import os
import sys
from pathlib import Path

import torch
from torch import nn

from accountant import BandedGaussian, Budget, BudgetExhausted, BudgetGuard, verify_ledger
from accountant.plans.parts import Part
from privgen.data.identity import content_ids
from privgen.gradients.clipped_sums import private_sums
from privgen.mechanism.error_feedback import FeedbackMemory, apply_feedback, banded_weights
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.release import gaussian
from privgen.mechanism.sampling import PoissonSampler

# N is public: it is stated, and not counted.
COUNT, BANDS = 1000, 4
EVENT = BandedGaussian(sampling_rate=0.05, noise_multiplier=1.5, bands=BANDS)
PART = Part(name="model", clip_norm=0.25, residual_clip_norm=0.75, noise_multiplier=EVENT.noise_multiplier)


def main(ledger: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(COUNT, 8)
    y = (x[:, 0] > 0).float()
    model = nn.Linear(8, 1)
    named = dict(model.named_parameters())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)

    def loss(features: torch.Tensor, label: torch.Tensor) -> torch.Tensor:  # of one record
        return nn.functional.binary_cross_entropy_with_logits(model(features)[0], label)

    def weigh(norms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return banded_weights(
            norms,
            clip_norm=PART.clip_norm,
            residual_clip_norm=PART.residual_clip_norm,
            bands=BANDS,
            grid_step=PART.step,
        )

    guard = BudgetGuard(Budget(epsilon=4.0, delta=1e-5), ledger=ledger)
    ids = content_ids(row.numpy().tobytes() for row in torch.cat([x, y[:, None]], 1))
    sampler, noise = PoissonSampler(ids, bands=BANDS, salt=os.urandom(16)), ExactGaussian()
    memory = FeedbackMemory(named, BANDS)
    while True:
        try:
            receipt = guard.admit(EVENT)  # charged in the ledger, before anything is drawn
        except BudgetExhausted as reached:
            guard.halt(str(reached))
            break
        if receipt.cycle == 0:  # a new segment begins with nothing owed
            memory = FeedbackMemory(named, BANDS)
        rows = sampler.draw(EVENT, receipt.cycle)
        clipped, residual = private_sums(model, loss, (x[rows], y[rows]), weigh).sums
        sums = {PART.name: apply_feedback(memory, clipped, residual)}
        released = gaussian(sums, parts=(PART,), bands=BANDS, receipt=receipt, noise=noise)[PART.name]
        for name, parameter in named.items():  # the divisor is qN, never the size of the draw
            mean = released[name].double() * PART.step / (EVENT.sampling_rate * COUNT)
            parameter.grad = mean.to(parameter.dtype)
        optimizer.step()
    accuracy = ((model(x)[:, 0] > 0).float() == y).float().mean()
    state = verify_ledger(ledger)
    print(f"{state.steps_done} steps, halted: {state.halted}")
    print(f"accuracy on the training records (private): {accuracy:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "ledger.jsonl"))
