"""What both accountants promise: limits, monotonicity, segments, purity, sound answers at the corners."""

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accountant import (
    BandedGaussian,
    HiddenFeedbackGaussian,
    InvalidValue,
    Neighbouring,
    PrvAccountant,
    RdpAccountant,
    SubsampledGaussian,
    joint_noise_multiplier,
)
from accountant.composition.gaussian import gaussian_epsilon

BOTH = pytest.mark.parametrize("kind", [RdpAccountant, PrvAccountant])


def gaussian(q, z):
    return SubsampledGaussian(sampling_rate=q, noise_multiplier=z)


@BOTH
def test_nothing_composed_costs_nothing(kind):
    assert kind().get_epsilon(1e-5) == 0.0
    assert kind().get_delta(1.0) == 0.0


@BOTH
@pytest.mark.parametrize("steps", [1, 3, 4, 5, 8, 9])
def test_n_banded_steps_cost_ceil_n_over_b_blocks_however_they_are_composed(kind, steps):
    event = BandedGaussian(sampling_rate=0.02, noise_multiplier=1.0, bands=4)
    whole = kind().compose(event, steps)
    singly = kind()
    for _ in range(steps):
        singly.compose(event)
    blocks = kind().compose(event.per_block, -(-steps // 4))
    assert whole.get_epsilon(1e-5) == singly.get_epsilon(1e-5) == blocks.get_epsilon(1e-5)


@BOTH
def test_each_segment_rounds_its_blocks_up(kind):
    event = BandedGaussian(sampling_rate=0.02, noise_multiplier=1.0, bands=4)
    two = kind().compose(event, 5).new_segment().compose(event, 3)
    assert two.get_epsilon(1e-5) == kind().compose(event.per_block, 3).get_epsilon(1e-5)
    other = gaussian(0.01, 1.0)
    between = kind().compose(event, 1).compose(other).compose(event, 1)
    expected = kind().compose(event.per_block, 2).compose(other)
    assert between.get_epsilon(1e-5) == pytest.approx(expected.get_epsilon(1e-5), rel=1e-12)


@BOTH
def test_one_band_is_plain_dp_sgd(kind):
    banded = BandedGaussian(sampling_rate=0.01, noise_multiplier=1.0, bands=1)
    assert kind().compose(banded, 70).get_epsilon(1e-5) == kind().compose(gaussian(0.01, 1.0), 70).get_epsilon(1e-5)


@BOTH
def test_reading_changes_nothing(kind):
    accountant = kind().compose(gaussian(0.01, 1.0), 100)
    first = accountant.get_epsilon(1e-5)
    accountant.get_delta(1.0)
    accountant.get_epsilon(1e-3)
    assert accountant.get_epsilon(1e-5) == first
    accountant.copy().compose(gaussian(0.5, 1.0), 100)
    assert accountant.get_epsilon(1e-5) == first


@BOTH
def test_delta_and_epsilon_are_each_others_inverse(kind):
    accountant = kind().compose(gaussian(0.01, 1.0), 500)
    epsilon = accountant.get_epsilon(1e-5)
    assert accountant.get_delta(epsilon) <= 1.2e-5
    assert accountant.get_delta(epsilon * 0.9) > 1e-5


@settings(max_examples=25, deadline=None)
@given(
    q=st.floats(1e-4, 0.5),
    z=st.floats(0.5, 20.0),
    steps=st.integers(1, 3000),
    log_delta=st.floats(-20, -3),
)
def test_epsilon_moves_the_right_way_with_every_parameter(q, z, steps, log_delta):
    delta = math.exp(log_delta)

    def epsilon(q=q, z=z, steps=steps, delta=delta):
        return RdpAccountant().compose(gaussian(q, z), steps).get_epsilon(delta)

    here = epsilon()
    assert epsilon(q=q * 1.2) >= here
    assert epsilon(z=z * 0.9) >= here
    assert epsilon(steps=steps + 1) >= here
    assert epsilon(delta=delta / 2) >= here


@settings(max_examples=15, deadline=None)
@given(q=st.floats(1e-3, 0.5), z=st.floats(0.6, 10.0), steps=st.integers(1, 500))
def test_prv_moves_the_right_way_too(q, z, steps):
    def bounds(q=q, z=z, steps=steps):
        return PrvAccountant(eps_error=0.05).compose(gaussian(q, z), steps).get_epsilon_bounds(1e-5)

    here = bounds()
    for costlier in (bounds(q=q * 1.2), bounds(z=z * 0.9), bounds(steps=2 * steps)):
        assert costlier.upper >= here.lower
        assert costlier.estimate >= here.estimate - 1e-3


@pytest.mark.parametrize("target", [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0])
def test_the_order_grid_puts_no_floor_under_epsilon(target):
    """Plain Gaussians: RDP is above the exact ε by the conversion's own loss only."""
    low, high = 1e-6, 100.0
    for _ in range(200):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if gaussian_epsilon(middle, delta=1e-5) < target else (low, middle)
    rdp = RdpAccountant().compose(gaussian(1.0, 1 / low)).get_epsilon(1e-5)
    assert target * (1 - 1e-9) <= rdp <= target * 1.2


def test_joint_release_is_the_product_of_its_gaussians():
    z = joint_noise_multiplier(1.3, 2.0, 5.0)
    apart = RdpAccountant()
    for part in (1.3, 2.0, 5.0):
        apart.compose(gaussian(1.0, part))
    together = RdpAccountant().compose(gaussian(1.0, z))
    assert together.get_epsilon(1e-5) == pytest.approx(apart.get_epsilon(1e-5), rel=1e-9)


def test_parts_of_one_draw_are_amplified_once():
    """Charging two parts of one draw as two subsampled releases is not what their joint release costs."""
    together = RdpAccountant().compose(gaussian(0.01, joint_noise_multiplier(1.0, 1.0)), 1000)
    apart = RdpAccountant().compose(gaussian(0.01, 1.0), 2000)
    assert together.get_epsilon(1e-5) > 1.2 * apart.get_epsilon(1e-5)


@pytest.mark.parametrize(
    ("event", "steps", "delta"),
    [
        (gaussian(1e-8, 1.0), 1000, 1e-5),
        (gaussian(1.0, 0.05), 10, 1e-5),
        (gaussian(1.0, 1.0), 20000, 1e-5),
        (gaussian(0.5, 0.05), 10, 1e-5),
        (gaussian(0.001, 1000.0), 10**8, 1e-5),
        (gaussian(0.01, 1.0), 1000, 1e-12),
        (gaussian(0.2, 1.0), 1, 1e-300),
        (HiddenFeedbackGaussian(sampling_rate=0.01, noise_multiplier=1.0, feedback_ratio=50.0), 10, 1e-5),
    ],
)
def test_at_the_corners_prv_is_sound_or_says_that_it_fell_back(event, steps, delta):
    rdp = RdpAccountant().compose(event, steps).get_epsilon(delta)
    bounds = PrvAccountant(eps_error=0.1).compose(event, steps).get_epsilon_bounds(delta)
    assert bounds.lower <= rdp
    assert bounds.upper <= rdp * (1 + 1e-9)
    if bounds.fallback is not None:
        assert (bounds.lower, bounds.upper) == (0.0, rdp)


@pytest.mark.parametrize("delta", [1e-8, 1e-12, 1e-60, 1e-120])
def test_small_deltas_are_composed_with_the_same_relative_accuracy(delta):
    """Tilting: before, every δ below 1e-11 fell back to RDP."""
    bounds = PrvAccountant().compose(gaussian(0.01, 1.0), 1000).get_epsilon_bounds(delta)
    assert bounds.fallback is None
    assert bounds.estimate * 0.99 < bounds.lower <= bounds.upper <= bounds.estimate * 1.003
    assert bounds.upper < 0.99 * RdpAccountant().compose(gaussian(0.01, 1.0), 1000).get_epsilon(delta)


def test_a_delta_beyond_double_precision_falls_back_and_says_why():
    accountant = PrvAccountant().compose(gaussian(0.01, 1.0), 1000)
    bounds = accountant.get_epsilon_bounds(1e-300)
    assert "double precision" in bounds.fallback
    assert bounds.upper == RdpAccountant().compose(gaussian(0.01, 1.0), 1000).get_epsilon(1e-300)


@BOTH
def test_phases_with_other_noise_compose(kind):
    mixed = kind().compose(gaussian(0.02, 1.0), 300).compose(gaussian(0.01, 2.0), 700)
    quieter = kind().compose(gaussian(0.02, 1.0), 300)
    louder = kind().compose(gaussian(0.02, 1.0), 1000)
    assert quieter.get_epsilon(1e-5) < mixed.get_epsilon(1e-5) < louder.get_epsilon(1e-5)


@BOTH
def test_replace_one_costs_more_than_add_or_remove_one_and_no_more_than_twice_the_shift(kind):
    event = gaussian(0.02, 1.0)
    replaced = kind(Neighbouring.REPLACE_ONE).compose(event, 200).get_epsilon(1e-5)
    plain = kind().compose(event, 200).get_epsilon(1e-5)
    doubled = kind().compose(gaussian(0.02, 0.5), 200).get_epsilon(1e-5)
    assert plain < replaced < doubled


@BOTH
@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan, 2.0])
def test_delta_out_of_range_is_refused(kind, delta):
    with pytest.raises(InvalidValue, match="delta"):
        kind().get_epsilon(delta)


@BOTH
@pytest.mark.parametrize("count", [-1, 1.5, True])
def test_a_count_that_is_none_is_refused_and_charges_nothing(kind, count):
    accountant = kind()
    with pytest.raises(InvalidValue, match="count"):
        accountant.compose(gaussian(0.1, 1.0), count)
    assert accountant.get_epsilon(1e-5) == 0.0


@BOTH
def test_something_that_is_no_event_is_refused(kind):
    with pytest.raises(InvalidValue, match="event"):
        kind().compose("dp-sgd")


def test_one_more_step_and_its_epsilon_are_cheap():
    """The target is 50 µs; the bound here only catches a curve that is computed anew (milliseconds)."""
    event = gaussian(0.01, 1.0)
    accountant = RdpAccountant().compose(event)
    accountant.get_epsilon(1e-5)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(200):
            accountant.compose(event).get_epsilon(1e-5)
        times.append((time.perf_counter() - start) / 200)
    assert min(times) < 1e-3
