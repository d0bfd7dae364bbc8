"""One charge's Rényi divergences against an mpmath oracle, and their limits."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accountant import BandedGaussian, HiddenFeedbackGaussian, Neighbouring, SubsampledGaussian
from accountant.composition.renyi import curve, default_orders

ADD, REPLACE = Neighbouring.ADD_OR_REMOVE_ONE, Neighbouring.REPLACE_ONE


def one(event, order, neighbouring=ADD):
    return float(curve(event, neighbouring, np.array([order]))[0])


def oracle(p, q, sigma, order):
    """D_α of two mixtures [(weight, mean), ...] with 25 digits, from ∫ P^α Q^(1−α) − Q − α(P − Q)."""
    with mpmath.workdps(25):
        sigma, order = mpmath.mpf(sigma), mpmath.mpf(order)

        def density(mixture, x):
            return sum(mpmath.mpf(w) * mpmath.npdf(x, mpmath.mpf(m), sigma) for w, m in mixture)

        def integrand(x):
            a, b = density(p, x), density(q, x)
            return a**order * b ** (1 - order) - b - order * (a - b)

        corners = [order * m - (order - 1) * n for _, m in p for _, n in q] + [0]
        low, high = min(corners) - 15 * sigma, max(corners) + 15 * sigma
        points = [low + (high - low) * k / 16 for k in range(17)]
        return mpmath.log1p(mpmath.quad(integrand, points)) / (order - 1)


@pytest.mark.parametrize(
    ("q", "z", "order", "exact"),
    [(0.04, 1.5, 3.9, 0.00183320219958381), (0.2, 1.0, 1.5, 0.0439705094500238)],
)
def test_rows_17_and_18_to_a_billionth(q, z, order, exact):
    event = SubsampledGaussian(sampling_rate=q, noise_multiplier=z)
    assert one(event, order) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("order", [1.01, 1.5, 2.0, 3.3, 7.0, 20.0])
@pytest.mark.parametrize(("q", "z"), [(1e-8, 1.0), (0.004, 0.66), (0.2, 3.0), (0.01, 0.2), (0.5, 40.0)])
def test_subsampled_gaussian_agrees_with_the_oracle_and_is_never_below(q, z, order):
    exact = oracle([(1 - q, 0), (q, 1)], [(1, 0)], z, order)
    mine = one(SubsampledGaussian(sampling_rate=q, noise_multiplier=z), order)
    assert float(exact) <= mine == pytest.approx(float(exact), rel=1e-9)


@pytest.mark.parametrize("order", [1.04, 2.5, 6.0])
@pytest.mark.parametrize(("q", "z", "rho"), [(0.0043, 1.0, 0.006), (0.1, 2.0, 0.5), (0.01, 0.7, 2.0)])
def test_hidden_feedback_is_the_larger_of_both_directions(q, z, rho, order):
    p, q_pair = [(1 - q, rho), (q, rho + 1)], [(1, 0)]
    exact = max(oracle(p, q_pair, z, order), oracle(q_pair, p, z, order))
    event = HiddenFeedbackGaussian(sampling_rate=q, noise_multiplier=z, feedback_ratio=rho)
    assert one(event, order) == pytest.approx(float(exact), rel=1e-9)


@pytest.mark.parametrize("order", [1.1, 3.0, 12.0])
@pytest.mark.parametrize(("q", "z"), [(0.0085, 0.572), (0.3, 2.0)])
def test_replace_one_is_the_mirrored_pair(q, z, order):
    exact = oracle([(1 - q, 0), (q, 1)], [(1 - q, 0), (q, -1)], z, order)
    event = SubsampledGaussian(sampling_rate=q, noise_multiplier=z)
    assert one(event, order, REPLACE) == pytest.approx(float(exact), rel=1e-9)


@pytest.mark.parametrize("order", [2, 3, 8])
def test_hidden_feedback_at_integer_orders_is_the_closed_form_of_design_3_2(order):
    q, z, rho = 0.02, 1.3, 0.3
    terms = []
    for k in range(order + 1):
        mean = (order - k) * rho + k * (rho + 1)
        exponent = (mean**2 - (order - k) * rho**2 - k * (rho + 1) ** 2) / (2 * z * z)
        terms.append(math.comb(order, k) * (1 - q) ** (order - k) * q**k * math.exp(exponent))
    closed = math.log(sum(terms)) / (order - 1)
    event = HiddenFeedbackGaussian(sampling_rate=q, noise_multiplier=z, feedback_ratio=rho)
    assert one(event, order) == pytest.approx(closed, rel=1e-9)


def test_without_feedback_the_paper_costs_what_plain_subsampling_costs():
    plain = SubsampledGaussian(sampling_rate=0.01, noise_multiplier=1.1)
    paper = HiddenFeedbackGaussian(sampling_rate=0.01, noise_multiplier=1.1, feedback_ratio=0.0)
    orders = default_orders()
    assert np.array_equal(curve(plain, ADD, orders), curve(paper, ADD, orders))


def test_every_record_in_every_batch_is_the_gaussian_mechanism():
    orders = default_orders()
    whole = curve(SubsampledGaussian(sampling_rate=1.0, noise_multiplier=2.5), ADD, orders)
    assert whole == pytest.approx(orders / (2 * 2.5**2), rel=1e-10)
    nearly = curve(SubsampledGaussian(sampling_rate=1 - 1e-12, noise_multiplier=2.5), ADD, orders[:300])
    assert nearly == pytest.approx(whole[:300], rel=1e-9)


def test_a_banded_block_costs_what_one_release_at_b_times_q_costs():
    banded = BandedGaussian(sampling_rate=0.01, noise_multiplier=1.0, bands=4)
    orders = default_orders()
    assert np.array_equal(curve(banded, ADD, orders), curve(banded.per_block, ADD, orders))


@settings(max_examples=60, deadline=None)
@given(
    q=st.floats(1e-8, 1.0),
    log_z=st.floats(math.log(0.05), math.log(1000)),
    rho=st.sampled_from([0.0, 0.001, 0.1, 3.0]),
    neighbouring=st.sampled_from([ADD, REPLACE]),
)
def test_a_curve_is_never_nan_negative_or_decreasing(q, log_z, rho, neighbouring):
    event = HiddenFeedbackGaussian(sampling_rate=q, noise_multiplier=math.exp(log_z), feedback_ratio=rho)
    values = curve(event, neighbouring, default_orders())
    assert not np.isnan(values).any()
    assert (values > 0).all()
    finite = values[np.isfinite(values)]
    assert len(finite) > 20
    assert (np.diff(finite) >= -1e-9 * finite[1:]).all()
    assert np.isinf(values[len(finite) :]).all()


@settings(max_examples=40, deadline=None)
@given(q=st.floats(1e-6, 0.9), z=st.floats(0.2, 50.0), order=st.sampled_from([1.05, 2.0, 4.5, 30.0]))
def test_a_charge_never_costs_less_with_more_sampling_or_less_noise(q, z, order):
    here = one(SubsampledGaussian(sampling_rate=q, noise_multiplier=z), order)
    assert one(SubsampledGaussian(sampling_rate=q * 1.1, noise_multiplier=z), order) >= here
    assert one(SubsampledGaussian(sampling_rate=q, noise_multiplier=z * 0.9), order) >= here
    assert one(SubsampledGaussian(sampling_rate=q, noise_multiplier=z), order, REPLACE) >= here
