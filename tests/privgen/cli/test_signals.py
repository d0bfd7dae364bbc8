"""INT, TERM and HUP end every command in order with 130, 143 and 129; USR1 checkpoints a training, which goes on."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from accountant import verify_ledger
from accountant.ledger.entry import read_entries
from privgen.cli import signals
from privgen.cli.facts import remember_source
from privgen.data import load_data
from privgen.metrics.cache import Cache
from privgen.metrics.trainings import Training, trained

QUICK = [
    "--quick", "--dataset", "digits", "--stages", "tune", "--clips", "1.0", "--iterations", "20",
]  # fmt: skip


def hang_up_ends():
    """As in a terminal, whatever the tests themselves run under: nohup's choice would be inherited."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def start(lab, *arguments, preexec_fn=hang_up_ends, **options):
    command = [sys.executable, "-m", "privgen", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=lab.environment, preexec_fn=preexec_fn,
        **options,
    )  # fmt: skip


def wait_for(process, there, seconds=240):
    """Until something is there."""
    end = time.monotonic() + seconds
    while not there():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            pytest.fail(f"it was not there: {process.communicate()}")
        time.sleep(0.01)


@pytest.fixture
def training(lab, npz_file, tmp_path):
    """A training of 400 steps that has begun, and its folder."""
    plan, out = tmp_path / "plan.json", tmp_path / "run"
    made = lab.own_plan(len(load_data(f"npz:{npz_file}").train.labels), iterations=400)
    made.save(plan)
    remember_source(plan, made, f"npz:{npz_file}")
    settings = ["--set", "generator_batch=4", "--set", "latent_dim=8"]
    started = []

    def begin(**options):
        process = start(lab, "train", "--plan", plan, "--out", out, *settings, **options)
        started.append(process)
        wait_for(process, lambda: steps(out) >= 3)
        return process

    def steps(folder):
        with contextlib.suppress(OSError):
            return (folder / "private" / "metrics.jsonl").read_text().count("\n")
        return 0

    begin.steps = lambda: steps(out)
    begin.out = out
    yield begin
    for process in started:
        process.kill()  # whatever a test that failed left running
        process.wait()


def test_hup_checkpoints_a_training_and_exits_129(training):
    process = training()
    process.send_signal(signal.SIGHUP)
    _, stderr = process.communicate(timeout=180)
    assert process.returncode == 129, stderr
    assert "checkpoint written. Go on by: privgen train --resume" in stderr
    state = verify_ledger(training.out, head_path=training.out / "private" / "head.json")
    assert state.clean_head and state.steps_done == state.last_checkpoint.step >= 3


def test_a_closed_terminal_takes_no_checkpoint_from_a_training(training):
    """Its stdout and stderr are the terminal that is closed: from then on every write to them fails."""
    import pty

    ours, theirs = pty.openpty()

    def own_terminal():
        import fcntl
        import termios

        hang_up_ends()
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        os.dup2(theirs, 1)
        os.dup2(theirs, 2)

    process = training(preexec_fn=own_terminal, stdin=theirs)
    os.close(theirs)
    os.close(ours)  # the kernel hangs up
    process.wait(timeout=180)
    assert process.returncode == 129
    assert verify_ledger(training.out, head_path=training.out / "private" / "head.json").clean_head


def test_usr1_checkpoints_a_training_that_goes_on(training):
    process = training()
    process.send_signal(signal.SIGUSR1)
    ledger = training.out / "release" / "ledger.jsonl"

    def checkpoints():
        return [entry.body["step"] for entry in read_entries(ledger) if entry.kind == "checkpoint"]

    wait_for(process, lambda: len(checkpoints()) >= 2)
    at = checkpoints()[1]
    wait_for(process, lambda: training.steps() > at)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=180)
    assert process.returncode == 130
    assert f"at {at} charged steps." in stderr and "Checkpoint written: checkpoint-" in stderr
    assert 0 < at < 64  # before the first reservation's end, where one is written unasked


def test_nohup_is_left_alone(training):
    process = training(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    at = training.steps()
    process.send_signal(signal.SIGHUP)
    wait_for(process, lambda: training.steps() > at + 5)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=180)
    assert process.returncode == 143


def test_an_evaluation_ends_keeps_what_is_finished_and_goes_on_from_there(lab, tmp_path):
    digits = load_data("digits")
    np.savez(tmp_path / "made.npz", images=digits.test.images, labels=digits.test.labels)
    environment = {**lab.environment, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    arguments = [
        sys.executable, "-m", "privgen", "evaluate", tmp_path / "made.npz", "--dataset", "digits", "--threads", "1",
        "--metrics", "fid,gen2real,coverage", "--features", "pixels", "--seeds", "40", "--json",
        "--classifier", "logreg", "--out", tmp_path / "out",
    ]  # fmt: skip
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True)
    kept = tmp_path / "cache" / "privgen" / "evaluation"
    # The distance, the real images' statistics, coverage; and two classifiers of forty.
    wait_for(process, lambda: kept.exists() and len(list(kept.glob("*.npz"))) >= 5)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=180)
    assert process.returncode == 130, stderr
    assert "Interrupted. What was finished is kept." in stderr and "Traceback" not in stderr
    assert stdout == "" and not (tmp_path / "out").exists()
    assert not list(kept.glob(".*"))  # no file that is half written
    finished = {path: path.stat().st_mtime_ns for path in kept.glob("*.npz")}
    fewer = [argument if argument != "40" else "2" for argument in arguments]
    again = subprocess.run(fewer, capture_output=True, env=environment, text=True, check=True)
    assert "gen2real" not in again.stderr and "coverage" not in again.stderr  # nothing was trained or measured again
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert len(json.loads(again.stdout)["gen2real"]["logreg"]["values"]) == 2


def test_an_experiment_ends_and_the_next_run_trains_what_is_missing(lab, tmp_path):
    arguments = ["experiment", "clipping-bias", *QUICK, "--out", tmp_path / "bias"]
    process = start(lab, *arguments)
    log = tmp_path / "bias" / "results.jsonl"
    wait_for(process, lambda: log.exists() and log.read_bytes().count(b"\n") >= 1)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=180)
    assert process.returncode == 143, stderr
    assert "Interrupted. What was finished is kept." in stderr
    before = log.read_bytes()
    start(lab, *arguments).communicate(timeout=120)
    assert log.read_bytes().startswith(before) and len(log.read_bytes()) > len(before)
    trials = [json.dumps(json.loads(line)["trial"]) for line in log.read_text().splitlines()]
    assert len(set(trials)) == len(trials)  # none was trained twice


def test_an_empirical_audit_ends_with_the_signals_status(lab, halted_run):
    process = start(lab, "audit", halted_run, "--empirical", "--trials", "1000000")
    with contextlib.suppress(ValueError):
        for line in process.stderr:
            if "Attacking" in line:
                break
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=180)
    assert process.returncode == 143 and "Traceback" not in stderr


def test_answers_of_other_processes_are_kept_as_soon_as_they_are_there(tmp_path):
    digits = load_data("digits").test
    cache, kept = Cache(tmp_path), []

    def training(seed):
        def keep(scores):
            kept.append(seed)
            cache.keep(str(seed), {"accuracies": np.array(scores)})

        images = (digits.images, digits.labels)
        return Training(what="", recipe="privgen-logreg", seed=seed, train=images, tests=(images,), keep=keep)

    with pytest.raises(SystemExit), trained([training(0), training(1)], processes=1) as answers:
        next(answers)
        assert kept == [0]
        sys.exit(143)
    assert cache.find("0") is not None


def test_handlers_go_as_they_came():
    before = {number: signal.getsignal(number) for number in signals.ENDING}
    with signals.ended_by_signals(), signals.requests():
        assert signal.getsignal(signal.SIGTERM) not in before.values()
    assert {number: signal.getsignal(number) for number in signals.ENDING} == before


def test_a_signal_closes_what_is_open():
    closed = []
    with pytest.raises(SystemExit) as ended, signals.ended_by_signals():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            closed.append(True)
    assert ended.value.code == 143 and closed
