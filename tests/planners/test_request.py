"""`PlanRequest`: one frozen value from the command line's options to the plan; nothing is lost on the way."""

import dataclasses
import inspect

import pytest
from click.testing import CliRunner

import planners
from accountant import Feedback, InvalidValue, Neighbouring
from accountant.plans.planned_method import GAN
from planners import ContradictoryRequest, PhaseShape, PlanRequest, plan, plan_of
from privgen.catalogue import DATASETS
from privgen.cli import main

FIELDS = {field.name: field for field in dataclasses.fields(PlanRequest)}


def test_the_keyword_form_takes_what_a_request_holds_with_the_same_defaults():
    taken = inspect.signature(plan).parameters
    assert list(taken) == list(FIELDS)
    for name, field in FIELDS.items():
        missing = field.default is dataclasses.MISSING
        assert taken[name].default == (inspect.Parameter.empty if missing else field.default)


def test_the_keyword_form_and_the_request_give_one_plan():
    given = {"epsilon": 3.0, "dataset_size": 2000, "batch_size": 100.0, "iterations": 40, "bands": 2}
    assert plan(**given) == plan_of(PlanRequest(**given))


def test_every_option_of_the_command_line_arrives_in_the_request(monkeypatch):
    arguments = {
        "--epsilon": 3.0, "--delta": 1e-6, "--dataset-size": 2000, "--sampling-rate": 0.05, "--iterations": 40,
        "--noise-multiplier": 2.0, "--feedback": "banded", "--bands": 2, "--residual-ratio": 0.5,
        "--phases": "0.5:1.5,0.5:1.0", "--warm-start": 0.25, "--spare-releases": 2, "--spare-blocks": 3, "--share": "critic=1", "--clip-norm": 0.5,  # noqa: E501
        "--accountant": "prv", "--neighbouring": "replace-one", "--preset": "tiny",
    }  # fmt: skip
    seen = []

    def note(request):
        seen.append(request)
        raise InvalidValue("seen")

    monkeypatch.setattr("planners.plan_of", note)
    ran = CliRunner().invoke(main, ["plan", *(str(word) for pair in arguments.items() for word in pair)])
    assert ran.exit_code == 2 and "seen" in ran.output
    (request,) = seen
    expected = PlanRequest(
        epsilon=3.0, delta=1e-6, dataset_size=2000, sampling_rate=0.05, iterations=40, noise_multiplier=2.0,
        feedback=Feedback.BANDED, bands=2, residual_ratio=0.5,
        phases=(PhaseShape(share=0.5, noise=1.5), PhaseShape(share=0.5)),
        warm_start=0.25, spare_releases=2, spare_blocks=3, shares={"critic": 1.0}, clip_norm=0.5, accountant="prv",
        neighbouring=Neighbouring.REPLACE_ONE, preset="tiny",
    )  # fmt: skip
    assert request == expected
    # Whatever a request holds can be asked for; what cannot stand beside the above is asked for by itself.
    untouched = {name for name in FIELDS if getattr(request, name) == FIELDS[name].default} - {"feedback"}
    assert untouched == {"dataset", "batch_size", "feedback_ratio", "method", "public_facts"}


@pytest.mark.parametrize(
    ("option", "value", "field", "expected"),
    [
        ("--dataset", "digits", "dataset", "digits"),
        ("--dataset", "digits", "dataset_size", 1437),
        ("--dataset", "digits", "public_facts", DATASETS["digits"].facts),
        ("--batch-size", 64, "batch_size", 64.0),
        ("--method", "gan", "method", GAN),
    ],
)
def test_an_option_by_itself_arrives(monkeypatch, option, value, field, expected):
    seen = []
    monkeypatch.setattr("planners.plan_of", lambda request: seen.append(request) or planners.plan(epsilon=10.0))
    assert CliRunner().invoke(main, ["plan", "--epsilon", "1", option, str(value), "--json"]).exit_code == 0
    assert getattr(seen[0], field) == expected


def test_the_published_feedbacks_ratio_arrives(monkeypatch):
    seen = []
    monkeypatch.setattr("planners.plan_of", lambda request: seen.append(request) or planners.plan(epsilon=10.0))
    arguments = ["plan", "--epsilon", "1", "--feedback", "paper", "--feedback-ratio", "0.01", "--json"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert (seen[0].feedback, seen[0].feedback_ratio) == (Feedback.PAPER, 0.01)


def test_a_request_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PlanRequest(epsilon=1.0).epsilon = 2.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"epsilon": 0.0},
        {"delta": 0.0},
        {"dataset_size": 0},
        {"batch_size": float("nan")},
        {"batch_size": 0.0},
        {"sampling_rate": 1.1},
        {"iterations": 0},
        {"noise_multiplier": 0.0},
        {"bands": 0},
        {"residual_ratio": -1.0},
        {"accountant": "gdp"},
        {"shares": {"beauty": 1.0}},
        {"shares": {"critic": -1.0}},
        {"shares": {"classifier": 1.0}},
        {"phases": (PhaseShape(share=0.5),)},
    ],
)
def test_a_value_out_of_range_is_refused_when_the_request_is_made(wrong):
    named = next(iter(wrong)).split("_")[0].removesuffix("s")
    with pytest.raises(InvalidValue, match=f"{named}|parts"):
        PlanRequest(**{"epsilon": 1.0} | wrong)


@pytest.mark.parametrize(
    "both",
    [
        {"batch_size": 10.0, "sampling_rate": 0.1},
        {"feedback": Feedback.NONE, "bands": 2},
        {"feedback": Feedback.PAPER, "bands": 4},
        {"feedback": Feedback.BANDED, "feedback_ratio": 0.1},
        {"bands": 1, "residual_ratio": 1.0},
        {"feedback": Feedback.NONE, "residual_ratio": 1.0},
    ],
)
def test_values_that_exclude_each_other_are_refused_when_the_request_is_made(both):
    with pytest.raises(ContradictoryRequest):
        PlanRequest(epsilon=1.0, **both)
