"""What guard and ledger cost a step: python benchmarks/guard.py [FOLDER]

The folder decides what an fsync costs; the default is the current one, where runs/ would be.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from accountant import BandedGaussian, Budget, BudgetGuard, Ledger
from accountant.ledger.genesis import genesis_budget
from accountant.ledger.guard import DEFAULT_BLOCK

STEPS, ROUNDS = 1024, 5
TARGET_MS = 0.1


def main(folder: Path) -> None:
    event = BandedGaussian(sampling_rate=256 / 60000, noise_multiplier=2.0, bands=4)
    budget = Budget(epsilon=10.0, delta=1e-6)
    print(f"{STEPS} steps a round, {ROUNDS} rounds, load {os.getloadavg()[0]:.2f}, folder {folder.resolve()}")
    for block in (16, DEFAULT_BLOCK, 256):
        rounds = [_round(folder, event, budget, block) for _ in range(ROUNDS)]
        each = statistics.median(rounds) / STEPS * 1e3
        print(
            f"block {block:4d}: {each:.4f} ms a step (least {min(rounds) / STEPS * 1e3:.4f}, most "
            f"{max(rounds) / STEPS * 1e3:.4f}); {each / TARGET_MS:.2f} of the target of {TARGET_MS} ms"
        )


def _round(folder: Path, event: BandedGaussian, budget: Budget, block: int) -> float:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        ledger = Ledger.create(Path(place) / "ledger.jsonl", head_path=Path(place) / "head.json")
        with ledger:
            ledger.append("genesis", {"budget": genesis_budget(budget)})
            guard = BudgetGuard(budget, ledger=ledger, block=block)
            guard.would_exceed(event)  # the curve of one step is computed once in a run
            begun = time.perf_counter()
            for _ in range(STEPS):
                guard.admit(event).redeem(event)
                guard.epsilon_spent()
            guard.commit()
            return time.perf_counter() - begun


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path())
