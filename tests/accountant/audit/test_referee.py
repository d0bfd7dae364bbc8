"""Second opinions agree with ours where they can say something, and a wrong figure of ours is contradicted."""

from dataclasses import replace

import pytest

from accountant import BandedGaussian, Budget, HiddenFeedbackGaussian, Neighbouring, SubsampledGaussian
from accountant.audit import referee
from accountant.audit.referee import AGREES, DISAGREES, SILENT, disagreement, second_opinions
from accountant.budget import EpsilonBounds
from accountant.composition.certified import Certified, certify

BUDGET = Budget(epsilon=1.0, delta=1e-5)
PLAIN = ((SubsampledGaussian(sampling_rate=0.01, noise_multiplier=1.0), 300),)
MIXED = (
    (BandedGaussian(sampling_rate=0.005, noise_multiplier=1.2, bands=4), 402),
    (SubsampledGaussian(sampling_rate=1.0, noise_multiplier=20.0), 3),
)


@pytest.mark.parametrize("composition", [PLAIN, MIXED], ids=["plain", "mixed"])
def test_everybody_agrees_with_a_bound_that_is_right(composition):
    own, *others = second_opinions(composition, BUDGET)
    assert [one.who for one in others] == ["prv-accountant", "dp_accounting (PLD)", "Opacus (RDP)"]
    assert all(one.status == AGREES and one.version and one.faults for one in others), others
    assert own.lower <= others[0].upper and others[0].lower <= own.upper
    assert disagreement((own, *others)) is None


def test_a_spend_that_is_too_small_is_contradicted():
    """What a fault of our convolution would look like: nine tenths of what is true."""
    right = certify(PLAIN, delta=1e-5)
    less = Certified(rdp=right.rdp, prv=EpsilonBounds(0.0, 0.0, 0.9 * right.prv.lower))
    opinions = second_opinions(PLAIN, BUDGET, less)
    assert opinions[1].status == DISAGREES
    assert "above our upper bound" in disagreement(opinions).reason


def test_an_opinion_that_is_too_small_is_contradicted(monkeypatch):
    low = replace(referee._REFEREES[2], ask=lambda *_: (None, 0.1))
    monkeypatch.setattr(referee, "_REFEREES", (low,))
    own, theirs = second_opinions(PLAIN, BUDGET)
    assert theirs.status == DISAGREES
    assert "below our lower bound" in theirs.reason
    assert own.lower > 0.1


def test_what_a_library_cannot_say_it_does_not_say():
    feedback = ((HiddenFeedbackGaussian(sampling_rate=0.01, noise_multiplier=1.0, feedback_ratio=0.01), 20),)
    statuses = {one.who: one.status for one in second_opinions(feedback, BUDGET)}
    assert statuses["prv-accountant"] == statuses["Opacus (RDP)"] == SILENT
    assert statuses["dp_accounting (PLD)"] == AGREES
    replaced = replace(BUDGET, neighbouring=Neighbouring.REPLACE_ONE)
    assert {one.status for one in second_opinions(PLAIN, replaced)[1:]} == {SILENT}


@pytest.mark.parametrize("answer", [float("nan"), RuntimeError("gave up")], ids=["nan", "error"])
def test_a_referee_that_fails_is_silent_and_no_agreement(monkeypatch, answer):
    def ask(*_):
        if isinstance(answer, Exception):
            raise answer
        return answer, answer

    monkeypatch.setattr(referee, "_REFEREES", (replace(referee._REFEREES[0], ask=ask),))
    assert second_opinions(PLAIN, BUDGET)[1].status == SILENT


def test_one_that_is_not_installed_says_so(monkeypatch):
    monkeypatch.setattr(referee, "_REFEREES", (replace(referee._REFEREES[0], package="no-such-package-here"),))
    theirs = second_opinions(PLAIN, BUDGET)[1]
    assert (theirs.status, theirs.version) == (SILENT, None)
    assert "not installed" in theirs.reason
    assert theirs.to_json()["upper"] is None
