"""Our convolution against prv-accountant's, given the same laws and grid; exact laws; rounding."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accountant import HiddenFeedbackGaussian, Neighbouring, PrvAccountant, SubsampledGaussian
from accountant.composition.convolution import Grid, compose, discretise
from accountant.composition.gaussian import gaussian_delta, gaussian_epsilon
from accountant.composition.privacy_loss import PrivacyLoss
from accountant.errors import PrvFailure

DELTA, DELTA_ERROR, EPS_ERROR = 1e-5, 1e-8, 0.05


class Truncated:
    """A law in the form that prv-accountant's discretiser asks for."""

    pm_inf = 0.0

    def __init__(self, loss, grid):
        self.loss, self.grid = loss, grid
        low, high = loss.cdf(np.array([grid.low, grid.high]))
        self.mass = high - low

    def mean(self):
        return self.loss.mean_between(self.grid.low, self.grid.high) / self.mass

    def probability(self, a, b):
        return np.diff(self.loss.cdf(np.append(a, b[-1]).astype(np.float64))) / self.mass


def by_prv_accountant(charges, grid, *, forward):
    from prv_accountant.composers import Heterogeneous
    from prv_accountant.discretisers import CellCentred
    from prv_accountant.domain import Domain

    domain = Domain((1 - grid.half) * grid.mesh, grid.half * grid.mesh, 2 * grid.half)
    laws = [CellCentred().discretise(Truncated(PrivacyLoss(pair, forward), grid), domain) for pair, _ in charges]
    composed = Heterogeneous(laws).compute_composition([count for _, count in charges])
    lower, estimate, upper = composed.compute_epsilon(DELTA, DELTA_ERROR, EPS_ERROR)
    return [max(value, -EPS_ERROR) for value in (upper - EPS_ERROR, estimate, lower + EPS_ERROR)]


def by_us(charges, grid, *, forward):
    composed = compose([(discretise(PrivacyLoss(pair, forward), grid), count) for pair, count in charges], grid)
    return composed.epsilons((DELTA - DELTA_ERROR, DELTA, DELTA + DELTA_ERROR), least=-EPS_ERROR)


EVENTS = [
    SubsampledGaussian(sampling_rate=256 / 60000, noise_multiplier=0.65),
    SubsampledGaussian(sampling_rate=0.4, noise_multiplier=3.0),
    SubsampledGaussian(sampling_rate=1e-4, noise_multiplier=0.6),
    HiddenFeedbackGaussian(sampling_rate=0.01, noise_multiplier=1.0, feedback_ratio=0.02),
]


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("neighbouring", list(Neighbouring), ids=lambda n: n.value)
@pytest.mark.parametrize(
    "composition", [[(0, 2000)], [(1, 20)], [(2, 3000)], [(3, 300)], [(0, 500), (1, 10), (3, 50)]], ids=str
)
def test_our_convolution_says_what_prv_accountants_says(composition, neighbouring, forward):
    pytest.importorskip("prv_accountant")
    charges = [(EVENTS[index].dominating_pair(neighbouring), count) for index, count in composition]
    steps = sum(count for _, count in charges)
    mesh = EPS_ERROR / math.sqrt(steps / 2 * math.log(12 / DELTA_ERROR))
    grid = Grid.covering(reach=14.0, mesh=mesh)
    ours, theirs = (way(charges, grid, forward=forward) for way in (by_us, by_prv_accountant))
    assert ours == pytest.approx(theirs, abs=2e-6)


@settings(max_examples=25, deadline=None)
@given(
    rate=st.floats(1e-6, 1.0), noise=st.floats(0.3, 50.0), forward=st.booleans(), mesh=st.floats(1e-5, 1e-2),
    neighbouring=st.sampled_from(list(Neighbouring)),
)  # fmt: skip
def test_a_discrete_law_keeps_mass_and_mean(rate, noise, forward, mesh, neighbouring):
    pair = SubsampledGaussian(sampling_rate=rate, noise_multiplier=noise).dominating_pair(neighbouring)
    loss, grid = PrivacyLoss(pair, forward), Grid.covering(reach=10.0, mesh=mesh)
    try:
        law = discretise(loss, grid)
    except PrvFailure:
        # Nearly all of the law lies beyond the grid.
        assert loss.cdf(np.array([10.0]))[0] - loss.cdf(np.array([-10.0]))[0] < 0.1
        return
    nodes = (law.first + np.arange(len(law.masses))) * mesh + law.shift
    inside = float(np.diff(loss.cdf(np.array([grid.low, grid.high])))[0])
    assert law.masses.min() >= 0
    assert law.masses.sum() == pytest.approx(1.0, abs=1e-12)
    assert abs(law.shift) < mesh / 2
    assert float(np.dot(nodes, law.masses)) * inside == pytest.approx(loss.mean_between(grid.low, grid.high), abs=1e-9)


@pytest.mark.parametrize("forward", [True, False])
def test_masses_are_accurate_far_out_in_both_tails(forward):
    mpmath = pytest.importorskip("mpmath")
    pair = SubsampledGaussian(sampling_rate=1.0, noise_multiplier=1.0).dominating_pair(Neighbouring.ADD_OR_REMOVE_ONE)
    # Y is N(1/2, 1) in both directions.
    edges = np.array([-8.0, -7.9, 0.0, 8.8, 8.9])
    masses = PrivacyLoss(pair, forward).masses(edges)
    for a, b, mass in zip(edges, edges[1:], masses, strict=False):
        exact = mpmath.quad(lambda y: mpmath.npdf(y, 0.5, 1), [a, b])
        assert mass == pytest.approx(float(exact), rel=1e-9)


@pytest.mark.parametrize("count", [1, 2, 3, 64, 1000, 20001])
def test_gaussians_compose_to_a_gaussian(count):
    sigma = 2.0 * math.sqrt(count)
    pair = SubsampledGaussian(sampling_rate=1.0, noise_multiplier=sigma).dominating_pair(Neighbouring.ADD_OR_REMOVE_ONE)
    grid = Grid.covering(reach=8.0, mesh=2e-3 / math.sqrt(count))
    composed = compose([(discretise(PrivacyLoss(pair, forward=True), grid), count)], grid)
    exact = gaussian_delta(0.5, epsilon=1.0)
    assert composed.delta(1.0) == pytest.approx(exact, rel=1e-3)
    assert composed.epsilons([exact], least=0.0) == pytest.approx([1.0], abs=1e-3)


@pytest.mark.parametrize("mu", [0.05, 1.0, 30.0, 60.0])
def test_epsilon_is_right_from_nothing_to_thousands(mu):
    pair = SubsampledGaussian(sampling_rate=1.0, noise_multiplier=1 / mu).dominating_pair(
        Neighbouring.ADD_OR_REMOVE_ONE
    )
    exact = gaussian_epsilon(mu, delta=DELTA)
    reach = exact + 6 * mu + 3
    grid = Grid.covering(reach=reach, mesh=reach / 2e5)
    composed = compose([(discretise(PrivacyLoss(pair, forward=True), grid), 1)], grid)
    assert composed.epsilons([DELTA], least=-1.0) == pytest.approx([exact], rel=1e-4, abs=1e-4)


def test_where_the_profile_is_low_already_the_least_is_returned():
    pair = SubsampledGaussian(sampling_rate=0.001, noise_multiplier=5.0).dominating_pair(Neighbouring.ADD_OR_REMOVE_ONE)
    grid = Grid.covering(reach=4.0, mesh=1e-3)
    composed = compose([(discretise(PrivacyLoss(pair, forward=True), grid), 1)], grid)
    assert composed.epsilons([0.1], least=-0.05) == [-0.05]
    assert PrvAccountant().compose(EVENTS[2], 1).get_epsilon_bounds(0.1).upper < 1e-9
