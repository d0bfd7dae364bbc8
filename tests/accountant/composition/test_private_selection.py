"""Best of a random number of runs: against dp_accounting, against exact toy selections, and in its limits."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from accountant import InvalidValue, RandomRuns, RdpAccountant, SubsampledGaussian, search_epsilon
from accountant.composition.private_selection import search_divergences
from accountant.composition.renyi import default_orders

RUN = RdpAccountant().compose(SubsampledGaussian(sampling_rate=256 / 60000, noise_multiplier=1.07), 20000)


def test_best_of_a_geometric_number_of_ten_runs_turns_3_300_into_6_236():
    assert RUN.get_epsilon(1e-5) == pytest.approx(3.300, abs=5e-4)
    assert search_epsilon(RUN, RandomRuns(mean=10.0), delta=1e-5) == pytest.approx(6.236, abs=1e-3)


@pytest.mark.parametrize("shape", [0.0, 0.5, 1.0, 3.0, math.inf])
@pytest.mark.parametrize("mean", [1.5, 10.0, 200.0])
def test_it_is_dp_accounting_at_the_same_orders(shape, mean):
    dp = pytest.importorskip("dp_accounting")
    orders = [*range(2, 65), 80, 128, 256]
    event = SubsampledGaussian(sampling_rate=0.01, noise_multiplier=1.2)
    run = RdpAccountant(orders=orders).compose(event, 500)
    theirs = dp.rdp.RdpAccountant(orders)
    one = dp.SelfComposedDpEvent(dp.PoissonSampledDpEvent(0.01, dp.GaussianDpEvent(1.2)), 500)
    theirs.compose(dp.dp_event.RepeatAndSelectDpEvent(one, mean, shape))
    mine = search_epsilon(run, RandomRuns(mean=mean, shape=shape), delta=1e-5)
    assert mine == pytest.approx(theirs.get_epsilon(1e-5), rel=1e-6)


def generating_function(runs, x):
    """E[x^K]; K = 0 included for Poisson."""
    if runs.poisson:
        return math.exp(runs.mean * (x - 1))
    gamma, eta = runs.gamma, runs.shape
    if eta == 0:
        return math.log(1 - (1 - gamma) * x) / math.log(gamma)
    return ((1 - (1 - gamma) * x) ** -eta - 1) / (gamma**-eta - 1)


def best_of(weights, runs):
    """The law of the best of K draws from `weights`, best last, and of 'nothing' where K may be 0."""
    below = np.concatenate([[0.0], np.cumsum(weights)])
    heights = [generating_function(runs, min(x, 1.0)) for x in below]
    nothing = [heights[0]] if runs.poisson else []
    return np.array(nothing + list(np.diff(heights)))


def divergence(p, q, order):
    return float(logsumexp(order * np.log(p) + (1 - order) * np.log(q))) / (order - 1)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    spread=st.floats(0.05, 1.5),
    mean=st.floats(1.2, 50.0),
    shape=st.sampled_from([-0.5, 0.0, 1.0, 2.5, math.inf]),
)
def test_the_bound_holds_for_selections_that_can_be_computed(seed, spread, mean, shape):
    """Two laws on four scores, their exact divergences, and the exact law of the best of K."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(4)) + 1e-3
    q = p * np.exp(rng.uniform(-spread, spread, 4))
    p, q = p / p.sum(), q / q.sum()
    runs = RandomRuns(mean=mean, shape=shape)
    orders = np.array([1.05, 1.2, 1.5, 2.0, 3.0, 5.0, 9.0, 17.0, 40.0, 100.0])
    one = np.array([max(divergence(p, q, a), divergence(q, p, a)) for a in orders])
    bound = search_divergences(orders, one, runs)
    best_p, best_q = best_of(p, runs), best_of(q, runs)
    exact = np.array([max(divergence(best_p, best_q, a), divergence(best_q, best_p, a)) for a in orders])
    assert (exact <= bound + 1e-9).all()


@pytest.mark.parametrize("shape", [-0.5, 0.0, 1.0, 4.0])
def test_gamma_gives_the_mean(shape):
    runs = RandomRuns(mean=7.0, shape=shape)
    h = 1e-6
    slope = (generating_function(runs, 1.0) - generating_function(runs, 1 - h)) / h
    assert slope == pytest.approx(7.0, rel=1e-3)
    assert generating_function(runs, 1.0) == pytest.approx(1.0)


def test_a_geometric_mean_of_ten_has_gamma_a_tenth():
    assert RandomRuns(mean=10.0).gamma == pytest.approx(0.1, rel=1e-12)


@pytest.mark.parametrize("shape", [0.0, 1.0, 2.5, math.inf])
def test_draws_have_the_distribution_that_is_charged(shape):
    runs = RandomRuns(mean=3.0, shape=shape)
    generator = np.random.default_rng(5)
    draws = np.array([runs.draw(generator) for _ in range(6000)])
    assert draws.mean() == pytest.approx(3.0, rel=0.05)
    half = float(np.mean(0.5**draws))
    assert half == pytest.approx(generating_function(runs, 0.5), abs=0.01)
    assert runs.poisson or draws.min() == 1


def test_exactly_one_run_costs_what_it_costs():
    one = RandomRuns(mean=1.0)
    assert search_epsilon(RUN, one, delta=1e-5) == RUN.get_epsilon(1e-5)
    assert one.draw(np.random.default_rng(0)) == 1


@pytest.mark.parametrize("shape", [-0.5, 0.0, 1.0, math.inf])
def test_more_runs_cost_more_and_never_less_than_one(shape):
    means = [1.5, 3.0, 10.0, 100.0]
    epsilons = [search_epsilon(RUN, RandomRuns(mean=mean, shape=shape), delta=1e-5) for mean in means]
    assert RUN.get_epsilon(1e-5) < epsilons[0]
    assert epsilons == sorted(epsilons)


def test_a_run_without_a_bound_stays_without_one():
    orders = default_orders()
    for runs in (RandomRuns(mean=5.0), RandomRuns(mean=5.0, shape=math.inf)):
        assert np.isinf(search_divergences(orders, np.full(len(orders), np.inf), runs)).all()


@pytest.mark.parametrize(
    ("mean", "shape"), [(0.5, 1.0), (0.0, math.inf), (math.nan, 1.0), (math.inf, 1.0), (3.0, -1.0), (3.0, math.nan)]
)
def test_what_is_no_distribution_is_refused(mean, shape):
    with pytest.raises(InvalidValue, match="Expected"):
        RandomRuns(mean=mean, shape=shape)


def test_reading_changes_nothing():
    before = RUN.get_epsilon(1e-5)
    search_epsilon(RUN, RandomRuns(mean=10.0), delta=1e-6)
    assert RUN.get_epsilon(1e-5) == before
