"""The joint search: every choice keeps the budget, the front is a front, and limits are limits."""

import itertools

import pytest

from accountant import BandedGaussian, RdpAccountant
from accountant.errors import InvalidValue
from planners import Choice, ImpossiblePlan, PhaseShape, StepCost, joint_search
from planners import delay as delays
from planners.joint_search import BANDS, FEWEST_STEPS, RESIDUALS, pareto_front

KNOWN = {"epsilon": 10.0, "delta": 1e-6, "dataset_size": 60000, "bands": 4}
COST = StepCost(fixed=0.2, per_record=0.004)


@pytest.fixture(scope="module")
def found():
    return joint_search(**KNOWN, max_iterations=1000)


def test_every_choice_keeps_the_budget(found):
    for choice in found.front:
        event = BandedGaussian(
            sampling_rate=choice.batch_size / 60000, noise_multiplier=choice.noise_multiplier, bands=4
        )
        assert RdpAccountant().compose(event, choice.iterations).get_epsilon(1e-6) <= 10.0


def test_on_the_front_more_compute_always_buys_more(found):
    for cheaper, dearer in itertools.pairwise(found.front):
        assert cheaper.compute < dearer.compute
        assert cheaper.proxy < dearer.proxy


def test_the_recommendation_is_the_cheapest_that_is_nearly_the_best(found):
    best = max(c.proxy for c in found.front)
    assert found.recommended.proxy >= 0.95 * best
    assert all(c.proxy < 0.95 * best for c in found.front if c.compute < found.recommended.compute)


def test_no_choice_passes_the_limits():
    for choice in joint_search(**KNOWN, max_iterations=700, seconds=900.0, cost=COST).front:
        assert FEWEST_STEPS <= choice.iterations <= 700
        assert choice.compute <= 900.0
        assert choice.iterations % 4 == 0


def test_a_short_time_allows_few_steps_and_says_so():
    search = joint_search(**KNOWN, seconds=60.0, cost=COST)
    assert search.recommended.iterations < FEWEST_STEPS
    assert "too few" in search.reason


def test_a_short_limit_is_used_up_and_gets_few_bands():
    found = joint_search(**{**KNOWN, "bands": BANDS}, max_iterations=45)
    assert max(choice.iterations for choice in found.front) == 44
    assert {choice.bands for choice in found.alternatives} <= {1, 2, 4}


def test_a_time_under_one_block_is_impossible_and_says_how_long_one_takes():
    with pytest.raises(ImpossiblePlan, match="the least takes"):
        joint_search(**KNOWN, seconds=0.1, cost=COST)


def test_beaten_choices_are_not_on_the_front():
    def choice(proxy, compute):
        return Choice(
            batch_size=1, iterations=1, noise_multiplier=1.0, signal_to_noise=1.0, proxy=proxy, compute=compute
        )

    good, beaten, dear = choice(2.0, 1.0), choice(1.0, 2.0), choice(3.0, 3.0)
    assert pareto_front([dear, beaten, good]) == (good, dear)


@pytest.mark.parametrize("wrong", [{}, {"seconds": 5.0}])
def test_a_search_needs_a_limit_that_it_can_measure(wrong):
    with pytest.raises(InvalidValue):
        joint_search(**KNOWN, **wrong)


def test_small_data_sets_are_searched_too():
    search = joint_search(epsilon=3.0, delta=1e-5, dataset_size=300, bands=4, max_iterations=800)
    assert 4 * search.recommended.batch_size <= 300


@pytest.fixture(scope="module")
def banded():
    return joint_search(epsilon=10.0, delta=1e-6, dataset_size=60000, bands=BANDS, max_iterations=704)


def test_bands_and_r_are_searched_and_every_choice_keeps_the_budget(banded):
    assert {choice.bands for choice in banded.front} > {1}
    for choice in (*banded.front[::3], *banded.alternatives):
        event = BandedGaussian(
            sampling_rate=choice.batch_size / 60000, noise_multiplier=choice.noise_multiplier, bands=choice.bands
        )
        assert RdpAccountant().compose(event, choice.iterations).get_epsilon(1e-6) <= 10.0


def test_beside_the_recommendation_all_bands_that_fit_are_shown_with_what_they_save_and_delay(banded):
    chosen = banded.recommended
    assert chosen in banded.alternatives
    assert {(c.batch_size, c.iterations) for c in banded.alternatives} == {(chosen.batch_size, chosen.iterations)}
    for choice in banded.alternatives:
        assert choice.delay == delays.mean_delay(choice.bands, choice.residual_ratio)
        if choice.bands > 1:
            assert len([c for c in banded.alternatives if c.bands == choice.bands]) == len(RESIDUALS)
    least = [c for c in banded.alternatives if c.residual_ratio == c.bands - 1]
    for fewer, more in itertools.pairwise(least):
        assert fewer.noise_saved < more.noise_saved
        assert fewer.delay < more.delay


@pytest.mark.parametrize(("weight", "bands"), [(0.0, 16), (1e6, 1)])
def test_the_weight_of_delay_decides_how_many_bands(monkeypatch, weight, bands):
    monkeypatch.setattr(delays, "DELAY_WEIGHT", weight)
    found = joint_search(epsilon=10.0, delta=1e-6, dataset_size=6000, bands=BANDS, max_iterations=608)
    smallest = [c for c in found.front if c.batch_size == 64]
    assert {choice.bands for choice in smallest} == {bands}


def test_bands_that_the_data_cannot_be_divided_into_are_left_out():
    found = joint_search(epsilon=3.0, delta=1e-5, dataset_size=300, bands=BANDS, residual_ratio=1.0, max_iterations=640)
    assert all(choice.bands * choice.batch_size <= 300 for choice in found.front)
    assert {choice.residual_ratio for choice in found.alternatives} <= {0.0, 1.0}


def test_in_phases_compute_and_signal_are_those_of_all_steps():
    known = {"epsilon": 10.0, "delta": 1e-6, "dataset_size": 6000, "max_iterations": 640}
    shape = (PhaseShape(share=0.5, noise=2.0), PhaseShape(share=0.5, rate=2.0))
    for choice in joint_search(**known, phases=shape).front[:3]:
        assert choice.compute == choice.iterations * choice.batch_size * 1.5
        steps, z = choice.iterations / 2, choice.noise_multiplier
        by_phase = steps * (choice.batch_size / (2 * z)) ** 2 + steps * (2 * choice.batch_size / z) ** 2
        assert choice.proxy == pytest.approx(by_phase**0.5)
