"""Gates: what each form asks, the safe side of every number, and what cannot be asked."""

import math

import pytest

from accountant.errors import InvalidValue
from accountant.gates import Interval, judge, parse_gate, parse_gates, require_known


def met(text, found):
    (judged,) = judge((parse_gate(text),), {parse_gate(text).name: found})
    return judged.met


@pytest.mark.parametrize(
    ("text", "found", "is_met"),
    [
        ("epsilon<=10", Interval.upper(10.0), True),
        ("epsilon<=10", Interval.upper(math.nextafter(10.0, 11)), False),
        ("epsilon<=10", Interval.upper(math.inf), False),
        ("epsilon<=10", Interval.upper(math.nan), False),
        ("epsilon<=10", None, False),
        ("epsilon>=1", Interval.upper(10.0), False),
        ("gen2real>=0.8", Interval(low=0.79, high=0.85), False),
        ("gen2real>=0.8", Interval(low=0.8, high=0.85), True),
        ("gen2real<=0.8", Interval(low=0.7, high=0.85), False),
        ("gen2real>=80%", Interval.exactly(0.8), True),
        ("signed", True, True),
        ("signed", False, False),
        ("signed<=1", True, False),
        ("noise=floored-gaussian", "floored-gaussian", True),
        ("noise=floored-gaussian", "floored-gaussian, insecure-fixed-seed", False),
        ("noise", "floored-gaussian", False),
    ],
)
def test_a_gate_is_met_only_by_what_is_known_to_be_on_its_side(text, found, is_met):
    assert met(text, found) is is_met


def test_what_was_not_measured_is_not_met():
    (judged,) = judge(parse_gates("fid<=30"), {})
    assert not judged.met and judged.found == "was not measured"


def test_a_rate_is_one_name_however_it_is_written():
    assert {parse_gate(text).name for text in ("tpr@1%<=0.3", "TPR@0.01<=0.3", "tpr@ 1% <= 0.3")} == {"tpr@0.01"}


def test_a_bound_is_printed_on_the_side_that_the_gate_compares():
    lines = [one.line() for one in judge(parse_gates("a<=1,a>=0"), {"a": Interval(low=0.123456, high=0.123456 + 1e-9)})]
    assert lines == ["✓ a<=1: at most 0.1235", "✓ a>=0: at least 0.1234"]


@pytest.mark.parametrize(
    "text", ["", "epsilon<10", "epsilon<=", "epsilon<=ten", "epsilon<=inf", "a<=1<=2", "@1%<=2", "ε"]
)
def test_what_is_no_gate_is_refused_by_its_text(text):
    with pytest.raises(InvalidValue, match="gate"):
        parse_gate(text)


@pytest.mark.parametrize("text", ["epsilom<=10", "epsilon>=10", "epsilon=10", "epsilon", "signed=yes", "noise<=1"])
def test_what_nothing_could_answer_is_refused_before_anything_is_measured(text):
    with pytest.raises(InvalidValue, match="gate"):
        require_known(parse_gates(text), {"epsilon": "upper", "signed": "fact", "noise": "text"})


def test_numbers_of_a_metric_from_elsewhere_can_be_asked():
    require_known(parse_gates("mine.score>=1"), {"mine.*": "number"})
