"""Plans: what must agree in one, what its file holds, and what is refused at the door."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accountant import Feedback, InvalidValue, Part, Phase, Plan, PlanError
from accountant.events import BandedGaussian, HiddenFeedbackGaussian, SubsampledGaussian
from accountant.plans.plan_json import PlanJson

CRITIC = Part(name="critic", clip_norm=0.5, residual_clip_norm=0.5, noise_multiplier=1.0)


def other(plan, **changes):
    return replace(plan, **changes)


def test_a_plan_comes_back_equal_and_with_its_digest(some_plan, tmp_path):
    some_plan.save(tmp_path / "plan.json")
    again = Plan.load(tmp_path / "plan.json")
    assert again == some_plan and again.digest == some_plan.digest


def test_a_number_is_written_as_it_was_read(some_plan):
    """An integer for ε stays one: a plan that somebody wrote by hand keeps its digest."""
    whole = Plan.from_json(some_plan.to_json() | {"epsilon": 10})
    assert type(whole.epsilon) is int and Plan.from_json(whole.to_json()).digest == whole.digest


def test_what_was_not_there_is_not_written(some_plan):
    assert "warm_start" not in some_plan.to_json()
    assert set(some_plan.to_json()) == PlanJson.__required_keys__ | {"caps", "spare_blocks"}


def test_the_events_are_those_of_the_feedback(some_plan):
    assert some_plan.events() == ((BandedGaussian(sampling_rate=0.05, noise_multiplier=1.0, bands=2), 12),)
    alone = replace(CRITIC, residual_clip_norm=0.0)
    plain = other(some_plan, feedback=Feedback.NONE, bands=1, parts=(alone,))
    assert plain.events() == ((SubsampledGaussian(sampling_rate=0.05, noise_multiplier=1.0), 12),)
    fed = replace(alone, feedback_clip_norm=1e-3)
    ((event, _),) = other(some_plan, feedback=Feedback.PAPER, bands=1, parts=(fed,)).events()
    assert isinstance(event, HiddenFeedbackGaussian)
    assert event.feedback_ratio >= 2 * 1e-3 * 0.05 * 1437 / 0.5


def test_phases_scale_the_noise_of_the_parts_and_know_their_steps(some_plan):
    first = Phase(iterations=4, sampling_rate=0.05, noise_multiplier=1.0)
    second = Phase(iterations=8, sampling_rate=0.1, noise_multiplier=2.0)
    plan = other(some_plan, phases=(first, second))
    assert [plan.phase_at(step) for step in (0, 3, 4, 11, 99)] == [first, first, second, second, second]
    assert plan.parts_in(second)[0].noise_multiplier >= 2.0
    assert plan.events()[1] == (BandedGaussian(sampling_rate=0.1, noise_multiplier=2.0, bands=2), 8)


@pytest.mark.parametrize(
    "changes",
    [
        {"feedback": Feedback.NONE},
        {"bands": 1},
        {"parts": ()},
        {"parts": (CRITIC, CRITIC)},
        {"parts": (replace(CRITIC, noise_multiplier=0.999999),)},
        {"parts": (replace(CRITIC, feedback_clip_norm=0.1),)},
        {"phases": (Phase(iterations=12, sampling_rate=0.05, noise_multiplier=1.0),)},
        {"phases": (Phase(iterations=6, sampling_rate=0.05, noise_multiplier=1.0),) * 3},
        {"phases": (Phase(iterations=6, sampling_rate=0.1, noise_multiplier=1.0),) * 2},
        {"sampling_rate": 0.6},
        {"accountant": "gdp"},
        {"delta": 1.0},
        {"dataset_size": 0},
    ],
)
def test_values_that_contradict_each_other_are_refused(some_plan, changes):
    with pytest.raises((PlanError, InvalidValue)):
        other(some_plan, **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": "privgen.plan/9"}, "schema"),
        ({"surprise": 1}, "surprise"),
        ({"epsilon": "10"}, "epsilon"),
        ({"epsilon": True}, "epsilon"),
        ({"epsilon": -1.0}, "epsilon"),
        ({"iterations": 12.0}, "iterations"),
        ({"neighbouring": "next-door"}, "next-door"),
        ({"feedback": None}, "feedback"),
        ({"parts": {}}, "parts"),
        ({"parts": [1]}, "parts"),
        ({"parts": [{"name": "critic"}]}, "clip_norm"),
        ({"phases": [{"iterations": 1}]}, "phases"),
        ({"verified": {"rdp": 1.0}}, "verified"),
        ({"verified": {"rdp": 1.0, "prv": {"lower": 2.0, "estimate": 1.0, "upper": 1.5}}}, "lower"),
        ({"warm_start": {"rounds": 1}}, "warm_start"),
        ({"defaults": {"delta": 3}}, "defaults"),
        ({"dataset": 7}, "dataset"),
    ],
)
def test_a_file_that_is_no_plan_is_refused_and_the_field_is_named(some_plan, changes, said):
    with pytest.raises(PlanError, match=said):
        Plan.from_json(some_plan.to_json() | changes)


def test_a_missing_field_is_named(some_plan):
    whole = some_plan.to_json()
    for name in PlanJson.__required_keys__:
        with pytest.raises(PlanError, match=name):
            Plan.from_json({key: value for key, value in whole.items() if key != name})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(sorted(PlanJson.__required_keys__ | {"warm_start"})), value=JSON)
def test_whatever_stands_in_a_field_is_read_or_refused_and_never_a_crash(some_plan, name, value):
    try:
        read = Plan.from_json(some_plan.to_json() | {name: value})
    except PlanError:
        return
    assert json.loads(json.dumps(read.to_json())) == read.to_json()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": NaN}', '{"schema": 1, "schema": 2}', "\0"])
def test_a_damaged_file_is_one_error_with_the_remedy(tmp_path, text):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(PlanError, match="privgen plan --out"):
        Plan.load(tmp_path / "plan.json")


def test_a_missing_or_huge_file_is_one_error_with_the_remedy(tmp_path):
    with pytest.raises(PlanError, match="privgen plan --out"):
        Plan.load(tmp_path / "plan.json")
    (tmp_path / "plan.json").write_bytes(b" " * 1_000_001)
    with pytest.raises(PlanError, match="too large"):
        Plan.load(tmp_path / "plan.json")
