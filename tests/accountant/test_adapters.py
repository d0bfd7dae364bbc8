"""What goes out and comes back, at the cost that the other library says; and what is refused."""

import json
import sys
import warnings

import pytest

from accountant import (
    BandedGaussian,
    HiddenFeedbackGaussian,
    InvalidValue,
    Neighbouring,
    PrvAccountant,
    RdpAccountant,
    SubsampledGaussian,
    adapters,
)

dp = pytest.importorskip("dp_accounting")

PLAIN = SubsampledGaussian(sampling_rate=0.01, noise_multiplier=1.2)
BANDED = BandedGaussian(sampling_rate=0.01, noise_multiplier=1.2, bands=4)
PAPER = HiddenFeedbackGaussian(sampling_rate=0.01, noise_multiplier=1.2, feedback_ratio=0.05)


def epsilon(composition, orders=None):
    accountant = RdpAccountant(orders=orders)
    for event, steps in composition:
        accountant.new_segment().compose(event, steps)
    return accountant.get_epsilon(1e-5)


def test_a_composition_comes_back_from_dp_accounting_with_banded_steps_as_their_blocks():
    back = adapters.from_dp_event(adapters.to_dp_event([(PLAIN, 100), (BANDED, 9), (PAPER, 7)]))
    assert [(type(event), steps) for event, steps in back] == [
        (SubsampledGaussian, 100),
        (SubsampledGaussian, 3),
        (HiddenFeedbackGaussian, 7),
    ]
    assert back[:2] == ((PLAIN, 100), (BANDED.per_block, 3))
    assert back[2][0].feedback_ratio == pytest.approx(0.05)


def test_dp_accounting_says_the_same_of_what_it_is_given():
    orders = list(range(2, 64))
    composition = [(PLAIN, 300), (BANDED, 30)]
    theirs = dp.rdp.RdpAccountant(orders)
    theirs.compose(adapters.to_dp_event(composition))
    assert epsilon(composition, orders) == pytest.approx(theirs.get_epsilon(1e-5), rel=1e-6)


def test_dp_accounting_prices_the_hidden_feedback_as_we_do():
    theirs = dp.pld.PLDAccountant(value_discretization_interval=1e-3)
    theirs.compose(adapters.to_dp_event([(PAPER, 200)]))
    bounds = PrvAccountant().compose(PAPER, 200).get_epsilon_bounds(1e-5)
    assert bounds.lower <= theirs.get_epsilon(1e-5) <= bounds.upper + 0.01


def test_nested_compositions_and_tuples_from_one_draw_are_understood():
    pair = dp.ComposedDpEvent([dp.GaussianDpEvent(2.0), dp.GaussianDpEvent(2.0)])
    event = dp.SelfComposedDpEvent(
        dp.ComposedDpEvent([dp.PoissonSampledDpEvent(0.1, pair), dp.GaussianDpEvent(3.0), dp.NoOpDpEvent()]), 5
    )
    (joint, joint_steps), (whole, whole_steps) = adapters.from_dp_event(event)
    assert (joint.sampling_rate, joint.noise_multiplier) == (0.1, pytest.approx(2**0.5))
    assert whole == SubsampledGaussian(sampling_rate=1.0, noise_multiplier=3.0)
    assert (joint_steps, whole_steps) == (5, 5)
    four = dp.PoissonSampledDpEvent(0.1, dp.SelfComposedDpEvent(dp.GaussianDpEvent(2.0), 4))
    assert adapters.from_dp_event(four) == ((SubsampledGaussian(sampling_rate=0.1, noise_multiplier=1.0), 1),)


def test_a_shift_as_long_as_a_record_stays_one_and_no_shift_is_the_plain_event():
    fed = HiddenFeedbackGaussian(sampling_rate=0.01, noise_multiplier=1.0, feedback_ratio=1.0)
    ((event, _),) = adapters.from_dp_event(adapters.to_dp_event([(fed, 1)]))
    assert event == fed
    mixture = dp.dp_event.MixtureOfGaussiansDpEvent(1.5, [0.0, 1.0], [0.96, 0.04])
    assert adapters.from_dp_event(mixture) == ((SubsampledGaussian(sampling_rate=0.04, noise_multiplier=1.5), 1),)


def test_a_mixture_in_other_units_is_rescaled():
    mixture = dp.dp_event.MixtureOfGaussiansDpEvent(6.0, [1.0, 4.0], [0.9, 0.1])
    ((event, _),) = adapters.from_dp_event(mixture)
    assert event.noise_multiplier == pytest.approx(2.0)
    assert event.feedback_ratio == pytest.approx(1 / 3)
    assert event.sampling_rate == pytest.approx(0.1)


@pytest.mark.parametrize(
    "event",
    [
        dp.SampledWithoutReplacementDpEvent(1000, 10, dp.GaussianDpEvent(1.0)),
        dp.LaplaceDpEvent(1.0),
        dp.NonPrivateDpEvent(),
        dp.PoissonSampledDpEvent(0.1, dp.LaplaceDpEvent(1.0)),
        dp.PoissonSampledDpEvent(0.1, dp.ComposedDpEvent([])),
        dp.GaussianDpEvent(0.0),
        dp.dp_event.MixtureOfGaussiansDpEvent(1.0, [0.0, 1.0, 2.0], [0.5, 0.3, 0.2]),
        dp.dp_event.MixtureOfGaussiansDpEvent(1.0, [0.0, 1.0], [0.5, 0.4]),
        dp.dp_event.TruncatedSubsampledGaussianDpEvent(100, 0.1, 20, 1.0),
    ],
)
def test_what_has_no_counterpart_is_refused(event):
    with pytest.raises(InvalidValue):
        adapters.from_dp_event(dp.ComposedDpEvent([dp.GaussianDpEvent(1.0), event]))


def test_adjacencies_are_translated():
    relations = dp.NeighboringRelation
    assert adapters.neighbouring_relation(Neighbouring.REPLACE_ONE) is relations.REPLACE_ONE
    assert adapters.neighbouring_relation(Neighbouring.ADD_OR_REMOVE_ONE) is relations.ADD_OR_REMOVE_ONE


def test_an_opacus_history_goes_through_json_and_back():
    history = adapters.to_opacus_history([(PLAIN, 100), (BANDED, 9)])
    assert history == [[1.2, 0.01, 100], [1.2, 0.04, 3]]
    assert adapters.from_opacus_history(json.loads(json.dumps(history))) == ((PLAIN, 100), (BANDED.per_block, 3))
    assert adapters.from_opacus_history([(1.2, 0.01, 100.0)]) == ((PLAIN, 100),)


def test_opacus_says_the_same_of_what_it_is_given():
    pytest.importorskip("opacus")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = adapters.to_opacus_accountant([(PLAIN, 300), (BANDED, 30)])
        orders = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64))
        assert epsilon([(PLAIN, 300), (BANDED, 30)], orders) == pytest.approx(theirs.get_epsilon(1e-5), rel=1e-6)
    assert adapters.from_opacus_history(theirs.history) == ((PLAIN, 300), (BANDED.per_block, 8))


@pytest.mark.parametrize(
    "history", [[[1.0, 0.1]], ["abc"], [[0.0, 0.1, 5]], [[1.0, 0.0, 5]], [[1.0, 0.1, -1]], [[1.0, 0.1, 2.5]], [7]]
)
def test_what_is_no_history_is_refused(history):
    with pytest.raises(InvalidValue):
        adapters.from_opacus_history(history)


def test_opacus_has_no_words_for_hidden_feedback():
    with pytest.raises(InvalidValue, match="amplified"):
        adapters.to_opacus_history([(PAPER, 1)])
    with pytest.raises(InvalidValue, match="gdp"):
        adapters.to_opacus_accountant([(PLAIN, 1)], mechanism="gdp")


@pytest.mark.parametrize(
    ("call", "module"),
    [
        (lambda: adapters.to_dp_event([(PLAIN, 1)]), "dp_accounting.dp_event"),
        (lambda: adapters.from_dp_event(None), "dp_accounting.dp_event"),
        (lambda: adapters.to_opacus_accountant([(PLAIN, 1)]), "opacus.accountants"),
    ],
)
def test_a_missing_library_is_named_with_its_remedy(monkeypatch, call, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(adapters.MissingLibrary, match=r"pip install 'privgen\[adapters\]'"):
        call()


def test_something_that_is_no_event_is_refused():
    with pytest.raises(InvalidValue, match="event"):
        adapters.to_dp_event([("dp-sgd", 3)])
