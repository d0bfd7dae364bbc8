"""Planning beside other libraries, in one process: python benchmarks/planning.py

q = 256/60000, T = 20000, δ = 1e-5, ε = 10: the noise multiplier that just keeps the budget.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from planners import Search
from planners.joint_search import BANDS

Q, STEPS, DELTA, EPSILON = 256 / 60000, 20000, 1e-5, 10.0


def main() -> None:
    print(f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}, load {os.getloadavg()[0]:.2f}")
    rows = [
        ("privgen, RDP", _ours("rdp")),
        ("privgen, PRV", _ours("prv")),
        ("dp-accounting, RDP", _dp_accounting("rdp")),
        ("dp-accounting, PLD", _dp_accounting("pld")),
        ("Opacus, PRV", _opacus),
        ("prv-accountant", _prv_accountant),
    ]
    taken = {}
    for name, solve in rows:
        z, taken[name], waited = _timed(solve)
        print(f"{name:20s} z = {z:.6f}  {taken[name]:8.3f} s of processor, {waited:8.3f} s waited", flush=True)
    for other in ("dp-accounting, PLD", "Opacus, PRV", "prv-accountant"):
        print(f"{other} / privgen, PRV: {taken[other] / taken['privgen, PRV']:.1f}")
    print(f"dp-accounting, RDP / privgen, RDP: {taken['dp-accounting, RDP'] / taken['privgen, RDP']:.1f}")
    _command()
    _command("--accountant", "prv")
    for bands in (4, BANDS):
        found, processor, waited = _timed(lambda bands=bands: _search(bands))
        front = len(found.front)
        print(
            f"joint search, bands {bands}, {front} on the front: {processor:.2f} s of processor, {waited:.2f} s waited"
        )
    print(f"load {os.getloadavg()[0]:.2f}")


def _timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """The result, seconds of processor, and seconds waited for it."""
    processor, begun = time.process_time(), time.perf_counter()
    result = work()
    return result, time.process_time() - processor, time.perf_counter() - begun


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


def _prv_accountant() -> float:
    from prv_accountant.dpsgd import find_noise_multiplier

    return float(find_noise_multiplier(Q, STEPS, EPSILON, DELTA, eps_error=0.1))


def _command(*options: str) -> None:
    """A cold start, three times: the fastest."""
    taken = []
    for _ in range(3):
        before, begun = os.times(), time.perf_counter()
        subprocess.run(
            [
                sys.executable,
                "-c",
                "from privgen.cli import main; main()",
                "plan",
                "--epsilon",
                "10",
                "--warm-start",
                "0",
                *options,
            ],
            check=True,
            capture_output=True,
        )
        after = os.times()
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        taken.append((spent, time.perf_counter() - begun))
    processor, waited = min(taken)
    command = " ".join(["privgen plan --epsilon 10 --warm-start 0", *options])
    print(f"{command}, from a cold start: {processor:.2f} s of processor, {waited:.2f} s waited")


def _search(bands: int | tuple[int, ...]) -> Search:
    from planners import joint_search

    return joint_search(epsilon=10.0, delta=1e-6, dataset_size=60000, bands=bands, max_iterations=5000)


if __name__ == "__main__":
    main()
