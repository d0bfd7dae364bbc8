"""What may be relied on in every command: streams, exit statuses, one red line, no torch, no traceback."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from privgen.cli import group, main


def privgen(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["plan", "--help"],
        ["plan", "--epsilon", "10", "--dataset", "digits"],
        ["audit", "--help"],
        ["audit", "RUN"],
        ["train", "--help"],
        ["sample", "--help"],
        ["data"],
    ],
    ids=" ".join,
)
def test_planning_auditing_and_every_help_load_no_torch(arguments, halted_run, tmp_path):
    # Where something was spent before, a plan reads the data that it names, and digits are scikit-learn's.
    nothing_spent = {**os.environ, "PRIVGEN_STATE": str(tmp_path / "state")}
    arguments = [str(halted_run) if a == "RUN" else a for a in arguments]
    code = (
        "import sys; from privgen.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "loaded = {'torch', 'torchvision', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=nothing_spent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("command", sorted(group.COMMANDS))
def test_every_command_has_a_help_with_an_example(command):
    done = privgen(command, "--help")
    assert done.exit_code == 0
    text = done.stdout if "Example" in done.stdout else privgen(command, "new", "--help").stdout
    assert f"privgen {command}" in text.split("Example")[1]


def test_the_list_of_commands_says_what_each_is_for():
    done = privgen("--help")
    assert all(f"  {name}" in done.stdout for name in group.COMMANDS)
    assert privgen("--version").stdout.startswith("privgen, version 0.")


def test_plan_json_prints_json_alone_on_stdout():
    # So small a data set draws warnings, which go to stderr.
    done = privgen("plan", "--epsilon", 1, "--delta", "0.05", "--dataset-size", 100, "--batch-size", 5, "--json")
    plan = json.loads(done.stdout)
    assert "Warning" in done.stderr
    assert (plan["schema"], plan["epsilon"], plan["dataset_size"]) == ("privgen.plan/1", 1.0, 100)


def test_audit_json_prints_json_alone_on_stdout(halted_run):
    done = privgen("audit", halted_run, "--format", "json")
    found = json.loads(done.stdout)
    assert (done.exit_code, found["verdict"], found["schema"]) == (0, "passed", "privgen.audit/1")
    assert found["steps"] == {"done": 12, "reserved": 12, "planned": 12}
    assert found["spent"]["prv"]["lower"] <= found["spent"]["rdp"]
    assert found["spent"]["epsilon"] <= found["target"]["epsilon"] == 5.0


def test_audit_in_the_terminal_names_target_spend_steps_and_verdict(halted_run):
    done = privgen("audit", halted_run)
    assert done.exit_code == 0
    text = " ".join(done.stdout.split())
    assert text.startswith("Verdict: PASSED")
    assert all(words in text for words in ("ε = 5, δ = 1e-05", "12 done, 12 charged, 12 planned", "by RDP", "by PRV"))


MISTAKES = {
    "an unknown data set": (["plan", "--epsilon", 10, "--dataset", "cifar"], 2, "Unknown data set 'cifar'; known are"),
    "epsilon 0": (["plan", "--epsilon", 0], 2, "epsilon=0.0"),
    "epsilon below 0": (["plan", "--epsilon", "-1"], 2, "epsilon=-1.0"),
    "epsilon that is no number": (["plan", "--epsilon", "nan"], 2, "epsilon=nan"),
    "delta 1": (["plan", "--epsilon", 10, "--delta", 1], 2, "delta=1.0 in (0, 1)"),
    "delta 0": (["plan", "--epsilon", 10, "--delta", 0], 2, "delta=0.0 in (0, 1)"),
    "a sampling rate above 1": (["plan", "--epsilon", 10, "--sampling-rate", "1.3"], 2, "sampling_rate=1.3"),
    "a batch larger than the data": (
        ["plan", "--epsilon", 10, "--dataset", "digits", "--batch-size", 2000],
        2,
        "batch_size=2000.0 in (0, 1437]",
    ),
    "rate and batch size": (
        ["plan", "--epsilon", 10, "--sampling-rate", "0.1", "--batch-size", 8],
        2,
        "not both",
    ),
    "a plan that no noise can keep": (
        ["plan", "--epsilon", 1, "--iterations", 1000, "--noise-multiplier", "0.5", "--sampling-rate", "0.1"],
        1,
        "cost",
    ),
    "a size that is not the data set's": (
        ["plan", "--epsilon", 10, "--dataset", "digits", "--dataset-size", 9],
        2,
        "digits has N = 1437",
    ),
    "training without a plan": (["train", "--plan", "none.json"], 1, "Cannot read the plan none.json"),
    "a damaged plan": (["train", "--plan", "damaged.json"], 1, "damaged.json is damaged"),
    "a plan that is something else": (["train", "--plan", "other.json"], 1, "plan again"),
    "training on an unknown data set": (["train", "--plan", "plan.json", "--dataset", "cifar"], 2, "Unknown data set"),
    "a plan for another data set": (
        ["train", "--plan", "plan.json", "--dataset", "npz:NPZ"],
        1,
        "The plan is for data set digits",
    ),
    "a plan for another N": (["train", "--plan", "small.json", "--dataset", "npz:NPZ"], 1, "The plan is for N = 50"),
    "a plan that states nothing of the data": (
        ["train", "--plan", "bare.json", "--dataset", "npz:NPZ"],
        1,
        "states no classes and no shape of images",
    ),
    "a plan of old, which names a path": (
        ["train", "--plan", "old.json", "--dataset", "npz:NPZ"],
        1,
        "The plan names its data by a path (npz:/home/who/scans.npz), as plans once did",
    ),
    "a plan of one's own data without them": (
        ["train", "--plan", "small.json"],
        2,
        "say where it is: --dataset npz:PATH",
    ),
    "a run that stands already": (
        ["train", "--plan", "plan.json", "--out", "RUN"],
        1,
        "exists already; go on with it by --resume",
    ),
    "resuming nothing": (["train", "--resume", "--out", "none"], 1, "There is no run in none; name a run's folder"),
    "other settings at a resume": (["train", "--resume", "--out", "RUN", "--preset", "tiny"], 2, "belong to a new run"),
    "a checkpoint without a resume": (["train", "--checkpoint", "checkpoint-0000001"], 2, "goes with --resume"),
    "an unknown setting": (["train", "--plan", "plan.json", "--set", "speed=9"], 2, "NAME=VALUE with NAME one of"),
    "a setting out of range": (
        ["train", "--plan", "plan.json", "--set", "generator_rate=-1"],
        2,
        "generator_rate=-1 to be > 0",
    ),
    "a device that is not there": (["train", "--plan", "plan.json", "--device", "abacus"], 2, "abacus"),
    "no threads": (["train", "--plan", "plan.json", "--threads", 0], 2, "--threads"),
    "a seed below 0": (["train", "--plan", "plan.json", "--insecure-fixed-seed", "-1"], 2, "--insecure-fixed-seed"),
    "auditing nothing": (["audit", "none"], 1, "There is no ledger in none"),
    "sampling from nothing": (["sample", "none", "--out", "x.png"], 1, "There is no trained generator in none"),
    "sampling no image": (["sample", "RUN", "-n", 0, "--out", "x.png"], 2, "-n"),
    "sampling no class": (["sample", "RUN", "--labels", 3, "--out", "x.png"], 2, "classes are 0 to 2"),
    "sampling on no device": (["sample", "RUN", "--device", "abacus", "--out", "x.png"], 2, "abacus"),
    "sampling into a folder that stands": (["sample", "RUN", "--out", "."], 1, "xists"),
    "sampling into no folder": (["sample", "RUN", "--out", "none/x.png"], 1, "No such folder: none"),
    "data of no name": (["data", "cifar"], 2, "Unknown data set"),
    "data that are not there": (["data", "npz:none.npz"], 1, "Cannot read none.npz"),
    "an unknown command": (["fly"], 2, "fly"),
    "an unknown option": (["plan", "--epsilonn", 1], 2, "--epsilonn"),
}


@pytest.fixture
def place(tmp_path, monkeypatch, lab, halted_run, npz_file):
    """A folder with plans, good and bad, to be in."""
    monkeypatch.chdir(tmp_path)
    lab.plan(dataset="digits", dataset_size=1437).save("plan.json")
    lab.own_plan(50).save("small.json")
    lab.plan(dataset=None, dataset_size=200).save("bare.json")
    lab.plan(dataset="npz:/home/who/scans.npz", dataset_size=200).save("old.json")
    (tmp_path / "damaged.json").write_text('{"schema": "privgen.plan/1", "eps')
    (tmp_path / "other.json").write_text('{"schema": "other/1"}')
    return lambda text: str(text).replace("RUN", str(halted_run)).replace("NPZ", str(npz_file))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_error_with_the_right_status_and_leaves_nothing(mistake, place, tmp_path, halted_run, lab):
    arguments, status, message = MISTAKES[mistake]
    before, run_before = lab.every_file(tmp_path), lab.every_file(halted_run)
    done = privgen(*map(place, arguments))
    assert done.exit_code == status, done.output
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.output
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error:")]
    assert len(errors) == 1
    if status == 1:
        assert done.stderr.strip() == errors[0]
        assert done.stdout == ""
    assert lab.every_file(tmp_path) == before
    assert lab.every_file(halted_run) == run_before


def test_an_error_is_red(lab, tmp_path):
    command = [*lab.command, "audit", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env={**lab.environment, "FORCE_COLOR": "1"})
    assert done.returncode == 1
    assert done.stderr.startswith("\x1b[1;31mError: There is no ledger")
    assert done.stderr.endswith("\x1b[0m\n")
    assert done.stderr.count("\n") == 1


def test_a_bug_is_one_line_too_and_debug_shows_where(monkeypatch):
    def broken(*args, **kwargs):
        raise ZeroDivisionError("in the middle of it")

    monkeypatch.setattr("planners.plan_of", broken)
    done = privgen("plan", "--epsilon", 1)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: this is a bug in privgen (ZeroDivisionError: in the middle of it)")
    assert done.stderr.count("\n") == 1
    assert isinstance(privgen("--debug", "plan", "--epsilon", 1).exception, ZeroDivisionError)


def test_a_reader_that_stops_reading_is_no_error(lab, halted_run):
    command = [*lab.command, "audit", str(halted_run), "--format", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=lab.environment)
    process.stdout.close()
    assert process.stderr.read() == ""
    process.wait()


def test_debug_shows_where_a_known_error_came_from(tmp_path):
    assert isinstance(privgen("--debug", "audit", tmp_path).exception, Exception)
    assert not isinstance(privgen("--debug", "audit", tmp_path).exception, SystemExit)
