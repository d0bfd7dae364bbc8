"""The joint search: every choice keeps the budget, the front is a front, and limits are limits."""

import itertools

import pytest

from accountant import BandedGaussian, RdpAccountant
from accountant.errors import InvalidValue
from planners import Choice, ImpossiblePlan, StepCost, joint_search
from planners.pareto import FEWEST_STEPS, pareto_front

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
