"""`plan`: what is not given is chosen and explained, and what comes out keeps the budget."""

import json
from pathlib import Path

import pytest

import planners
from accountant import AccountantError, Plan, RdpAccountant, joint_noise_multiplier
from accountant.errors import InvalidValue
from accountant.plans.exact_release import grid_step_for
from planners import ContradictoryRequest, ImpossiblePlan, plan

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.json"))


def spent(made):
    accountant = RdpAccountant(neighbouring=made.neighbouring)
    for event, steps in made.caps().composition():
        accountant.new_segment().compose(event, steps)
    return accountant.get_epsilon(made.delta)


@pytest.mark.parametrize("feedback", ["banded", "none", "paper"])
@pytest.mark.parametrize("epsilon", [0.5, 3.0, 10.0])
def test_every_plan_keeps_its_budget(feedback, epsilon):
    made = plan(epsilon=epsilon, dataset="digits", dataset_size=1437, feedback=feedback)
    assert spent(made) <= epsilon
    assert made.verified.rdp == pytest.approx(spent(made), rel=1e-9)


def test_parts_together_are_the_planned_noise():
    made = plan(epsilon=10.0, dataset_size=60000, warm_start=0.0)
    assert joint_noise_multiplier(*(p.noise_multiplier for p in made.parts)) >= made.noise_multiplier * (1 - 1e-12)
    assert {p.name for p in made.parts} == {"critic", "classifier", "reconstruction"}


def test_a_share_of_zero_drops_the_part():
    made = plan(epsilon=10.0, dataset_size=60000, shares={"critic": 0.7, "classifier": 0.3, "reconstruction": 0.0})
    assert [p.name for p in made.parts] == ["critic", "classifier"]


def test_any_part_may_be_dropped_but_not_all_that_show_the_generator_images():
    made = plan(epsilon=10.0, dataset_size=60000, shares={"critic": 0.0, "reconstruction": 1.0})
    assert [p.name for p in made.parts] == ["reconstruction"]
    for shares in ({"classifier": 1.0}, {"critic": 0.0}, {}):
        with pytest.raises(InvalidValue, match="critic or reconstruction"):
            plan(epsilon=10.0, dataset_size=60000, shares=shares)


@pytest.mark.parametrize("size", [100, 1437, 60000, 162770])
def test_defaults_are_sensible_and_each_is_explained(size):
    made = plan(epsilon=10.0, dataset_size=size)
    assert made.delta <= min(1e-5, 1 / (10 * size))
    assert 0 < made.sampling_rate <= 1 / made.bands
    assert made.iterations % made.bands == 0
    assert set(made.defaults) >= {"delta", "sampling_rate", "iterations", "noise_multiplier", "bands"}


def test_what_is_given_is_kept():
    made = plan(epsilon=3.0, delta=1e-7, dataset_size=20000, batch_size=500, iterations=800, bands=2)
    assert (made.delta, made.iterations, made.bands) == (1e-7, 800, 2)
    assert made.sampling_rate == pytest.approx(500 / 20000)
    assert "iterations" not in made.defaults


def test_noise_and_rate_given_solve_for_the_steps():
    made = plan(epsilon=3.0, dataset_size=20000, batch_size=200, noise_multiplier=1.0)
    assert made.noise_multiplier == 1.0
    assert spent(made) <= 3.0


def test_three_that_overspend_are_refused():
    with pytest.raises(ImpossiblePlan):
        plan(epsilon=0.1, dataset_size=1000, batch_size=100, iterations=1000, noise_multiplier=0.5)


def test_rate_and_batch_together_are_refused():
    with pytest.raises(ContradictoryRequest):
        plan(epsilon=1.0, dataset_size=1000, batch_size=10, sampling_rate=0.5)


@pytest.mark.parametrize("wrong", [{"epsilon": 0.0}, {"epsilon": float("nan")}, {"delta": 1.0}, {"sampling_rate": 1.3}])
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(AccountantError):
        plan(**({"epsilon": 1.0, "dataset_size": 1000} | wrong))


def test_a_plan_survives_its_file(tmp_path):
    made = plan(epsilon=10.0, dataset="digits", dataset_size=1437)
    made.save(tmp_path / "plan.json")
    again = Plan.load(tmp_path / "plan.json")
    assert again == made
    assert again.digest == made.digest


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_golden_plans_keep_loading_and_keep_their_budget(path):
    loaded = Plan.load(path)
    assert spent(loaded) <= loaded.epsilon
    expected = json.loads(path.read_text())
    for part in expected["parts"]:
        # Plans of before the grid say nothing of it; they get the step that new ones have.
        part.setdefault("grid_step", grid_step_for(part["clip_norm"]))
    if "spare_blocks" not in expected:
        # Nor of what a crash may waste: nothing beside their steps.
        expected |= {"spare_blocks": 0, "caps": loaded.caps().to_json()}
        assert {cap["spare_blocks"] for cap in expected["caps"]} == {0}
    assert loaded.to_json() == expected


def test_there_are_golden_plans():
    assert len(GOLDEN) >= 4
    assert any(len(Plan.load(path).phases) > 1 for path in GOLDEN)
    # Some are of before the grid, and of before spare blocks.
    assert sum("spare_blocks" not in json.loads(path.read_text()) for path in GOLDEN) >= 4
    assert sum("grid_step" not in path.read_text() for path in GOLDEN) >= 4


@pytest.mark.parametrize("change", [{"unknown": 1}, {"schema": "privgen.plan/99"}, {"sampling_rate": 2.0}])
def test_a_changed_plan_file_is_refused(tmp_path, change):
    body = plan(epsilon=10.0, dataset_size=1437).to_json() | change
    (tmp_path / "plan.json").write_text(json.dumps(body))
    with pytest.raises(AccountantError):
        Plan.load(tmp_path / "plan.json")


def test_public_names_are_pinned():
    assert planners.__all__ == [
        "Affordable",
        "Choice",
        "ContradictoryRequest",
        "ImpossiblePlan",
        "PhaseShape",
        "Plan",
        "PlanRequest",
        "PlannerError",
        "Search",
        "StepCost",
        "affordable",
        "joint_search",
        "noise_saved",
        "plan",
        "plan_of",
        "solve_feedback_ratio",
        "solve_iterations",
        "solve_noise_multiplier",
        "solve_sampling_rate",
    ]
