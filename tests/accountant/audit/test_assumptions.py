"""What the theorem needs of a run is said of such a run, and of no other."""

from dataclasses import replace

import pytest

from accountant import Feedback, Part, Plan
from accountant.audit.assumptions import ON_TRUST, assumptions_of
from accountant.ledger.replay import verify_ledger


def said(assumptions, word):
    return [assumption for assumption in assumptions if word in assumption.text]


@pytest.fixture
def state(make_run, tmp_path):
    return verify_ledger(make_run(tmp_path / "run"))


def test_canaries_are_assumed_about_only_where_there_are_some(make_run, tmp_path, state):
    assert not said(assumptions_of(state), "canaries")
    planted = verify_ledger(make_run(tmp_path / "planted", genesis={"canaries": {"count": 2, "digest": "0" * 64}}))
    assert said(assumptions_of(planted), "canaries")


def test_each_feedback_has_its_own(state):
    def of(feedback, **part):
        one = Part(name="critic", clip_norm=1.0, noise_multiplier=1.0, **part)
        plan = Plan(
            epsilon=100.0, delta=1e-5, dataset_size=100, feedback=feedback, sampling_rate=0.1, iterations=1,
            noise_multiplier=1.0, parts=(one,),
        )  # fmt: skip
        return assumptions_of(replace(state, plan=plan))

    assert said(of(Feedback.BANDED), "group") and not said(of(Feedback.BANDED), "clipped to C2")
    assert said(of(Feedback.PAPER, feedback_clip_norm=1e-3), "clipped to C2")
    assert not said(of(Feedback.NONE), "group") and not said(of(Feedback.NONE), "clipped to C2")
    assert said(of(Feedback.NONE), "plan's") and not said(assumptions_of(replace(state, plan=None)), "plan's")


def test_who_wrote_the_ledger_is_trusted_checked_or_not_known(state):
    signed, unsigned = assumptions_of(state, signed=True), assumptions_of(state)
    at_hand = assumptions_of(state, private_folder_present=True)
    assert said(signed, "signer") and not said(signed, "nobody rewrote")
    assert said(at_hand, "private folder is believed") and not said(at_hand, "nobody rewrote")
    assert said(unsigned, "nobody rewrote")[0].held == ON_TRUST


def test_each_is_said_once(state):
    texts = [assumption.text for assumption in assumptions_of(state)]
    assert len(set(texts)) == len(texts)


def test_all_that_a_plan_states_of_the_data_is_named_as_public(state):
    """Classes and shape are as public as N: one record's own class among them was once not spoken of."""
    (public,) = said(assumptions_of(state), "N, the data set's name, its classes, the images' shape")
    assert public.held == ON_TRUST


def test_what_a_loss_of_one_s_own_may_reach_beside_its_record_is_on_trust(state):
    """A tensor of other records that it was written around is out of sight of every check."""
    library = assumptions_of(replace(state, genesis={**state.genesis, "writer": "privgen-library"}))
    assert said(library, "no record but the one that it is given")[0].held == ON_TRUST
    ours = assumptions_of(replace(state, genesis={**state.genesis, "writer": "privgen-training"}))
    assert not said(ours, "no record but the one that it is given")
