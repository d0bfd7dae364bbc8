"""What an exact release owes a plan: compared in fractions, and rounded towards privacy by a last place at most."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accountant.plans.exact_release import (
    feedback_ratio_upwards,
    grid_step_for,
    is_power_of_two,
    joint_covers,
    noise_on_grid,
    raised_to_cover,
)

NORMS = st.floats(1e-12, 1e12)
NOISES = st.floats(0.01, 1e6)
# A part feeds back nothing, or a norm that is in range.
FED = st.just(0.0) | NORMS


def below(value):
    return Fraction(math.nextafter(value, 0.0))


@given(clip=NORMS)
def test_a_grid_step_is_a_power_of_two_some_millionth_of_the_clip_norm(clip):
    step = grid_step_for(clip)
    assert is_power_of_two(step)
    assert step <= Fraction(clip) / 2**20 < 2 * Fraction(step)


@pytest.mark.parametrize(("value", "is_one"), [(1.0, True), (0.25, True), (3.0, False), (0.0, False), (-2.0, False),
                                               (math.inf, False)])  # fmt: skip
def test_a_power_of_two_is_known(value, is_one):
    assert is_power_of_two(value) is is_one


@given(z=NOISES, clip=NORMS, residual=FED, bands=st.integers(1, 64))
def test_noise_on_the_grid_is_the_least_float_that_is_enough(z, clip, residual, bands):
    step = grid_step_for(clip)
    found = noise_on_grid(noise_multiplier=z, clip_norm=clip, residual_clip_norm=residual, bands=bands, grid_step=step)
    square = Fraction(clip) ** 2 + (Fraction(residual) ** 2 / (bands - 1) if bands > 1 else 0)
    owed = square * (Fraction(z) / Fraction(step)) ** 2
    assert Fraction(found) ** 2 >= owed > below(found) ** 2


def test_one_band_pays_nothing_back_and_a_square_is_exact():
    given = {"noise_multiplier": 2.0, "clip_norm": 3.0, "residual_clip_norm": 4.0, "grid_step": 0.5}
    assert noise_on_grid(**given, bands=1) == 12.0
    assert noise_on_grid(**given, bands=2) == 20.0


@given(noises=st.lists(NOISES, min_size=1, max_size=5))
def test_raised_parts_cover_and_are_raised_by_last_places_alone(noises):
    joint = 1 / math.sqrt(sum(1 / z**2 for z in noises))
    raised = raised_to_cover(noises, joint)
    assert joint_covers(raised, joint)
    assert Fraction(joint) ** 2 * sum(1 / Fraction(z) ** 2 for z in raised) <= 1
    assert all(z <= up <= z * (1 + 1e-13) for z, up in zip(noises, raised, strict=True))


def test_what_covers_needs_no_raise_and_what_is_a_last_place_short_does_not_cover():
    assert raised_to_cover((2.0,), 2.0) == (2.0,)
    assert joint_covers([2.0], 2.0) and not joint_covers([math.nextafter(2.0, 0.0)], 2.0)


@given(parts=st.lists(st.tuples(NORMS, FED, NOISES), min_size=1, max_size=4), batch=st.floats(1, 1e6))
def test_a_feedback_ratio_is_the_least_float_that_is_not_below_it(parts, batch):
    found = feedback_ratio_upwards(parts, noise_multiplier=1.5, batch_size=batch)
    exact = (
        sum((2 * Fraction(fed) * Fraction(batch) / Fraction(clip) / Fraction(z)) ** 2 for clip, fed, z in parts)
        * Fraction(1.5) ** 2
    )
    assert Fraction(found) ** 2 >= exact
    assert exact == 0 or below(found) ** 2 < exact


@pytest.mark.parametrize("noise", [1e-170, 1e-160, 1e200])
def test_a_root_is_found_where_its_square_is_no_float(noise):
    """Where the square underflowed, the search began at 0 and went up by 5e-324 at a time, for ever."""
    given = {"noise_multiplier": noise, "clip_norm": 3.0, "residual_clip_norm": 4.0, "grid_step": 0.5}
    assert noise_on_grid(**given, bands=2) == pytest.approx(10 * noise, rel=1e-15)
