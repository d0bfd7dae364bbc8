"""What the bounds trust scipy and numpy with, measured against arb: less than half of what is allowed."""

import numpy as np
import pytest
from scipy.special import erfcx, ndtr

from accountant import Neighbouring, SubsampledGaussian
from accountant.composition.renyi_quadrature import Line, _far_from_one
from accountant.composition.rounding import CDF, CDF_PER_SQUARE, ELEMENTARY, SUM, U

flint = pytest.importorskip("flint")
arb = flint.arb


def worst(function, exact, points, allowed):
    """The largest relative error in units of what is allowed at each point."""
    values = function(points)
    errors = []
    for x, value, room in zip(points.tolist(), values.tolist(), allowed(points), strict=True):
        truth = exact(arb(x))
        errors.append(float((abs(arb(value) - truth) / truth).mid()) / float(room))
    return max(errors)


@pytest.fixture
def points():
    return np.random.default_rng(17)


def test_the_normal_cdf_is_twice_as_good_as_it_is_trusted_to_be(points):
    x = np.concatenate([points.uniform(-37, 0, 3000), points.uniform(-6, 6, 3000)])
    root = arb(2).sqrt()

    def exact(t):
        return (-t / root).erfc() / 2

    assert worst(ndtr, exact, x, lambda t: U * (CDF + CDF_PER_SQUARE * t * t)) < 0.5


@pytest.mark.parametrize(
    ("function", "exact", "low", "high"),
    [
        (np.exp, lambda t: t.exp(), -700, 700),
        (np.expm1, lambda t: t.expm1(), -30, 600),
        (np.log, lambda t: t.log(), 1e-300, 1e3),
        (np.log1p, lambda t: t.log1p(), -0.49, 1e6),
    ],
)
def test_elementary_functions_are_within_what_they_are_trusted_with(points, function, exact, low, high):
    x = points.uniform(low, high, 4000)
    x = np.concatenate([x, points.uniform(-0.4, 0.4, 2000), 10 ** points.uniform(-15, -1, 1000)])
    x = x[(x > low) & (x < high) & (x != 0)]
    assert worst(function, exact, x, lambda t: np.full(t.shape, ELEMENTARY * U)) <= 0.51


def test_scaled_erfc_is_within_what_mills_ratio_is_trusted_with(points):
    x = points.uniform(-3.6, 30, 4000)

    def exact(t):
        return (t * t).exp() * t.erfc()

    # The exponent's own digits: x² of them for negative x.
    assert worst(erfcx, exact, x, lambda t: U * (32 + 4 * t * t)) < 0.5


def test_a_sum_is_within_what_it_is_trusted_with(points):
    from fractions import Fraction

    values = points.random(100_003) ** 8
    exact = sum(map(Fraction, values.tolist()))
    assert abs(Fraction(float(values.sum())) - exact) <= Fraction(SUM * U / 5) * exact


@pytest.mark.parametrize("order", [3.0, 64.0, 4096.0])
def test_an_integral_far_from_one_stays_below_its_bound_whatever_its_logarithms_were_off_by(order):
    """Every logarithm moved by the whole of its own bound, towards a larger integral; no bound of ours may be passed.

    Once the far integral's added errors could be taken out without any test going red: on this machine they are not
    used up. A library that rounds worse within what it is trusted with must find them there.
    """
    event = SubsampledGaussian(sampling_rate=0.3, noise_multiplier=0.4)
    pair = event.dominating_pair(Neighbouring.ADD_OR_REMOVE_ONE)
    line = Line.covering(pair, pair.p, pair.q, order)
    assert line is not None
    strip = line.strip(order)

    def exponents(over, under, base):
        return order * over - (order - 1) * under + base

    plain = exponents(line.over.log, line.under.log, line.base)
    ((upper,), _) = _far_from_one(line, np.array([order]), plain[None], strip)
    moved = exponents(
        line.over.log + line.over.log_error, line.under.log - line.under.log_error, line.base + line.base_error
    )
    worst_case = moved.max() + np.log(np.exp(moved - moved.max()).sum() * line.step)
    assert np.isfinite(upper) and worst_case <= upper
