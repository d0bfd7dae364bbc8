"""The curves of a report: every point is a bound by itself, and PRV's stand where a block ends."""

from itertools import pairwise

import pytest

from accountant import BandedGaussian, Budget, HiddenFeedbackGaussian, PrvAccountant, RdpAccountant
from accountant.audit.epsilon_curves import delta_over_epsilon, epsilon_over_steps, first_steps
from accountant.ledger.state import Segment

BUDGET = Budget(epsilon=3.0, delta=1e-5)
EVENT = BandedGaussian(sampling_rate=0.02, noise_multiplier=1.0, bands=4)
TWO = (Segment(EVENT, 10, 10), Segment(EVENT, 0, 7))


def composed(kind, segments):
    accountant = kind()
    for segment in segments:
        accountant.new_segment().compose(segment.event, segment.reserved)
    return accountant


def test_each_point_by_rdp_is_what_so_many_steps_cost():
    for point in epsilon_over_steps(TWO, BUDGET).rdp:
        spent = composed(RdpAccountant, first_steps(TWO, point.step)).get_epsilon(1e-5) if point.step else 0.0
        assert point.epsilon == spent


def test_points_by_prv_stand_where_nothing_more_can_be_had_for_what_is_charged():
    found = epsilon_over_steps(TWO, BUDGET).prv
    ends = {4, 8, 10, 14, 17}
    assert len(found) > 2 and {point.step for point in found} <= ends
    assert found[-1].step == 17
    assert found[-1].epsilon == composed(PrvAccountant, TWO).get_epsilon(1e-5)


def test_a_short_run_shows_every_step_and_a_long_one_is_spread_evenly():
    assert [point.step for point in epsilon_over_steps([Segment(EVENT, 3, 3)], BUDGET).rdp] == [0, 1, 2, 3]
    steps = [point.step for point in epsilon_over_steps([Segment(EVENT, 1200, 1200)], BUDGET).rdp]
    assert steps == list(range(0, 1201, 10))


def test_the_first_steps_of_a_segment_keep_what_of_them_was_committed():
    assert first_steps(TWO, 12) == (Segment(EVENT, 10, 10), Segment(EVENT, 0, 2))
    assert first_steps(TWO, 4) == (Segment(EVENT, 4, 4),)
    assert first_steps(TWO, 0) == ()


def test_nothing_charged_has_no_curve_of_delta():
    found = delta_over_epsilon([Segment(EVENT, 0, 0)], BUDGET)
    assert found.rdp == found.prv == ()


@pytest.mark.parametrize(("event", "points"), [(EVENT, 8), (
    HiddenFeedbackGaussian(sampling_rate=0.02, noise_multiplier=2.0, feedback_ratio=0.1), 4)])  # fmt: skip
def test_delta_falls_with_epsilon_and_few_points_are_taken_where_one_takes_seconds(event, points):
    found = delta_over_epsilon([Segment(event, 8, 8)], BUDGET)
    assert len(found.prv) == points
    for curve in (found.rdp, found.prv):
        assert all(a.delta > b.delta and a.epsilon < b.epsilon for a, b in pairwise(curve))
