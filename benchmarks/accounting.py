"""Time our accountants beside dp_accounting, prv_accountant and Opacus, in one process, on one thread.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/accounting.py            # everything, about two minutes
    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/accounting.py --quick    # without the calibrations

Every figure is wall time with nothing cached, the best of several repetitions where one is short: our caches are
emptied before each. A ratio is theirs ÷ ours for the same question at like precision.
"""

import argparse
import importlib
import logging
import os
import platform
import sys
import time
import warnings
from importlib.metadata import version

os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)

import dp_accounting  # noqa: E402
import numpy as np  # noqa: E402
from dp_accounting.pld import privacy_loss_distribution  # noqa: E402
from opacus.accountants import PRVAccountant as OpacusPrv  # noqa: E402
from opacus.accountants import RDPAccountant as OpacusRdp  # noqa: E402
from opacus.accountants.utils import get_noise_multiplier  # noqa: E402
from prv_accountant import PoissonSubsampledGaussianMechanism  # noqa: E402
from prv_accountant import PRVAccountant as TheirPrv  # noqa: E402
from prv_accountant.dpsgd import find_noise_multiplier  # noqa: E402

from accountant import PrvAccountant, RdpAccountant, SubsampledGaussian  # noqa: E402
from planners import solve_noise_multiplier  # noqa: E402

Q, Z, STEPS, DELTA = 256 / 60000, 1.07, 20000, 1e-5
EVENT = SubsampledGaussian(sampling_rate=Q, noise_multiplier=Z)
DP_EVENT = dp_accounting.PoissonSampledDpEvent(Q, dp_accounting.GaussianDpEvent(Z))


def forget():
    """Empty every cache of ours."""
    for name in [name for name in sys.modules if name.startswith(("accountant", "planners"))]:
        for value in vars(sys.modules[name]).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def timed(question, repetitions):
    """(seconds, answer): the best of so many cold runs."""
    best = float("inf")
    for _ in range(repetitions):
        forget()
        start = time.perf_counter()
        answer = question()
        best = min(best, time.perf_counter() - start)
    return best, answer


def one_more_step(accountant, compose, read, steps=200):
    """(seconds for composing one more step of a known event and reading ε, how many steps were timed)."""

    def question():
        compose(accountant)
        read(accountant)
        start = time.perf_counter()
        for _ in range(steps):
            compose(accountant)
            read(accountant)
        return (time.perf_counter() - start) / steps

    return min(question() for _ in range(3)), f"mean of {steps} steps"


def enclosed_by_us(z):
    """(lower, upper) by PRV at its default precision."""
    event = SubsampledGaussian(sampling_rate=Q, noise_multiplier=z)
    bounds = PrvAccountant().compose(event, STEPS).get_epsilon_bounds(DELTA)
    return bounds.lower, bounds.upper


def enclosed_by_pld(z, interval):
    """(lower, upper): optimistic by rounding down, pessimistic by connecting dots; each is its best way."""
    ends = []
    for pessimistic in (False, True):
        one = privacy_loss_distribution.from_gaussian_mechanism(
            z, sampling_prob=Q, value_discretization_interval=interval, pessimistic_estimate=pessimistic,
            use_connect_dots=pessimistic,
        )  # fmt: skip
        ends.append(one.self_compose(STEPS).get_epsilon_for_delta(DELTA))
    return tuple(ends)


def upper_by_pld(z, interval):
    one = privacy_loss_distribution.from_gaussian_mechanism(z, sampling_prob=Q, value_discretization_interval=interval)
    return None, one.self_compose(STEPS).get_epsilon_for_delta(DELTA)


def enclosed_by_their_prv(z, eps_error):
    mechanism = PoissonSubsampledGaussianMechanism(sampling_probability=Q, noise_multiplier=z)
    accountant = TheirPrv(mechanism, max_self_compositions=STEPS, eps_error=eps_error, delta_error=DELTA / 1000)
    lower, _, upper = accountant.compute_epsilon(DELTA, STEPS)
    return lower, upper


def upper_by_opacus_prv(z, eps_error):
    accountant = OpacusPrv()
    accountant.history = [(z, Q, STEPS)]
    return None, accountant.get_epsilon(DELTA, eps_error=eps_error, delta_error=DELTA / 1000)


def equal_width():
    """Lower and upper bounds of everybody, each with its error set so that it is about as wide as ours."""
    for z in (0.8, 1.0, 1.2):
        lower, upper = enclosed_by_us(z)
        half = (upper - lower) / 2
        questions = [
            ("ours, PRV, default", lambda z=z: enclosed_by_us(z), 3),
            ("dp_accounting PLD, mesh 1e-3, upper alone", lambda z=z: upper_by_pld(z, 1e-3), 3),
            ("dp_accounting PLD, mesh 1e-4, upper alone", lambda z=z: upper_by_pld(z, 1e-4), 1),
            ("dp_accounting PLD, mesh 1e-4, both ways", lambda z=z: enclosed_by_pld(z, 1e-4), 1),
            ("prv_accountant, as wide as ours", lambda z=z, half=half: enclosed_by_their_prv(z, half), 1),
            ("Opacus PRV, as wide as ours, upper alone", lambda z=z, half=half: upper_by_opacus_prv(z, half), 1),
        ]
        show_intervals(f"Equal width: q = 256/60000, T = {STEPS}, z = {z}", asked(questions))


HISTORY = [(1 + 0.5 * i / 1000, 0.01, 3) for i in range(1000)]


def long_history(kind):
    accountant = kind()
    for z, q, steps in HISTORY:
        accountant.compose(SubsampledGaussian(sampling_rate=q, noise_multiplier=z), steps)
    return accountant.get_epsilon(DELTA)


def pld(interval):
    accountant = dp_accounting.pld.PLDAccountant(value_discretization_interval=interval)
    return accountant.compose(DP_EVENT, STEPS).get_epsilon(DELTA)


def their_prv(eps_error):
    mechanism = PoissonSubsampledGaussianMechanism(sampling_probability=Q, noise_multiplier=Z)
    accountant = TheirPrv(mechanism, max_self_compositions=STEPS, eps_error=eps_error, delta_error=DELTA / 1000)
    return accountant.compute_epsilon(DELTA, STEPS)[2]


def opacus(kind):
    accountant = kind()
    accountant.history = [(Z, Q, STEPS)]
    return accountant.get_epsilon(DELTA)


def calibrated(make):
    return dp_accounting.calibrate_dp_mechanism(
        make,
        lambda z: dp_accounting.SelfComposedDpEvent(
            dp_accounting.PoissonSampledDpEvent(Q, dp_accounting.GaussianDpEvent(z)), STEPS
        ),
        10.0,
        DELTA,
        dp_accounting.LowerEndpointAndGuess(0.5, 1.0),
        tol=1e-3,
    )


def opacus_noise(kind):
    return get_noise_multiplier(
        target_epsilon=10.0, target_delta=DELTA, sample_rate=Q, steps=STEPS, accountant=kind, epsilon_tolerance=0.01
    )


def ours_noise(kind):
    return solve_noise_multiplier(epsilon=10.0, delta=DELTA, sampling_rate=Q, iterations=STEPS, accountant=kind)


def their_noise():
    return find_noise_multiplier(
        sampling_probability=Q, num_steps=STEPS, target_epsilon=10.0, target_delta=DELTA, eps_error=0.1
    )


def step_table():
    ours = one_more_step(RdpAccountant(), lambda a: a.compose(EVENT), lambda a: a.get_epsilon(DELTA))
    theirs = dp_accounting.rdp.RdpAccountant()
    dp_rdp = one_more_step(theirs, lambda a: a.compose(DP_EVENT), lambda a: a.get_epsilon(DELTA), 20)
    fresh = OpacusRdp()
    by_opacus = one_more_step(
        fresh, lambda a: a.step(noise_multiplier=Z, sample_rate=Q), lambda a: a.get_epsilon(DELTA), 20
    )
    plds = dp_accounting.pld.PLDAccountant()
    dp_pld = one_more_step(plds, lambda a: a.compose(DP_EVENT), lambda a: a.get_epsilon(DELTA), 3)
    rows = [("ours, RDP", *ours), ("dp_accounting RDP", *dp_rdp), ("Opacus RDP", *by_opacus)]
    return [*rows, ("dp_accounting PLD, 1e-4", *dp_pld)]


TIGHT = [
    ("ours, PRV, eps_error 0.01", lambda: PrvAccountant().compose(EVENT, STEPS).get_epsilon(DELTA), 3),
    ("prv_accountant, eps_error 0.01", lambda: their_prv(0.01), 1),
    ("prv_accountant, eps_error 0.1", lambda: their_prv(0.1), 2),
    ("dp_accounting PLD, 1e-3", lambda: pld(1e-3), 3),
    ("dp_accounting PLD, 1e-4", lambda: pld(1e-4), 2),
    ("Opacus PRV, its default 0.01", lambda: opacus(OpacusPrv), 1),
]
LOOSE = [
    (
        f"ours, RDP, {len(RdpAccountant().orders)} orders",
        lambda: RdpAccountant().compose(EVENT, STEPS).get_epsilon(DELTA),
        3,
    ),
    (
        "dp_accounting RDP",
        lambda: dp_accounting.rdp.RdpAccountant().compose(DP_EVENT, STEPS).get_epsilon(DELTA),
        3,
    ),
    ("Opacus RDP", lambda: opacus(OpacusRdp), 3),
]
NOISE_TIGHT = [
    ("ours, PRV", lambda: ours_noise("prv"), 2),
    ("dp_accounting PLD", lambda: calibrated(dp_accounting.pld.PLDAccountant), 1),
    ("Opacus PRV", lambda: opacus_noise("prv"), 1),
    ("prv_accountant, eps_error 0.1", their_noise, 1),
]
NOISE_LOOSE = [
    ("ours, RDP", lambda: ours_noise("rdp"), 3),
    ("dp_accounting RDP", lambda: calibrated(dp_accounting.rdp.RdpAccountant), 2),
    ("Opacus RDP", lambda: opacus_noise("rdp"), 2),
]


def show(title, rows, unit=1.0, name="s"):
    """A Markdown table; the first row is ours."""
    print(f"\n### {title}\n\n| who | time, {name} | ÷ ours | answer |\n|---|---|---|---|")
    first = rows[0][1]
    for who, seconds, answer in rows:
        said = f"{answer:.5g}" if isinstance(answer, float | np.floating) else answer
        print(f"| {who} | {seconds * unit:.3g} | {seconds / first:.1f} | {said} |")


def show_intervals(title, rows):
    """A Markdown table of intervals; the first row is ours."""
    print(f"\n### {title}\n\n| who | time, ms | ÷ ours | lower | upper | width |\n|---|---|---|---|---|---|")
    first = rows[0][1]
    for who, seconds, answer in rows:
        if isinstance(answer, str):
            print(f"| {who} | {seconds * 1e3:.1f} | | {answer} | | |")
            continue
        lower, upper = answer
        ends = ("", f"{upper:.4f}", "") if lower is None else (f"{lower:.4f}", f"{upper:.4f}", f"{upper - lower:.4f}")
        print(f"| {who} | {seconds * 1e3:.1f} | {seconds / first:.1f} | {' | '.join(ends)} |")


def asked(questions):
    """Rows of a table; a library that fails has its error as its answer."""
    rows = []
    for who, question, repetitions in questions:
        try:
            rows.append((who, *timed(question, repetitions)))
        except Exception as error:
            rows.append((who, float("nan"), f"{type(error).__name__}: {error}"[:80]))
    return rows


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="leave out the calibrations")
    quick = options.parse_args().quick
    importlib.import_module("scipy.fft")
    before = os.getloadavg()[0]
    libraries = ", ".join(f"{n} {version(n)}" for n in ("dp-accounting", "prv-accountant", "opacus", "numpy", "scipy"))
    print(f"Python {platform.python_version()}; {libraries}")
    print(f"q = 256/60000, z = {Z}, T = {STEPS}, δ = {DELTA:g}")
    equal_width()
    show(
        "1 000 different entries, three steps each",
        asked(
            [
                ("ours, PRV", lambda: long_history(PrvAccountant), 1),
                ("ours, RDP", lambda: long_history(RdpAccountant), 1),
            ]
        ),
    )
    show("One more step and its ε", step_table(), 1e6, "µs")
    show("ε of the whole, tight", asked(TIGHT))
    show("ε of the whole, Rényi", asked(LOOSE))
    if not quick:
        show("Noise multiplier for ε = 10, tight", asked(NOISE_TIGHT))
        show("Noise multiplier for ε = 10, Rényi", asked(NOISE_LOOSE))
    print(
        f"\nOMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}, {os.cpu_count()} CPUs, load {before:.2f} at the start "
        f"and {os.getloadavg()[0]:.2f} at the end (this process is 1 of it)"
    )


if __name__ == "__main__":
    main()
