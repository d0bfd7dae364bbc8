"""Killed at random moments, resumed, and never found to have spent more than the ledger says.

The trial itself is benchmarks/kill_resume.py, which does two hundred; here it does twenty.
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from accountant import verify_ledger
from privgen.training.checkpoint import read_checkpoint

TRIAL = Path(__file__).parents[3] / "benchmarks" / "kill_resume.py"


@pytest.fixture(scope="module")
def trial():
    """The trial's functions."""
    spec = importlib.util.spec_from_file_location("kill_resume", TRIAL)
    module = importlib.util.module_from_spec(spec)
    sys.modules["kill_resume"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["kill_resume"]


def test_twenty_kills_lose_no_step_no_ledger_and_no_checkpoint(lab):
    command = [sys.executable, TRIAL, "--kills", "20", "--longest", "1.2", "--seed", str(time.time_ns()), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=lab.environment, timeout=570)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["complaints"] == []
    assert found["kills"] == 20
    assert found["under_counted"] == found["unreadable_ledgers"] == found["lost_checkpoints"] == 0
    assert found["failed_lives"] == found["failed_audits"] == 0
    assert found["most_over_counted"] <= 64
    # It did train: otherwise nothing was tried.
    assert 10 < found["executed"] <= found["charged"]
    assert done.returncode == 0


@pytest.fixture
def life(lab, tmp_path, trial):
    """A run of five steps whose draws of noise were counted as the trial counts them."""
    out, side = tmp_path / "run", tmp_path / "life"
    side.mkdir()
    drawn = os.open(side / "drawn", os.O_WRONLY | os.O_CREAT)

    def counted():
        return trial.CountedNoise(drawn)

    with lab.begin(out, plan=lab.plan(iterations=100), noise=counted, config=lab.config(checkpoint_every=3)) as session:
        lab.stop_after(session, 5)
        parts = session.plan.parts
        draws = sum(len(trial.parameters_of(session.state.learner.module_of(p.name))) for p in parts)
    (side / "saved").write_text("checkpoint-0000005")
    return out, [side], draws


def test_the_trial_counts_what_was_released_without_the_ledger(trial, life):
    out, sides, draws = life
    tally = trial.Tally()
    assert trial.judge(out, sides, draws, 0, tally) == (5, 5)
    assert tally.sound
    assert tally.complaints == []


def one_more_release(out, sides, draws):
    with (sides[0] / "drawn").open("ab") as file:
        file.write(b".")


def damaged_ledger(out, sides, draws):
    path = out / "release" / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"steps":5', b'"steps":4'))


def damaged_checkpoint(out, sides, draws):
    (out / "private" / "checkpoint-0000005" / "owed.safetensors").write_bytes(b"")


def forgotten_checkpoint(out, sides, draws):
    (sides[0] / "saved").write_text("checkpoint-0000006")


@pytest.mark.parametrize(
    ("harm", "noticed"),
    [
        (one_more_release, "under_counted"),
        (damaged_ledger, "unreadable_ledgers"),
        (damaged_checkpoint, "lost_checkpoints"),
        (forgotten_checkpoint, "lost_checkpoints"),
    ],
)
def test_the_trial_would_notice(trial, life, harm, noticed):
    out, sides, draws = life
    harm(out, sides, draws)
    tally = trial.Tally()
    trial.judge(out, sides, draws, 0, tally)
    assert getattr(tally, noticed) == 1
    assert not tally.sound


def wait_for(condition, process, seconds=240):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if condition():
            return
        time.sleep(0.01)
    process.kill()
    pytest.fail(f"nothing happened in {seconds} s: {process.communicate()}")


def test_the_command_itself_can_be_killed_and_resumed(lab, npz_file, tmp_path):
    from privgen.data import load_data

    name = f"npz:{npz_file}"
    size = len(load_data(name).train.labels)
    lab.own_plan(size, iterations=400).save(tmp_path / "plan.json")
    out = tmp_path / "run"
    begin = ["--plan", tmp_path / "plan.json", "--dataset", name, "--preset", "tiny", "--set", "generator_batch=2"]
    begin += ["--set", "checkpoint_every=2"]
    charged = 0
    for arguments in (begin, ["--resume"]):
        command = [*lab.command, "train", "--out", out, *arguments]
        process = subprocess.Popen(
            command, env=lab.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

        def trained(least=charged + 3):
            metrics = out / "private" / "metrics.jsonl"
            return metrics.exists() and any(
                json.loads(line)["step"] >= least for line in metrics.read_text().splitlines()
            )

        wait_for(trained, process)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process.communicate()
        state = verify_ledger(out, head_path=out / "private" / "head.json")
        steps = [json.loads(line)["step"] for line in (out / "private" / "metrics.jsonl").read_text().splitlines()]
        assert state.steps_charged >= max(steps) > charged
        charged = state.steps_charged
        names = [record.name for record in state.checkpoints]
        read_checkpoint(out / "private", names[-1], recorded=names)
    assert (state.resumes, state.crashes) == (1, 1)
