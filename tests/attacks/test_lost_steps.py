"""A crash near the end, or a full disk, and what is released of the run afterwards.

Once, a checkpoint stood every 250 or 500 steps. A run of 300 that crashed at its end was resumed from the first one,
which no step had touched, had nothing left to spend, and released that generator: "passed", "steps 300 of 300".
"""

import errno
import json
import os

import pytest
from click.testing import CliRunner

from accountant import verify_ledger
from accountant.audit.audit import audit_run
from privgen.cli import main
from privgen.training import disk_room, loop
from privgen.training.loop import run


def test_a_crash_at_the_end_costs_a_block_and_never_the_run(lab, tmp_path):
    out = tmp_path / "run"
    with lab.begin(out, plan=lab.plan(iterations=140), config=lab.config(checkpoint_every=500)) as session:
        lab.take(session, 139)
    with lab.resume(out) as session:
        assert session.guard.held >= 128
        list(run(session))
        assert session.released
    state = verify_ledger(out)
    assert state.last_checkpoint.held >= 128 and state.steps_charged <= 140


def paced(lab, out, monkeypatch, *, check, step):
    """Steps at which checkpoints stand, where the row check and each step take so many seconds by the clock."""
    now, real = [0.0], loop.check_parts

    def slowly(*args, **kwargs):
        now[0] += check
        return real(*args, **kwargs)

    monkeypatch.setattr(loop, "check_parts", slowly)
    with lab.begin(out, plan=lab.plan(iterations=10), clock=lambda: now[0]) as session:
        standing = []
        for report in run(session):
            now[0] += step(report.step)
            standing += [report.step] if report.checkpoint else []
        return standing


def test_a_checkpoint_also_stands_after_some_minutes(lab, tmp_path, monkeypatch):
    """As many steps as take five minutes here by the row check; a step is taken to cost 4.5 times less than it."""
    assert paced(lab, tmp_path / "run", monkeypatch, check=450.0, step=lambda _: 100.0) == [3, 6, 9, 10]


def test_how_long_the_steps_take_is_not_to_be_read_off_the_ledger(lab, tmp_path, monkeypatch):
    """That tells how large the batches were. Checkpoints once stood where five minutes of steps were over."""
    slow, fast = (
        paced(lab, tmp_path / name, monkeypatch, check=1.0, step=step)
        for name, step in (("slow", lambda step: 299.0), ("fast", lambda step: 0.1))
    )
    assert slow == fast == [10]


@pytest.fixture
def wasted(lab, tmp_path):
    """A run whose crash wasted most of what its plan may charge."""
    out = tmp_path / "run"
    with lab.begin(out, plan=lab.plan(iterations=20)) as session:
        lab.take(session, 5)
    return out


def test_weights_that_hold_too_little_are_not_released_unasked(lab, wasted):
    with lab.resume(wasted) as session:
        list(run(session))
        assert not session.released
        assert "the weights hold 0 of 20 charged steps, so nothing was released" in session.outcome
    assert not (wasted / "release" / "generator.safetensors").exists()
    assert audit_run(wasted).verdict == "incomplete"


def test_they_are_released_by_who_accepts_the_loss_and_the_report_says_it(lab, wasted):
    with lab.resume(wasted, accept_loss=True) as session:
        list(run(session))
        assert session.released
    audit = audit_run(wasted)
    assert audit.verdict == "passed"
    (steps,) = (check for check in audit.checks if check.name == "steps in the released weights")
    assert steps.detail.startswith("0 of 20 charged steps")
    assert audit.to_json()["weights"] == {"held": 0, "charged": 20}
    from privgen.report.content import summary_of

    assert "Only 0 of 20 charged steps are in the weights" in summary_of(audit)


def test_the_command_ends_with_1_and_says_what_can_be_done(lab, tmp_path, npz_file):
    from privgen.data import load_data

    name, out = f"npz:{npz_file}", tmp_path / "own"
    data = load_data(name, facts=lab.own_facts)
    plan = lab.own_plan(len(data.train.labels), iterations=20)
    with lab.begin(out, plan=plan, data=data) as session:
        lab.take(session, 5)
    done = CliRunner().invoke(main, ["train", "--resume", "--out", str(out)])
    assert done.exit_code == 1
    assert "privgen train --resume --accept-loss --out" in done.stderr
    assert "differentially private for one record" in done.stdout
    done = CliRunner().invoke(main, ["train", "--resume", "--out", str(out), "--accept-loss"])
    assert done.exit_code == 0, done.output
    assert "20 steps charged, 0 of them in the weights" in done.stdout
    assert json.loads(CliRunner().invoke(main, ["audit", str(out), "--format", "json"]).stdout)["verdict"] == "passed"


def no_room(*args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_room_for_a_checkpoint_is_found_out_before_anything_is_spent(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(disk_room.os, "posix_fallocate", no_room)
    with pytest.raises(OSError, match="No space left on device for the next checkpoint and the release"):
        lab.begin(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_disk_that_fills_up_ends_the_run_at_a_checkpoint(lab, tmp_path, monkeypatch):
    """What is held for the next checkpoint cannot be taken again: the one before it was just written."""
    out = tmp_path / "run"
    with lab.begin(out, plan=lab.plan(iterations=100)) as session:
        lab.take(session, 10)
        monkeypatch.setattr(disk_room.os, "posix_fallocate", no_room)
        with pytest.raises(OSError, match="for the next checkpoint"):
            list(run(session))
    monkeypatch.undo()
    state = verify_ledger(out)
    assert (state.steps_charged, state.held, state.last_checkpoint.held) == (64, 64, 64)
    with lab.resume(out) as session:
        list(run(session))
        assert session.released
    assert verify_ledger(out).crashes == 0


def test_the_room_that_is_held_is_enough_for_every_checkpoint_and_the_release(lab, tmp_path):
    out = tmp_path / "run"
    with lab.begin(out, plan=lab.plan(iterations=12, bands=4)) as session:
        held = (out / "private" / ".room").stat().st_size
        list(run(session))
    newest = sorted((out / "private").glob("checkpoint-*"))[-1]
    needed = sum(path.stat().st_size for path in newest.iterdir())
    released = sum(path.stat().st_size for path in (out / "release").iterdir())
    assert needed + released < held
    assert not (out / "private" / ".room").exists()
