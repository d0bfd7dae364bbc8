"""Replay: what a ledger says, and every order of entries that makes no sense."""

import pytest

from accountant import BandedGaussian, Ledger, LedgerBroken, LedgerError, event_to_json, verify_ledger
from accountant.ledger.state import charged

EVENT = BandedGaussian(sampling_rate=0.05, noise_multiplier=1.0, bands=2)
GENESIS = ("genesis", {"budget": {"epsilon": 10.0, "delta": 1e-5, "neighbouring": "add-or-remove-one"}})


def reserve(steps=4, segment=0, event=EVENT):
    return "reserve", {"segment": segment, "steps": steps, "event": event_to_json(event)}


def commit(steps, segment=0):
    return "commit", {"segment": segment, "steps": steps}


def checkpoint(step, name="checkpoint-0000004"):
    return "checkpoint", {"name": name, "step": step, "weights_digest": "0" * 64}


def resume(seq, *, clean, **more):
    return "resume", {"checkpoint_seq": seq, "clean": clean, **more}


def halt(steps):
    return "halt", {"reason": "done", "steps": steps}


@pytest.fixture
def state_of(tmp_path):
    def read(*entries):
        path = tmp_path / "ledger.jsonl"
        path.unlink(missing_ok=True)
        with Ledger.create(path) as ledger:
            for kind, body in entries:
                ledger.append(kind, body)
        return verify_ledger(path)

    return read


def test_committed_steps_count_as_done_and_reserved_ones_as_charged(state_of):
    state = state_of(GENESIS, reserve(4), commit(3), reserve(4))
    assert (state.steps_done, state.steps_charged) == (3, 7)
    assert charged(state.segments) == ((EVENT, 7),)


def test_a_clean_resume_goes_on_with_its_segment(state_of):
    state = state_of(GENESIS, reserve(4), commit(4), checkpoint(4), resume(3, clean=True), reserve(4))
    assert charged(state.segments) == ((EVENT, 8),)
    assert (state.resumes, state.crashes) == (1, 0)


def test_a_crash_keeps_what_was_reserved_charged_and_cuts_the_segment(state_of):
    state = state_of(GENESIS, reserve(3), commit(3), checkpoint(3), reserve(4), resume(3, clean=False), reserve(4, 1))
    assert charged(state.segments) == ((EVENT, 7), (EVENT, 4))
    assert (state.resumes, state.crashes) == (1, 1)


def test_a_resume_can_be_clean_only_from_the_head(state_of):
    with pytest.raises(LedgerBroken, match="clean resume"):
        state_of(GENESIS, reserve(4), commit(4), checkpoint(4), reserve(4), resume(3, clean=True))
    with pytest.raises(LedgerBroken, match="clean resume"):
        state_of(GENESIS, reserve(4), commit(4), checkpoint(4), resume(3, clean=True), resume(3, clean=True))


def test_only_true_makes_a_resume_clean(state_of):
    state = state_of(GENESIS, reserve(4), commit(4), checkpoint(4), resume(3, clean="yes"), reserve(4, 1))
    assert len(charged(state.segments)) == 2 and state.crashes == 1


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ((GENESIS, reserve(4), commit(5)), "commits 5 steps"),
        ((GENESIS, reserve(4), commit(3), commit(2)), "possible were 3"),
        ((GENESIS, reserve(4, segment=1)), "segment 1 of 0"),
        ((GENESIS, reserve(4), reserve(4, segment=2)), "segment 2 of 1"),
        ((GENESIS, reserve(4), commit(4, segment=1)), "not the last one"),
        ((GENESIS, reserve(0)), "steps=0"),
        ((GENESIS, reserve(True)), "steps=True"),
        ((GENESIS, reserve(4), checkpoint(4)), "reserved and not committed"),
        ((GENESIS, reserve(4), commit(4), checkpoint(3)), "not of 4"),
        ((GENESIS, reserve(4), commit(4), checkpoint(4), resume(2, clean=False)), "no checkpoint"),
        ((GENESIS, reserve(4), commit(4), halt(3)), "halts at 3"),
        ((GENESIS, reserve(4), halt(4)), "halts at 4"),
        ((GENESIS, reserve(4), commit(4), halt(4), reserve(4)), "after the halt"),
        ((GENESIS, GENESIS), "second genesis"),
        ((reserve(4),), "beginning is missing"),
        ((GENESIS, ("commit", {"segment": 0})), "commit"),
        ((GENESIS, ("reserve", {"segment": 0, "steps": 4, "event": {"kind": "telepathy"}})), "telepathy"),
        ((GENESIS, ("reserve", {"segment": 0, "steps": 4, "event": "banded"})), "reserve"),
    ],
)
def test_an_order_that_makes_no_sense_is_broken_and_named(state_of, entries, said):
    with pytest.raises(LedgerBroken, match=said):
        state_of(*entries)


def test_a_halt_is_the_end_but_for_an_extension(state_of):
    entries = (GENESIS, reserve(4), commit(4), checkpoint(4), halt(4))
    assert state_of(*entries).halted == "done"
    state = state_of(*entries, resume(3, clean=False, extend=True), reserve(2, 1))
    assert state.halted is None and state.extended


def test_reservations_past_the_plan_or_of_another_event_are_broken(state_of, some_plan):
    planned = {**GENESIS[1], "plan": some_plan.to_json(), "plan_digest": some_plan.digest}
    event = some_plan.event_of(some_plan.schedule()[0])
    assert state_of(("genesis", planned), reserve(12, event=event)).steps_charged == 12
    with pytest.raises(LedgerBroken, match="past the plan"):
        state_of(("genesis", planned), reserve(13, event=event))
    with pytest.raises(LedgerBroken, match="past the plan's 12"):
        state_of(("genesis", planned), reserve(12, event=event), commit(12), reserve(1, event=event))
    with pytest.raises(LedgerBroken, match="the plan says"):
        state_of(
            ("genesis", planned), reserve(4, event=BandedGaussian(sampling_rate=0.05, noise_multiplier=2, bands=2))
        )
    with pytest.raises(LedgerBroken, match="digest or budget"):
        state_of(("genesis", planned | {"plan_digest": "0" * 64}))
    with pytest.raises(LedgerBroken, match="digest or budget"):
        state_of(("genesis", planned | {"budget": GENESIS[1]["budget"] | {"epsilon": 99.0}}))


def test_a_folder_stands_for_the_ledger_in_it(make_run, tmp_path):
    run = make_run(tmp_path / "run")
    assert verify_ledger(run) == verify_ledger(run / "release") == verify_ledger(run / "release" / "ledger.jsonl")
    with pytest.raises(LedgerError, match="Cannot read"):
        verify_ledger(tmp_path)
