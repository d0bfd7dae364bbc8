"""An ε that is read off while a run goes on is no guarantee to who stops the run by looking at it.

The odometer after t steps is the ε of t steps at δ. Each of these is true of a run that was *planned* with t steps. Of
a run that somebody watches, and stops as soon as its outputs give a record away at the ε that is shown just then, it is
false: with 1, 4, 16, … 4⁷ Gaussian steps to stop after, δ was 6.5e-3 where 1e-3 was said. The plan's ε is true of both,
because what a stopper releases is a function of all of the plan's outputs (docs/privacy.md, theorem 12).
"""

import math

import numpy as np
import pytest

from accountant import PrvAccountant, SubsampledGaussian
from accountant.composition.gaussian import gaussian_delta, gaussian_epsilon

DELTA, NOISE = 1e-3, 10.0
TIMES = [4**k for k in range(8)]


@pytest.fixture(scope="module")
def losses():
    """The privacy loss after each of the times, of a record in every batch: (runs, times)."""
    rng = np.random.default_rng(1)
    steps = np.diff([0, *TIMES])
    runs = 400_000
    moved = steps / NOISE + np.sqrt(steps) * rng.standard_normal((runs, len(steps)))
    total = np.cumsum(moved, axis=1)
    return total / NOISE - np.array(TIMES) / (2 * NOISE**2)


def stopped_at(losses, epsilons):
    """The loss and the ε that were shown where each run was stopped first; the last where it never was."""
    over = losses > np.array(epsilons)
    first = np.where(over.any(axis=1), over.argmax(axis=1), len(TIMES) - 1)
    rows = np.arange(len(losses))
    return losses[rows, first], np.array(epsilons)[first]


def test_stopping_by_the_odometer_breaks_what_it_shows(losses):
    """Were the ε that is shown a guarantee, E (1 − e^(ε − L))₊ at the stopping time would be at most δ."""
    shown = [gaussian_epsilon(math.sqrt(t) / NOISE, delta=DELTA) for t in TIMES]
    loss, epsilon = stopped_at(losses, shown)
    gained = np.maximum(1 - np.exp(epsilon - loss), 0.0)
    assert gained.mean() - 5 * gained.std() / math.sqrt(len(gained)) > 4 * DELTA


def test_the_plans_epsilon_holds_however_the_run_is_stopped(losses):
    """Stopped by the same rule, or by any other that sees outputs only: the plan's ε and δ."""
    planned = gaussian_epsilon(math.sqrt(TIMES[-1]) / NOISE, delta=DELTA)
    shown = [gaussian_epsilon(math.sqrt(t) / NOISE, delta=DELTA) for t in TIMES]
    for rule in (shown, [0.0] * len(TIMES), [2 * e for e in shown], [math.inf] * len(TIMES)):
        loss, _ = stopped_at(losses, rule)
        gained = np.maximum(1 - np.exp(planned - loss), 0.0)
        assert gained.mean() <= DELTA + 5 * gained.std() / math.sqrt(len(gained))
    assert gaussian_delta(math.sqrt(TIMES[-1]) / NOISE, epsilon=planned) <= DELTA * (1 + 1e-9)


def test_what_is_shown_on_the_way_is_less_than_what_the_plan_costs():
    """So that printing it as the run's ε, because somebody stopped early, would be a smaller number than is true."""
    event = SubsampledGaussian(sampling_rate=1.0, noise_multiplier=NOISE)
    way, plan = (PrvAccountant().compose(event, t).get_epsilon(DELTA) for t in (TIMES[3], TIMES[-1]))
    assert way < plan / 10
