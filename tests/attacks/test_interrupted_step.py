"""A step that is interrupted, by Ctrl-C in a notebook or for want of memory, and a session that is used again.

Once, `run()` on the same session went on as if nothing had happened. The interrupted step was charged and its batch
never released, so what was owed stayed one step longer than a block: a record's old residual met the record's next
draw, and the two together moved a release by more than the Δ that its noise was for. The audit said "passed".
"""

import pytest

from accountant import verify_ledger
from privgen.errors import RunError
from privgen.training import loop
from privgen.training.loop import run

PLACES = {
    "before the draw": "privgen.training.loop._chosen",
    "in the sums": "privgen.training.method.private_sums",
    "in the release": "privgen.training.private_step.gaussian",
    "in the free steps": "privgen.methods.gan.learner.GanLearner.free_step",
    "in a checkpoint": "privgen.training.session.write_checkpoint",
}


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ZeroDivisionError])
@pytest.mark.parametrize("place", PLACES)
def test_a_session_that_was_interrupted_anywhere_is_dead_and_says_so(lab, tmp_path, monkeypatch, place, error):
    out = tmp_path / "run"
    with lab.begin(out, plan=lab.plan(iterations=100), config=lab.config(checkpoint_every=5)) as session:
        lab.take(session, 3)
        with monkeypatch.context() as broken:

            def interrupted(*args, **kwargs):
                raise error

            broken.setattr(PLACES[place], interrupted)
            with pytest.raises(error):
                lab.take(session, 3)
        before = lab.every_file(out)
        with pytest.raises(RunError, match=r"interrupted inside a step .* is dead.*privgen train --resume"):
            lab.take(session, 1)
        with pytest.raises(RunError, match="is dead"):
            session.save()
        assert lab.every_file(out) == before


def test_the_resume_that_it_names_is_a_crash_and_drops_what_was_owed(lab, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with lab.begin(out, plan=lab.plan(iterations=100), config=lab.config(checkpoint_every=2)) as session:
        lab.take(session, 2)
        monkeypatch.setattr(loop, "private_step", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            lab.take(session, 1)
    monkeypatch.undo()
    with lab.resume(out) as session:
        assert session.state.owed == {}
        lab.take(session, 1)
    state = verify_ledger(out)
    assert state.crashes == 1
    assert len(state.segments) == 2


def test_between_steps_a_run_may_be_left_and_taken_up_again(lab, tmp_path):
    """What was interrupted there is the caller's loop, not a step."""
    with lab.begin(tmp_path / "run") as session:
        running = run(session)
        next(running)
        with pytest.raises(KeyboardInterrupt):
            running.throw(KeyboardInterrupt)
        assert [report.step for report in lab.take(session, 2)] == [2, 3]
