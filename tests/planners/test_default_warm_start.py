"""A warm start is planned by default: what it costs is counted, and there are ways to have none."""

import json
import math

import pytest
from click.testing import CliRunner

from accountant import Plan, PrvAccountant, RdpAccountant, SubsampledGaussian
from accountant.errors import InvalidValue
from accountant.events import BandedGaussian
from accountant.plans.planned_method import GAN, PlannedMethod
from planners import ImpossiblePlan, plan, solve_iterations
from planners.warm_start_budget import ROUNDS
from privgen.cli import main


def planned(*arguments):
    ran = CliRunner().invoke(main, ["plan", *map(str, arguments), "--json"])
    assert ran.exit_code == 0, ran.output
    return json.loads(ran.stdout)


def charged_by(text):
    """(event, steps) that the numbers of a plan's JSON stand for, read by nothing of ours but the events."""
    charged = []
    if start := text.get("warm_start"):
        kinds = [("mean", 1), ("cluster", start["rounds"]), ("covariance", 1 + start["spare_releases"])]
        if "components" in start:
            kinds.append(("component", 1))
        charged = [
            (SubsampledGaussian(sampling_rate=1.0, noise_multiplier=start[f"{kind}_noise_multiplier"]), times)
            for kind, times in kinds
        ]
    step = BandedGaussian(
        sampling_rate=text["sampling_rate"], noise_multiplier=text["noise_multiplier"], bands=text["bands"]
    )
    return [*charged, (step, text["iterations"])]


def spent(text, accountant):
    for event, steps in charged_by(text):
        accountant.new_segment().compose(event, steps)
    return accountant.get_epsilon(text["delta"])


@pytest.mark.parametrize("options", [(), ("--dataset", "digits"), ("--dataset", "fashion-mnist")], ids=str)
@pytest.mark.parametrize("epsilon", [1, 10])
def test_the_promise_counts_warm_start_and_steps(epsilon, options):
    made = planned("--epsilon", epsilon, *options)
    assert made["warm_start"]["rounds"] == ROUNDS and made["warm_start"]["spare_releases"] == 1
    assert spent(made, RdpAccountant()) == pytest.approx(made["verified"]["rdp"], rel=1e-9)
    # Tight, and by the tighter bound too.
    assert 0.99 * epsilon < made["verified"]["rdp"] <= epsilon
    assert spent(made, PrvAccountant()) <= epsilon
    # The steps alone are not what the promise is about.
    assert spent({**made, "warm_start": None}, RdpAccountant()) < 0.95 * epsilon


def test_the_whole_tuple_is_the_critics_over_a_warm_start_and_shared_without():
    assert [part["name"] for part in planned("--epsilon", 10)["parts"]] == ["critic"]
    without = planned("--epsilon", 10, "--warm-start", 0)
    assert [part["name"] for part in without["parts"]] == ["critic", "classifier", "reconstruction"]
    assert "warm_start" not in without and "warm_start" not in without["defaults"]


def test_a_warm_start_is_followed_by_fewer_steps_and_each_choice_has_its_reason():
    made = plan(epsilon=10.0, dataset_size=60000)
    assert (made.iterations, plan(epsilon=10.0, dataset_size=60000, warm_start=0.0).iterations) == (1000, 1172)
    assert "docs/results/recipe.md" in made.defaults["warm_start"] and "0.8 of ε" in made.defaults["warm_start"]
    assert "warm start" in made.defaults["iterations"] and "warm start" in made.defaults["shares"]


def test_rate_steps_and_noise_that_are_all_given_are_verified_as_they_are():
    given = {"epsilon": 10.0, "delta": 1e-5, "batch_size": 256, "iterations": 1000, "noise_multiplier": 1.0}
    made = plan(**given)
    assert made.warm_start is None and made.defaults["warm_start"].startswith("none: rate, steps and noise are given")
    assert spent(made.to_json(), RdpAccountant()) == pytest.approx(made.verified.rdp, rel=1e-9)
    assert plan(**given, warm_start=0.2).warm_start is not None


def test_a_warm_start_that_nobody_asked_for_makes_no_plan_impossible():
    # One step of it costs 0.9 by itself: beside statistics of 0.8 there is no room for any.
    given = {"epsilon": 1.0, "delta": 1e-5, "dataset_size": 1000, "sampling_rate": 0.2, "noise_multiplier": 4.5}
    with pytest.raises(ImpossiblePlan):
        plan(**given, warm_start=GAN.warm_start)
    made = plan(**given)
    assert made.warm_start is None and "too little of ε" in made.defaults["warm_start"]
    known = {"sampling_rate": 0.2, "noise_multiplier": 4.5, "bands": made.bands}
    assert made.iterations == solve_iterations(epsilon=1.0, delta=1e-5, **known)
    with pytest.raises(ImpossiblePlan):
        plan(**{**given, "noise_multiplier": 1.0})


def test_the_published_preset_has_no_warm_start_and_is_in_the_plan():
    made = planned("--epsilon", 10, "--dataset", "digits", "--preset", "paper")
    assert made["preset"] == "paper" and "warm_start" not in made
    assert made["defaults"]["warm_start"] == "none: the published method has none"
    assert [part["name"] for part in made["parts"]] == list(GAN.parts)
    assert Plan.from_json(made).preset == "paper"
    # Who wants both says so.
    assert "warm_start" in planned("--epsilon", 10, "--preset", "paper", "--warm-start", 0.4)


def test_a_plan_without_a_preset_says_nothing_of_one_and_keeps_its_digest():
    made = plan(epsilon=10.0, dataset_size=2000)
    assert "preset" not in made.to_json()
    assert Plan.from_json(dict(made.to_json())) == made
    assert plan(epsilon=10.0, dataset_size=2000, preset="tiny").digest != made.digest


def test_a_preset_of_another_method_is_refused_by_plan():
    ran = CliRunner().invoke(main, ["plan", "--epsilon", "10", "--method", "diffusion", "--preset", "paper"])
    assert ran.exit_code == 2 and "it has tiny, small, large" in " ".join(ran.output.split())
    assert "tiny" in CliRunner().invoke(main, ["plan", "--epsilon", "10", "--preset", "huge"]).output


@pytest.mark.parametrize("wrong", [{"preset": "two words"}, {"preset": 3}])
def test_a_preset_is_a_word(wrong):
    with pytest.raises(InvalidValue, match="preset"):
        plan(epsilon=10.0, dataset_size=2000, **wrong)


@pytest.mark.parametrize("wrong", [{"warm_iterations": 0}, {"published": "two words"}])
def test_what_is_planned_of_a_method_is_in_range(wrong):
    with pytest.raises(InvalidValue):
        PlannedMethod(name="toy", shares={"toy": 1.0}, **wrong)
    with pytest.raises(InvalidValue, match="no published preset"):
        PlannedMethod(name="toy", shares={"toy": 1.0}, warm_start=0.5, needs_warm_start=True, published="paper")


def test_a_search_counts_the_warm_start_that_the_plan_has():
    made = planned("--epsilon", 10, "--dataset", "digits", "--max-iterations", 640)
    assert "warm_start" in made and spent(made, RdpAccountant()) <= 10
    published = planned("--epsilon", 10, "--dataset", "digits", "--max-iterations", 640, "--preset", "paper")
    assert "warm_start" not in published and math.isfinite(spent(published, RdpAccountant()))
    assert published["defaults"]["warm_start"] == "none: the published method has none"
