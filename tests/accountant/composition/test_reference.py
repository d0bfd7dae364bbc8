"""Every row of the known answers that an accountant can give; tags are the row numbers."""

import math

import pytest

from accountant import (
    BandedGaussian,
    HiddenFeedbackGaussian,
    Neighbouring,
    PrvAccountant,
    RdpAccountant,
    SubsampledGaussian,
)


def gaussian(q, z):
    return SubsampledGaussian(sampling_rate=q, noise_multiplier=z)


def rdp(event, steps, delta):
    return RdpAccountant().compose(event, steps).get_epsilon(delta)


def prv(event, steps, delta, neighbouring=Neighbouring.ADD_OR_REMOVE_ONE):
    return PrvAccountant(neighbouring).compose(event, steps).get_epsilon_bounds(delta)


@pytest.mark.parametrize(
    ("row", "event", "steps", "delta", "published"),
    [
        (1, gaussian(0.04, 1.5), 2250, 1e-5, 7.32911117143),
        (7, gaussian(0.01, 0.7), 120, 1e-5, 3.2392676),
        (8, gaussian(1.0, 0.7), 2, 1e-5, 10.8602036),
    ],
)
def test_rdp_is_within_a_thousandth_of_the_published_value_and_never_above(row, event, steps, delta, published):
    mine = rdp(event, steps, delta)
    assert published * 0.999 <= mine <= published


@pytest.mark.parametrize(
    ("row", "event", "steps", "delta", "published", "relative"),
    [
        (5, gaussian(150 / 60000, 1.3), 15 * 400, 1e-5, 0.7242234026, 1e-6),
        (10, gaussian(1.0, 4.530877117), 1, 1e-6, 1.0, 1e-3),
        (22, gaussian(256 / 60000, 1.07), 20000, 1e-5, 3.299744, 1e-4),
        (23, HiddenFeedbackGaussian(sampling_rate=256 / 60000, noise_multiplier=1.0, feedback_ratio=0.006),
         4000, 1e-5, 3.176, 1e-3),
        (24, HiddenFeedbackGaussian(sampling_rate=256 / 60000, noise_multiplier=1.0, feedback_ratio=0.02),
         4000, 1e-5, 7.984, 2e-3),
        (25, gaussian(1 / 1000, 1.07 / math.sqrt(32)), 20000, 1e-5, 359.4, 1e-3),
    ],
)  # fmt: skip
def test_rdp_agrees_with_the_known_answer(row, event, steps, delta, published, relative):
    assert rdp(event, steps, delta) == pytest.approx(published, rel=relative)


def test_row_5_has_its_best_order_at_19():
    accountant = RdpAccountant().compose(gaussian(150 / 60000, 1.3), 6000)
    assert accountant.best_order(1e-5) == 19


@pytest.mark.parametrize(
    ("row", "event", "steps", "delta", "published"),
    [
        (7, gaussian(0.01, 0.7), 120, 1e-5, 2.4612381),
        (8, gaussian(1.0, 0.7), 2, 1e-5, 10.1224946),
        (12, gaussian(0.01, 0.67379294682), 1, 1e-5, 1.0),
        (16, gaussian(1.0, 1.0), 1, 1e-5, 4.377178095681),
        (19, gaussian(256 / 60000, 0.648362), 20000, 1e-5, 10.0),
        (22, gaussian(256 / 60000, 1.07), 20000, 1e-5, 3.033580),
        (23, HiddenFeedbackGaussian(sampling_rate=256 / 60000, noise_multiplier=1.0, feedback_ratio=0.006),
         4000, 1e-5, 2.922),
        (24, HiddenFeedbackGaussian(sampling_rate=256 / 60000, noise_multiplier=1.0, feedback_ratio=0.02),
         4000, 1e-5, 7.405),
    ],
)  # fmt: skip
def test_prv_bounds_hold_the_known_answer(row, event, steps, delta, published):
    bounds = prv(event, steps, delta)
    assert bounds.fallback is None
    assert bounds.lower <= published <= bounds.upper + 1e-6
    assert bounds.estimate == pytest.approx(published, abs=4e-3)


def test_row_2_prv_upper_bound_is_opacus_own():
    assert prv(gaussian(0.04, 1.5), 2249, 1e-5).upper == pytest.approx(6.777395712, abs=1e-4)


def test_row_13_delta():
    accountant = PrvAccountant().compose(gaussian(0.2, 0.5), 3)
    assert accountant.get_delta(1.0) == pytest.approx(0.15594, abs=1e-3)


def test_row_16_gaussian_is_exact():
    assert prv(gaussian(1.0, 1.0), 1, 1e-5).upper == pytest.approx(4.377178095681, abs=1e-8)


@pytest.mark.slow
def test_row_25_gs_wgan_is_not_ten():
    bounds = prv(gaussian(1 / 1000, 1.07 / math.sqrt(32)), 20000, 1e-5)
    assert 329 < bounds.lower <= bounds.upper < 329.6


@pytest.mark.parametrize(("bands", "z"), [(2, 0.572), (4, 0.640), (8, 0.731), (16, 0.861)])
def test_row_26_banded_noise_multipliers_spend_ten(bands, z):
    event = BandedGaussian(sampling_rate=256 / 60000, noise_multiplier=z + 0.001, bands=bands)
    assert prv(event, 4000, 1e-5).estimate <= 10.0
    event = BandedGaussian(sampling_rate=256 / 60000, noise_multiplier=z - 0.001, bands=bands)
    assert prv(event, 4000, 1e-5).estimate >= 10.0


def test_row_27_replace_one_is_its_own_pair_and_not_half_the_noise():
    event = BandedGaussian(sampling_rate=256 / 60000, noise_multiplier=0.572, bands=2)
    assert prv(event, 4000, 1e-5).estimate == pytest.approx(10.02, abs=0.01)
    replaced = prv(event, 4000, 1e-5, Neighbouring.REPLACE_ONE)
    assert replaced.estimate == pytest.approx(12.11, abs=0.01)
