"""Planning beside other libraries, in one process: python benchmarks/planning.py

q = 256/60000, T = 20000, δ = 1e-5, ε = 10: the noise multiplier that just keeps the budget.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

Q, STEPS, DELTA, EPSILON = 256 / 60000, 20000, 1e-5, 10.0


def main() -> None:
    print(f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}, load {os.getloadavg()[0]:.2f}")
    rows = [
        ("privgen, RDP", _ours("rdp")),
        ("privgen, PRV", _ours("prv")),
        ("dp-accounting, RDP", _dp_accounting("rdp")),
        ("dp-accounting, PLD", _dp_accounting("pld")),
        ("Opacus, PRV", _opacus),
    ]
    taken = {}
    for name, solve in rows:
        begun = time.perf_counter()
        z = solve()
        taken[name] = time.perf_counter() - begun
        print(f"{name:20s} z = {z:.6f}  {taken[name]:8.3f} s", flush=True)
    for other in ("dp-accounting, PLD", "Opacus, PRV"):
        print(f"{other} / privgen, PRV: {taken[other] / taken['privgen, PRV']:.1f}")
    print(f"dp-accounting, RDP / privgen, RDP: {taken['dp-accounting, RDP'] / taken['privgen, RDP']:.1f}")
    _command()
    _search()


def _ours(accountant: str) -> Callable[[], float]:
    from planners import solve_noise_multiplier

    return lambda: solve_noise_multiplier(
        epsilon=EPSILON, delta=DELTA, sampling_rate=Q, iterations=STEPS, accountant=accountant
    )


def _dp_accounting(kind: str) -> Callable[[], float]:
    import dp_accounting
    from dp_accounting.pld import PLDAccountant
    from dp_accounting.rdp import RdpAccountant

    def event(z: float) -> dp_accounting.DpEvent:
        one = dp_accounting.PoissonSampledDpEvent(Q, dp_accounting.GaussianDpEvent(z))
        return dp_accounting.SelfComposedDpEvent(one, STEPS)

    return lambda: dp_accounting.calibrate_dp_mechanism(
        RdpAccountant if kind == "rdp" else PLDAccountant,
        event,
        EPSILON,
        DELTA,
        bracket_interval=dp_accounting.ExplicitBracketInterval(0.3, 3.0),
        tol=1e-4,
    )


def _opacus() -> float:
    from opacus.accountants.utils import get_noise_multiplier

    return float(
        get_noise_multiplier(target_epsilon=EPSILON, target_delta=DELTA, sample_rate=Q, steps=STEPS, accountant="prv")
    )


def _command() -> None:
    taken = []
    for _ in range(3):
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", "from privgen.cli import main; main()", "plan", "--epsilon", "10"],
            check=True,
            capture_output=True,
        )
        taken.append(time.perf_counter() - begun)
    print(f"privgen plan --epsilon 10, from a cold start: {min(taken):.2f} to {max(taken):.2f} s")


def _search() -> None:
    from planners import joint_search

    begun = time.perf_counter()
    found = joint_search(epsilon=10.0, delta=1e-6, dataset_size=60000, bands=4, max_iterations=5000)
    print(f"joint search, {len(found.front)} choices on the front: {time.perf_counter() - begun:.2f} s")


if __name__ == "__main__":
    main()
