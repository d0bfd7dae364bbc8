"""The budget guard around a hand-written DP-SGD loop: three lines, marked 1 to 3.

The guard charges what it admitted, before the step, in a ledger that anybody can audit. What it cannot see is this
loop's affair: that batches are Poisson draws at the event's rate, that each record's gradient is clipped, and that
noise of the event's multiplier is added. privgen's own training holds those by construction.

Run it: python docs/examples/guard_any_loop.py ledger.jsonl
"""

import sys
from pathlib import Path

import torch

from accountant import Budget, BudgetExhausted, BudgetGuard, SubsampledGaussian, verify_ledger

CLIP_NORM, RATE = 1.0, 0.5


def main(ledger: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(500, 8)
    y = (x[:, 0] > 0).float()
    weights = torch.zeros(8)
    event = SubsampledGaussian(sampling_rate=0.1, noise_multiplier=2.0)
    guard = BudgetGuard(Budget(epsilon=2.0, delta=1e-5), ledger=ledger)  # 1
    while True:
        try:
            receipt = guard.admit(event)  # 2: before the batch is drawn; raises when the budget is reached
        except BudgetExhausted as reached:
            guard.halt(str(reached))
            break
        chosen = torch.rand(len(x)) < event.sampling_rate
        gradients = (torch.sigmoid(x[chosen] @ weights) - y[chosen])[:, None] * x[chosen]  # (n, 8)
        clipped = gradients / (gradients.norm(dim=1, keepdim=True) / CLIP_NORM).clamp_min(1.0)
        receipt.redeem(event)  # 3: noise is added once for each receipt
        noise = event.noise_multiplier * CLIP_NORM * torch.randn(8)
        weights -= RATE * (clipped.sum(0) + noise) / (event.sampling_rate * len(x))
    accuracy = ((x @ weights > 0).float() == y).float().mean()
    state = verify_ledger(ledger)
    print(f"{state.steps_done} steps, halted: {state.halted}")
    print(f"accuracy on the training records (private): {accuracy:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "ledger.jsonl"))
