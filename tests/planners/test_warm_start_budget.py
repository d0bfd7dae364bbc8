"""Planning with a warm start: the whole keeps the budget, and is tight."""

from __future__ import annotations

import pytest

from accountant import Budget, Neighbouring, RdpAccountant
from accountant.errors import InvalidValue
from planners import plan, solve_iterations, solve_noise_multiplier
from planners.warm_start_budget import warm_start_within


def epsilon_of(events: tuple, neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE) -> float:
    accountant = RdpAccountant(neighbouring)
    for event, steps in events:
        accountant.new_segment().compose(event, steps)
    return accountant.get_epsilon(1e-5)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 10.0])
@pytest.mark.parametrize("neighbouring", list(Neighbouring))
def test_a_plan_with_a_warm_start_keeps_its_budget_and_leaves_little(
    epsilon: float, neighbouring: Neighbouring
) -> None:
    made = plan(
        epsilon=epsilon, delta=1e-5, dataset_size=60000, batch_size=256, iterations=400, warm_start=0.5,
        neighbouring=neighbouring,
    )  # fmt: skip
    assert 0.98 * epsilon < epsilon_of(made.caps().composition(), neighbouring) <= epsilon
    warm = made.warm_events()
    assert 0.495 * epsilon < epsilon_of(warm, neighbouring) <= 0.5 * epsilon


def test_the_steps_need_more_noise_the_more_the_warm_start_may_spend() -> None:
    request = {"epsilon": 10.0, "delta": 1e-5, "dataset_size": 60000, "batch_size": 256, "iterations": 1000}
    noises = [plan(**request, warm_start=fraction).noise_multiplier for fraction in (0.0, 0.3, 0.6, 0.9)]
    assert noises == sorted(noises)
    assert noises[1] < 1.06 * noises[0]  # what makes it worth while: composition is nearly for free here


def test_steps_and_noise_are_solved_for_beside_what_was_spent_before() -> None:
    start = warm_start_within(Budget(epsilon=4.0, delta=1e-5), fraction=0.5)
    before = tuple((release.event, 1) for release in start.releases())
    request = {"epsilon": 4.0, "delta": 1e-5, "sampling_rate": 0.01, "before": before}
    z = solve_noise_multiplier(**request, iterations=500)
    steps = solve_iterations(**request, noise_multiplier=z)
    assert 500 <= steps <= 505
    assert z > solve_noise_multiplier(epsilon=4.0, delta=1e-5, sampling_rate=0.01, iterations=500)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_a_fraction_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(InvalidValue, match="warm_start"):
        plan(epsilon=1.0, dataset_size=1000, warm_start=fraction)
