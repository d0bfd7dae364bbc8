"""Groups of k records, and the lemma that all dominating pairs rest on, checked where it can be computed."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from accountant import (
    BandedGaussian,
    HiddenFeedbackGaussian,
    InvalidValue,
    Neighbouring,
    PrvAccountant,
    RdpAccountant,
    SubsampledGaussian,
)
from accountant.composition.renyi import curve, default_orders
from accountant.mixtures import Mixture, MixturePair

ADD, REPLACE = Neighbouring.ADD_OR_REMOVE_ONE, Neighbouring.REPLACE_ONE
BOTH = pytest.mark.parametrize("kind", [RdpAccountant, PrvAccountant])


def gaussian(q, z):
    return SubsampledGaussian(sampling_rate=q, noise_multiplier=z)


def planar_profile(p, q, gamma, step=0.08, reach=9.0):
    """∫ (P − γQ)₊ of two mixtures [(weight, (x, y)), ...] of unit Gaussians in the plane, on a grid."""
    axis = np.arange(-reach, reach, step)
    x, y = np.meshgrid(axis, axis)

    def density(mixture):
        return sum(w * np.exp(-((x - m[0]) ** 2 + (y - m[1]) ** 2) / 2) / (2 * math.pi) for w, m in mixture)

    return float(np.maximum(density(p) - gamma * density(q), 0).sum() * step**2)


def line_profile(p, q, gamma, step=0.002, reach=12.0):
    """The same of mixtures [(weight, mean), ...] on the line."""
    x = np.arange(-reach, reach, step)

    def density(mixture):
        return sum(w * np.exp(-((x - m) ** 2) / 2) / math.sqrt(2 * math.pi) for w, m in mixture)

    return float(np.maximum(density(p) - gamma * density(q), 0).sum() * step)


@pytest.mark.parametrize("seed", range(8))
def test_lemma_1_mixtures_in_the_plane_are_dominated_by_mixtures_on_the_line(seed):
    """(1−q) N(a) + q N(a+v) against (1−q) N(b) + q N(b+w), |a−b| <= ρ and |v|, |w| <= 1: in any direction."""
    rng = np.random.default_rng(seed)
    rho, q = rng.uniform(0, 2), rng.uniform(0.05, 0.9)

    def arrow(length):
        angle = rng.uniform(0, 2 * math.pi)
        return length * np.array([math.cos(angle), math.sin(angle)])

    a, b = arrow(rho / 2), arrow(rho / 2)
    v, w = arrow(rng.uniform(0.3, 1)), arrow(rng.uniform(0.3, 1))
    p_plane, q_plane = [(1 - q, a), (q, a + v)], [(1 - q, b), (q, b + w)]
    p_line, q_line = [(1 - q, rho / 2), (q, rho / 2 + 1)], [(1 - q, -rho / 2), (q, -rho / 2 - 1)]
    for gamma in (0.2, 0.7, 1.0, 1.5, 4.0, 20.0):
        assert planar_profile(p_plane, q_plane, gamma) <= line_profile(p_line, q_line, gamma) + 2e-5


@pytest.mark.parametrize("seed", range(4))
def test_lemma_1_groups_in_the_plane(seed):
    """Two records with gradients in any direction against none."""
    rng = np.random.default_rng(seed)
    q, angles = rng.uniform(0.1, 0.8), rng.uniform(0, 2 * math.pi, 2)
    u, v = (np.array([math.cos(t), math.sin(t)]) for t in angles)
    zero = np.zeros(2)
    p_plane = [((1 - q) ** 2, zero), (q * (1 - q), u), (q * (1 - q), v), (q * q, u + v)]
    p_line = [((1 - q) ** 2, 0.0), (2 * q * (1 - q), 1.0), (q * q, 2.0)]
    for gamma in (0.3, 1.0, 2.0, 10.0):
        for plane, line in [
            ((p_plane, [(1, zero)]), (p_line, [(1, 0.0)])),
            (([(1, zero)], p_plane), ([(1, 0.0)], p_line)),
        ]:
            assert planar_profile(*plane, gamma) <= line_profile(*line, gamma) + 2e-5


@pytest.mark.parametrize("k", [2, 3, 7])
def test_a_group_is_dp_accountings_mixture_of_gaussians(k):
    """Ganesh 2024 (arXiv 2401.10294): PLD of Σ Binom(k, q)(j) N(j) against N(0), pessimistic."""
    dp = pytest.importorskip("dp_accounting")
    q, z, steps = 0.01, 2.0, 300
    weights = [math.comb(k, j) * q**j * (1 - q) ** (k - j) for j in range(k + 1)]
    theirs = dp.pld.PLDAccountant(value_discretization_interval=1e-3)
    theirs.compose(dp.dp_event.MixtureOfGaussiansDpEvent(z, list(range(k + 1)), weights), steps)
    upper = theirs.get_epsilon(1e-5)
    bounds = PrvAccountant(group_size=k).compose(gaussian(q, z), steps).get_epsilon_bounds(1e-5)
    assert bounds.lower <= upper <= RdpAccountant(group_size=k).compose(gaussian(q, z), steps).get_epsilon(1e-5)
    assert bounds.estimate == pytest.approx(upper, abs=2e-3)


@BOTH
@pytest.mark.parametrize("neighbouring", [ADD, REPLACE])
def test_one_record_is_a_group_of_one(kind, neighbouring):
    one = kind(neighbouring, group_size=1).compose(gaussian(0.02, 1.0), 50).get_epsilon(1e-5)
    assert one == kind(neighbouring).compose(gaussian(0.02, 1.0), 50).get_epsilon(1e-5)


@BOTH
@pytest.mark.parametrize(
    "event",
    [
        gaussian(0.02, 3.0),
        BandedGaussian(sampling_rate=0.005, noise_multiplier=3.0, bands=4),
        HiddenFeedbackGaussian(sampling_rate=0.02, noise_multiplier=3.0, feedback_ratio=0.05),
    ],
)
def test_larger_groups_cost_more(kind, event):
    for neighbouring in (ADD, REPLACE):
        epsilons = [kind(neighbouring, group_size=k).compose(event, 40).get_epsilon(1e-5) for k in (1, 2, 4)]
        assert epsilons[0] < epsilons[1] < epsilons[2]


@BOTH
def test_a_group_of_every_record_in_every_batch_is_one_record_k_times_as_heavy(kind):
    group = kind(group_size=3).compose(gaussian(1.0, 6.0), 10).get_epsilon(1e-5)
    assert group == pytest.approx(kind().compose(gaussian(1.0, 2.0), 10).get_epsilon(1e-5), rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(q=st.floats(1e-4, 0.9), z=st.floats(0.5, 20.0), k=st.integers(2, 5))
def test_theorem_8_k_charges_at_less_noise_cover_a_group_in_one_band(q, z, k):
    """The banded charge for records in k bands covers the case that all are in one: noise splitting."""
    orders = np.array([1.1, 1.5, 2.0, 4.0, 8.0])
    together = curve(gaussian(q, z), ADD, orders, k)
    apart = k * curve(gaussian(q, z / math.sqrt(k)), ADD, orders)
    known = np.isfinite(together)
    assert known[:3].all()
    assert (together[known] <= apart[known] * (1 + 1e-9)).all()


def test_a_banded_group_is_charged_k_blocks_at_less_noise():
    event = BandedGaussian(sampling_rate=0.01, noise_multiplier=2.0, bands=4)
    group = RdpAccountant(group_size=4).compose(event, 9)
    expected = RdpAccountant().compose(gaussian(0.04, 1.0), 3 * 4)
    assert group.get_epsilon(1e-5) == pytest.approx(expected.get_epsilon(1e-5), rel=1e-12)
    assert RdpAccountant(group_size=4).compose(event, 9).copy().get_epsilon(1e-5) == group.get_epsilon(1e-5)


def test_the_mixture_of_a_group_has_binomial_weights():
    pair = gaussian(0.3, 1.0).dominating_pair(REPLACE, 3)
    assert pair.p.components == tuple(
        (pytest.approx(math.comb(3, j) * 0.3**j * 0.7 ** (3 - j), rel=1e-12), float(j)) for j in range(4)
    )
    assert pair.q == pair.p.mirrored()


@pytest.mark.parametrize("order", [1.05, 1.5, 3.0, 9.0])
@pytest.mark.parametrize(("q", "z", "k"), [(0.1, 1.7, 4), (1e-6, 1.0, 3), (0.5, 0.4, 2), (0.3, 30.0, 6)])
def test_a_groups_curve_agrees_with_mpmath_and_is_never_below(q, z, k, order):
    """∫ P^α Q^(1−α) − Q − α (P − Q) with 25 digits, in both orders."""
    with mpmath.workdps(25):
        one = mpmath.mpf(q)
        weights = [mpmath.binomial(k, j) * one**j * (1 - one) ** (k - j) for j in range(k + 1)]
        sigma, alpha = mpmath.mpf(z), mpmath.mpf(order)

        def mixture(x):
            return sum(w * mpmath.npdf(x, j, sigma) for j, w in enumerate(weights))

        def tail(p, q):
            return p**alpha * q ** (1 - alpha) - q - alpha * (p - q)

        low, high = -(alpha - 1) * k - 15 * sigma, alpha * k + 15 * sigma
        points = [low + (high - low) * i / 24 for i in range(25)]
        forward = mpmath.quad(lambda x: tail(mixture(x), mpmath.npdf(x, 0, sigma)), points)
        backward = mpmath.quad(lambda x: tail(mpmath.npdf(x, 0, sigma), mixture(x)), points)
        exact = float(mpmath.log1p(max(forward, backward)) / (alpha - 1))
    mine = float(curve(gaussian(q, z), ADD, np.array([order]), k)[0])
    assert exact <= mine == pytest.approx(exact, rel=1e-9)


def test_a_mixture_pair_of_any_size_has_a_consistent_distribution():
    pair = MixturePair(p=Mixture(((0.5, 0.0), (0.3, 1.0), (0.2, 2.0))), q=Mixture(((1.0, 0.0),)), sigma=1.0)
    x = np.linspace(-8, 10, 40001)
    density = np.exp(pair.log_density(pair.p, x))
    assert density.sum() * (x[1] - x[0]) == pytest.approx(1.0, abs=1e-6)
    assert pair.cdf(pair.p, np.array([1.0]))[0] == pytest.approx(0.5 * ndtr(1.0) + 0.3 * 0.5 + 0.2 * ndtr(-1.0))
    assert (np.diff(pair.log_ratio(x)) >= 0).all()


@BOTH
@pytest.mark.parametrize("k", [0, -1, 1.5, True])
def test_a_group_that_is_none_is_refused(kind, k):
    with pytest.raises(InvalidValue, match="group_size"):
        kind(group_size=k)


@pytest.mark.parametrize("k", [1, 3])
def test_hidden_feedback_under_replace_one_is_the_mirrored_mixture_around_half_of_rho(k):
    """α = 2 in closed form: ∫ P²/Q by quadrature on the line, with its own densities."""
    q, z, rho = 0.2, 1.5, 0.8
    x = np.linspace(-30, 30, 60001)
    weights = [math.comb(k, j) * q**j * (1 - q) ** (k - j) for j in range(k + 1)]
    p = sum(w * np.exp(-((x - rho / 2 - j) ** 2) / (2 * z * z)) for j, w in enumerate(weights))
    p /= z * math.sqrt(2 * math.pi)
    exact = math.log(float((p**2 / p[::-1]).sum() * 0.001))
    event = HiddenFeedbackGaussian(sampling_rate=q, noise_multiplier=z, feedback_ratio=rho)
    assert float(curve(event, REPLACE, np.array([2.0]), k)[0]) == pytest.approx(exact, rel=1e-6)


def test_huge_groups_are_bounded_or_infinite_but_never_nan():
    values = curve(gaussian(1e-6, 1.0), ADD, default_orders(), 200)
    assert not np.isnan(values).any()
    assert (values > 0).all()
