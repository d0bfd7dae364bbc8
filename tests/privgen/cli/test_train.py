"""`plan`, `train`, `sample` and `audit` as people use them: to the halt, through signals, and with no room left."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from accountant import Plan, verify_ledger
from accountant.audit.audit import audit_run
from accountant.bound_text import upper_text
from privgen.cli import main
from privgen.cli.facts import remember_source
from privgen.data import load_data
from privgen.training.checkpoint import kept_checkpoints, read_checkpoint
from privgen.training.disk_room import DiskRoom

SMALL = ["--set", "generator_batch=4", "--set", "latent_dim=8"]


def privgen(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def one_line_error(done, status=1):
    assert done.exit_code == status, done.output
    assert "Traceback" not in done.output
    assert done.stderr.strip().splitlines()[-1].startswith("Error: ")
    return done.stderr.strip().splitlines()[-1]


@pytest.fixture
def size(npz_file):
    return len(load_data(f"npz:{npz_file}").train.labels)


@pytest.fixture
def plan_file(lab, npz_file, size, tmp_path):
    path = tmp_path / "plan.json"
    made = lab.own_plan(size, iterations=400)
    made.save(path)
    # As privgen plan leaves it beside a plan that it made from one's own data.
    remember_source(path, made, f"npz:{npz_file}")
    return path


def test_plan_train_sample_audit_do_the_main_job(npz_file, size, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = f"npz:{npz_file}"
    planned = privgen(
        "plan", "--epsilon", 10, "--dataset", data, "--dataset-size", size, "--batch-size", 20, "--iterations", 8,
        "--out", "plan.json",
    )  # fmt: skip
    assert planned.exit_code == 0, planned.output
    assert f"privgen train --plan plan.json --dataset {data}" in " ".join(planned.stdout.split())
    # The plan is found by its default name, the data set in the plan; the folder is what was asked for.
    trained = privgen("train", "--out", "runs/own", *SMALL)
    assert trained.exit_code == 0, trained.output
    # The warm start's releases, which a plan has by default, and then the iterations.
    steps = Plan.load("plan.json").steps
    assert steps > 8
    assert f"the plan's 8 iterations are done. {steps} steps charged, {steps} of them in the weights." in trained.stdout
    spent = upper_text(audit_run("runs/own").guarantee.epsilon)
    (sentence,) = (line for line in trained.stdout.splitlines() if "differentially private" in line)
    assert f"is ({spent}, 1e-05)-differentially private for one record (add-or-remove-one)" in sentence
    assert "(10, 1e-05) was promised" in sentence
    assert "An attacker who knows everything except whether one record was used identifies at most" in trained.stdout
    assert (
        f"step {steps}/{steps}  charged {steps} (ε " in trained.stderr
        and "by RDP so far, ε 10 planned)" in trained.stderr
    )
    assert privgen("audit", "runs/own").exit_code == 0

    for out in ("grid.png", "own.npz", "own"):
        made = privgen("sample", "runs/own", "-n", 30, "--out", out, "--seed", 1)
        assert made.exit_code == 0, made.output
        assert made.stdout.strip() == f"30 images in {out}"
    assert Image.open("grid.png").size == (2 + 3 * 18, 2 + 10 * 18)
    with np.load("own.npz") as arrays:
        assert arrays["labels"].tolist() == [0, 1, 2] * 10
        written = {image.tobytes() for image in arrays["images"]}
    for name in ("npz:own.npz", "image-folder:own"):
        read = load_data(name)
        assert {i.tobytes() for s in (read.train, read.test) for i in s.images} == written
        shown = " ".join(privgen("data", name).stdout.split())
        assert f"N (training records) {len(read.train.labels)}" in shown
        assert "16 × 16, 1 channel" in shown
    assert privgen("sample", "runs/own/release", "-n", 30, "--out", "again.npz", "--seed", 1).exit_code == 0
    with np.load("again.npz") as arrays:
        assert {image.tobytes() for image in arrays["images"]} == written


def test_a_sample_has_its_place_checked_before_an_image_is_made(halted_run, tmp_path, monkeypatch):
    monkeypatch.setattr("privgen.generate.LoadedGenerator.__call__", None)  # would be a bug's message
    (tmp_path / "own").mkdir()
    for out, status, message in (
        ("own", 1, "Exists already"),
        ("none/own.npz", 1, "No such folder"),
        ("samples.jpg", 2, "give NAME.png, NAME.npz or the name of a folder"),
    ):
        done = privgen("sample", halted_run, "-n", 5, "--out", tmp_path / out)
        assert message in one_line_error(done, status)
    assert [p.name for p in tmp_path.iterdir()] == ["own"]


def test_given_classes_are_cycled_through(halted_run, tmp_path):
    done = privgen("sample", halted_run, "-n", 5, "--out", tmp_path / "own.npz", "--labels", "2,0")
    assert done.exit_code == 0, done.output
    with np.load(tmp_path / "own.npz") as arrays:
        assert arrays["labels"].tolist() == [2, 0, 2, 0, 2]
    assert "classes are 0 to 2" in one_line_error(
        privgen("sample", halted_run, "--out", tmp_path / "b.npz", "--labels", "3"), 2
    )
    (tmp_path / "own.npz").write_bytes(b"an older file")
    assert privgen("sample", halted_run, "-n", 3, "--out", tmp_path / "own.npz").exit_code == 0
    with np.load(tmp_path / "own.npz") as arrays:
        assert arrays["labels"].tolist() == [0, 1, 2]


def test_shares_go_from_the_plan_to_the_noise_to_the_audit(npz_file, size, tmp_path):
    data, plan, out = f"npz:{npz_file}", tmp_path / "plan.json", tmp_path / "run"
    for shares, expected in (
        ("critic=0.6,classifier=0.2,reconstruction=0.2", {"critic": 0.6, "classifier": 0.2, "reconstruction": 0.2}),
        ("critic=0.8,classifier=0.2,reconstruction=0", {"critic": 0.8, "classifier": 0.2}),
    ):
        planned = privgen(
            "plan", "--epsilon", 10, "--dataset", data, "--dataset-size", size, "--batch-size", 20, "--iterations", 4,
            "--share", shares, "--out", plan,
        )  # fmt: skip
        assert planned.exit_code == 0, planned.output
        stated = json.loads(plan.read_bytes())
        z = stated["noise_multiplier"]
        noise = {part["name"]: part["noise_multiplier"] for part in stated["parts"]}
        assert noise == {name: pytest.approx(z / share**0.5) for name, share in expected.items()}
        trained = privgen("train", "--plan", plan, "--out", out, *SMALL)
        assert trained.exit_code == 0, trained.output
        assert privgen("audit", out).exit_code == 0
        assert {s.name: pytest.approx(s.share) for s in audit_run(out).shares} == expected
        shutil.rmtree(out)


def test_resuming_after_the_halt_says_that_the_budget_is_spent_and_changes_no_byte(lab, tmp_path, npz_file, size):
    name, out = f"npz:{npz_file}", tmp_path / "run"
    lab.own_plan(size, iterations=3).save(tmp_path / "plan.json")
    assert privgen("train", "--plan", tmp_path / "plan.json", "--dataset", name, "--out", out, *SMALL).exit_code == 0
    before = lab.every_file(out)
    done = privgen("train", "--resume", "--out", out)
    assert done.exit_code == 0
    assert done.stdout.startswith("The budget is spent: this run has halted (the plan's 3 iterations are done)")
    assert "after 3 charged steps. Nothing was changed." in done.stdout
    assert lab.every_file(out) == before


def test_extend_shows_more_steps_than_were_planned(lab, tmp_path, npz_file, size):
    name, out = f"npz:{npz_file}", tmp_path / "run"
    lab.own_plan(size, iterations=20, feedback="none").save(tmp_path / "plan.json")
    done = privgen("train", "--plan", tmp_path / "plan.json", "--dataset", name, "--out", out, "--extend", *SMALL)
    assert done.exit_code == 0, done.output
    assert "Halted: the budget is reached" in done.stdout
    assert verify_ledger(out).steps_charged > 20


def test_a_fixed_seed_repeats_the_run_is_called_insecure_and_fails_its_audit(lab, tmp_path, npz_file, size):
    name, weights = f"npz:{npz_file}", []
    lab.own_plan(size, iterations=3, bands=1).save(tmp_path / "plan.json")
    for out in (tmp_path / "one", tmp_path / "two"):
        arguments = [
            "--plan",
            tmp_path / "plan.json",
            "--dataset",
            name,
            "--out",
            out,
            *SMALL,
            "--insecure-fixed-seed",
            4,
        ]
        done = privgen("train", *arguments)
        assert done.exit_code == 0, done.output
        assert "INSECURE" in done.stderr
        weights.append((out / "release" / "generator.safetensors").read_bytes())
    assert weights[0] == weights[1]
    assert "who knows the seed can subtract the noise" in one_line_error(privgen("audit", out))


def test_the_one_noise_is_stated_in_the_ledger_and_there_is_no_other_to_ask_for(lab, tmp_path, npz_file, size):
    name = f"npz:{npz_file}"
    lab.own_plan(size, iterations=2).save(tmp_path / "plan.json")
    arguments = ["--plan", tmp_path / "plan.json", "--dataset", name, "--out", tmp_path / "run", *SMALL]
    assert privgen("train", *arguments).exit_code == 0
    assert verify_ledger(tmp_path / "run").genesis["noise"] == "floored-gaussian"
    assert privgen("train", *arguments, "--noise", "fast").exit_code == 2


def test_a_tampered_ledger_fails_its_audit_naming_the_entry(halted_run, tmp_path):
    shutil.copytree(halted_run, tmp_path / "run")
    ledger = tmp_path / "run" / "release" / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().replace(b'"steps":7', b'"steps":6', 1))
    for form in ("terminal", "json"):
        done = privgen("audit", tmp_path / "run", "--format", form)
        assert "Entry 5 (reserve) was changed: its digest does not match" in one_line_error(done)
    assert json.loads(done.stdout)["verdict"] == "failed"


@pytest.mark.parametrize("file", ["generator.safetensors", "samples.png", "plan.json"])
def test_a_released_file_that_was_changed_fails_the_audit(halted_run, tmp_path, file):
    shutil.copytree(halted_run, tmp_path / "run")
    path = tmp_path / "run" / "release" / file
    path.write_bytes(path.read_bytes().replace(b"5.0", b"9.0") if file == "plan.json" else path.read_bytes() + b" ")
    assert "the audit failed" in one_line_error(privgen("audit", tmp_path / "run"))


def test_an_audit_of_the_release_folder_alone_says_what_it_could_not_check(halted_run, tmp_path):
    shutil.copytree(halted_run / "release", tmp_path / "run" / "release")
    found = json.loads(privgen("audit", tmp_path / "run", "--format", "json").stdout)
    status = {check["name"]: check["status"] for check in found["checks"]}
    assert (found["verdict"], status["nothing dropped from the end"]) == ("passed", "not-checked")


def start(lab, *arguments):
    command = [*lab.command, "train", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=lab.environment)


def wait_for_steps(process, out, steps, seconds=240):
    """Until so many lines of metrics stand there: as many steps have run in all lives of the run."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        metrics = out / "private" / "metrics.jsonl"
        if metrics.exists() and metrics.read_text().count("\n") >= steps:
            return
        time.sleep(0.01)
    process.kill()
    pytest.fail(f"no {steps} steps in {seconds} s: {process.communicate()}")


def test_ctrl_c_and_sigterm_checkpoint_exit_130_and_143_and_both_can_be_gone_on_from_cleanly(
    lab, plan_file, npz_file, tmp_path
):
    out = tmp_path / "run"
    ran = 0
    for arguments, number in ((["--plan", plan_file, *SMALL], signal.SIGINT), (["--resume"], signal.SIGTERM)):
        process = start(lab, "--out", out, *arguments)
        wait_for_steps(process, out, ran + 3)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=180)
        assert process.returncode == 128 + number, stderr
        assert "Traceback" not in stderr
        assert "checkpoint written. Go on by: privgen train --resume --out" in stderr
        state = verify_ledger(out, head_path=out / "private" / "head.json")
        assert state.clean_head
        assert state.steps_done == state.steps_charged == state.last_checkpoint.step > ran
        ran = state.steps_charged
    with lab.resume(out, data=load_data(f"npz:{npz_file}", facts=lab.own_facts)) as session:
        assert session.state.owed
    state = verify_ledger(out)
    assert (state.resumes, state.crashes, len(state.segments)) == (2, 0, 1)


def test_a_second_ctrl_c_stops_at_once_and_loses_nothing(lab, plan_file, tmp_path):
    out = tmp_path / "run"
    # A step of a second or more, so that the second signal comes within it.
    process = start(
        lab, "--out", out, "--plan", plan_file, "--set", "generator_batch=1500", "--set", "generator_steps=5"
    )
    wait_for_steps(process, out, 1)
    process.send_signal(signal.SIGINT)
    for line in process.stderr:
        if "Stopping after this step" in line:
            break
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=180)
    assert process.returncode == 130
    assert "Stopped at once; the last checkpoint stands. Go on by --resume." in stderr
    state = verify_ledger(out, head_path=out / "private" / "head.json")
    steps = (out / "private" / "metrics.jsonl").read_text().count("\n")
    assert not state.clean_head
    assert state.steps_charged == 64 >= steps
    read_checkpoint(out / "private", state.last_checkpoint.name, recorded=[])


def test_a_signal_before_the_first_step_stops_it_as_cleanly(lab, plan_file, tmp_path, monkeypatch):
    from privgen.training import begin as session

    begin = session.begin

    def interrupted(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGTERM)
        return begin(*args, **kwargs)

    monkeypatch.setattr(session, "begin", interrupted)
    done = privgen("train", "--plan", plan_file, "--out", tmp_path / "run", *SMALL)
    assert done.exit_code == 143
    assert verify_ledger(tmp_path / "run").steps_charged == 0
    assert kept_checkpoints(tmp_path / "run" / "private") == ["checkpoint-0000000"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.fixture
def mounted(tmp_path):
    """Makes small file systems and takes them away again."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    places = []

    def mount(name, options):
        place = tmp_path / name
        if not place.exists():
            place.mkdir()
            places.append(place)
            options = f"{options}"
        else:
            options = f"remount,{options}"
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], capture_output=True).returncode:
            pytest.skip("this place cannot mount a small file system")
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("kilobytes", [4, 64, 400])
def test_a_disk_too_full_to_begin_leaves_nothing(mounted, plan_file, kilobytes):
    """Too full for the plan, for the first checkpoint, and for its last file."""
    full = mounted("full", f"size={kilobytes}k")
    error = one_line_error(privgen("train", "--plan", plan_file, "--out", full / "run", *SMALL))
    assert "No space left on device" in error
    assert list(full.iterdir()) == []


def test_a_disk_that_fills_while_training_loses_nothing_and_room_lets_it_go_on(lab, mounted, plan_file, monkeypatch):
    small = mounted("small", "size=3m")
    out = small / "run"
    arguments = ["--plan", plan_file, "--out", out, *SMALL, "--set", "checkpoint_every=2"]
    # The room of a whole checkpoint and of the release is taken before the first step.
    assert "No space left on device for the next checkpoint" in one_line_error(privgen("train", *arguments))
    assert list(small.iterdir()) == []
    mounted("small", "size=20m")
    let_go = DiskRoom.let_go

    def taken_by_others(room):
        let_go(room)
        with contextlib.suppress(OSError), (small / "filler").open("wb") as filler:
            while True:
                filler.write(bytes(4096))
                filler.flush()

    with monkeypatch.context() as others:
        others.setattr(DiskRoom, "let_go", taken_by_others)
        assert "No space left on device" in one_line_error(privgen("train", *arguments))
    state = verify_ledger(out, head_path=out / "private" / "head.json")
    steps = (out / "private" / "metrics.jsonl").read_text().count("\n")
    assert 0 < steps <= state.steps_charged
    read_checkpoint(out / "private", state.last_checkpoint.name, recorded=[])
    assert not list((out / "private").glob(".*"))
    mounted("small", "size=60m")
    process = start(lab, "--resume", "--out", out)
    wait_for_steps(process, out, steps + 3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=180)
    assert process.returncode == 130
    assert audit_run(out).verdict == "incomplete"


def test_a_read_only_folder_is_one_error_in_every_command_that_writes(mounted, plan_file, halted_run):
    place = mounted("fixed", "size=1m")
    mounted("fixed", "ro")
    for arguments in (
        ["plan", "--epsilon", 10, "--out", place / "plan.json"],
        ["train", "--plan", plan_file, "--out", place / "run"],
        ["sample", halted_run, "--out", place / "grid.png"],
        ["sample", halted_run, "--out", place / "own.npz"],
        ["sample", halted_run, "--out", place / "own"],
        ["audit", halted_run, "--out", place / "audit.txt"],
    ):
        assert "Read-only file system" in one_line_error(privgen(*arguments))
    assert list(place.iterdir()) == []


def test_a_full_disk_takes_no_half_of_a_plan_or_an_image(mounted, halted_run):
    full = mounted("full", "size=4k")
    (full / "filling").write_bytes(bytes(4096))
    for arguments in (
        ["plan", "--epsilon", 10, "--out", full / "plan.json"],
        ["sample", halted_run, "--out", full / "grid.png"],
        ["sample", halted_run, "--out", full / "own"],
        ["audit", halted_run, "--out", full / "audit.txt"],
    ):
        assert "No space left on device" in one_line_error(privgen(*arguments))
    assert [p.name for p in full.iterdir()] == ["filling"]
