"""What a person is told to do next is right: it can be copied, destroys nothing, and names what was meant."""

import itertools
import json
import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import privgen as package
from accountant.errors import PlanError
from accountant.plans.plan import Plan
from planners import plan
from privgen.cli import main
from privgen.cli.group import COMMANDS
from privgen.errors import ConfigError
from privgen.methods.gan.settings import GanSettings
from privgen.training.run_folder import RunFolder


def privgen(*arguments, **options):
    return CliRunner().invoke(main, [str(a) for a in arguments], **options)


def usage(done):
    """The one line that says what is wrong with the command line."""
    assert done.exit_code == 2, done.output
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["g.npz", "g.png", "plan.json"])
def test_a_file_that_is_no_plan_is_never_to_be_written_over(name, tmp_path):
    np.savez(tmp_path / "g.npz", images=np.zeros((2, 28, 28, 1), np.uint8))
    (tmp_path / name).write_bytes((tmp_path / "g.npz").read_bytes())
    with pytest.raises(PlanError, match="name the file that privgen plan --out wrote") as refused:
        Plan.load(tmp_path / name)
    assert f"--out {tmp_path / name}" not in str(refused.value)
    assert "codec" not in str(refused.value)


def test_a_folder_given_as_a_plan_is_not_to_be_made_by_plan(tmp_path):
    with pytest.raises(PlanError, match="name a file that privgen plan --out wrote"):
        Plan.load(tmp_path)


def test_evaluating_nothing_says_that_nothing_is_there_before_it_asks_for_data(tmp_path):
    done = privgen("evaluate", tmp_path / "none")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: There is no run, .npz file or folder of images at")


def test_an_account_that_exists_is_shown_and_not_resumed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["account", "new", "a b/clinic.jsonl", "--epsilon", 3, "--delta", 1e-6]
    (tmp_path / "a b").mkdir()
    assert privgen(*options).exit_code == 0
    again = privgen(*options)
    assert again.exit_code == 1 and "--resume" not in again.stderr
    command = again.stderr[again.stderr.index("privgen account show") : again.stderr.index(", or give")]
    assert privgen(*shlex.split(command)[1:]).exit_code == 0


@pytest.mark.parametrize(
    ("name", "value"), [("generator_rate", "abc"), ("generator_steps", 1.5), ("seed", True), ("critic_rate", None)]
)
def test_a_setting_of_another_kind_is_named_with_what_it_may_be(name, value):
    with pytest.raises(ConfigError, match=rf"Expected {name}={value!r} to be a (finite|whole) number"):
        GanSettings.from_json({name: value})


def test_a_setting_that_is_no_number_is_wrong_usage(lab, tmp_path):
    lab.plan(dataset="digits", dataset_size=1437).save(tmp_path / "plan.json")
    arguments = ["train", "--plan", tmp_path / "plan.json", "--out", tmp_path / "run", "--set"]
    assert "generator_rate='abc' to be a finite number" in usage(privgen(*arguments, "generator_rate=abc"))
    assert "Did you mean generator_rate?" in usage(privgen(*arguments, "generatr_rate=1"))
    assert "'generator_rate' has no value" in usage(privgen(*arguments, "generator_rate"))


def test_a_command_or_option_that_was_nearly_right_is_guessed_and_no_other():
    assert "Did you mean train?" in usage(privgen("trian"))
    assert "Did you mean new?" in usage(privgen("account", "nw"))
    assert "Did you mean --epsilon?" in usage(privgen("plan", "--epsilonn", 3))
    far = usage(privgen("train", "--epsilonn", 3))
    assert "privgen plan has --epsilon" in far and "--plan" not in far
    assert usage(privgen("train", "--xyzzy")) == "Error: No such option '--xyzzy'."
    assert "Did you mean digits?" in usage(privgen("data", "digts"))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["plan", "--epsilon", 10, "--dataset", "cifar"], "Unknown data set"),
        (["train", "--dataset", "cifar"], "Unknown data set"),
        (["evaluate", "x.npz", "--dataset", "cifar"], "Unknown data set"),
        (["experiment", "clipping-bias", "--dataset", "cifar"], "Unknown data set"),
        (["data", "cifar"], "Unknown data set"),
        (["data", "none/of/these"], "no folder or file none/of/these"),
        (["evaluate", "x.npz", "--metrics", "fud"], "'fud' is not one of"),
        (["plan", "--epsilon", 10, "--share", "critic=0.5,critic=0.5"], "names a part twice"),
        (["plan", "--epsilon", 10, "--share", "critic=2"], "sum to 1"),
        (["plan", "--epsilon", 10, "--share", "critic=0.5,painter=0.5"], "painter"),
        (["plan", "--epsilon", 10, "--share", "critic"], "is not like critic=0.6"),
    ],
)
def test_a_wrong_value_of_an_option_is_wrong_usage_everywhere(arguments, text):
    assert text in usage(privgen(*arguments))


def test_shares_in_thirds_are_shares_of_the_whole():
    shares = {"critic": 0.333, "classifier": 0.333, "reconstruction": 0.333}
    made = plan(epsilon=10.0, dataset_size=60000, iterations=100, shares=shares)
    assert len({round(part.noise_multiplier, 9) for part in made.parts}) == 1


def test_a_printed_command_can_be_copied_where_paths_have_spaces(tmp_path):
    file = tmp_path / "my plan.json"
    done = privgen("plan", "--epsilon", 5, "--dataset", "digits", "--iterations", 10, "--out", file)
    hint = next(line for line in done.stdout.splitlines() if line.startswith("Next: "))
    words = shlex.split(hint.removeprefix("Next: "))
    assert words[words.index("--plan") + 1] == str(file)
    assert shlex.split(RunFolder(tmp_path / "my run").argument) == [str(tmp_path / "my run")]


def test_tables_are_whole_where_nobody_has_a_window():
    # Given whole: readline, which pytest loads, sets COLUMNS behind Python's back.
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "privgen", "plan", "--epsilon", "5", "--dataset", "digits", "--iterations", "20"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    line = next(line for line in done.stdout.splitlines() if line.startswith("delta"))
    assert "min(1e-5, 1/(10 N)) rounded down to one digit" in line
    assert "…" not in done.stdout


def test_an_audit_has_no_colour_where_no_color_forbids_it(halted_run):
    """The test gives it a terminal: a pipe has no colour anyway."""
    import pty

    def shown(**variables):
        ours, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200", **variables}
        command = [sys.executable, "-m", "privgen", "audit", str(halted_run)]
        process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, env=environment)
        os.close(theirs)
        text = b""
        while True:
            try:
                some = os.read(ours, 65536)
            except OSError:
                break
            if not some:
                break
            text += some
        os.close(ours)
        assert process.wait() == 0
        return text

    assert b"\x1b[" in shown()
    assert b"\x1b[" not in shown(NO_COLOR="1")


def test_python_m_privgen_is_the_command():
    done = subprocess.run([sys.executable, "-m", "privgen", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("privgen, version")


def test_dir_shows_what_is_offered_and_no_helper():
    assert dir(package) == sorted(package.__all__)


def test_data_as_json_is_json_alone():
    listed = json.loads(privgen("data", "--json").stdout)
    assert {"name": "digits", "dataset_size": 1437, "where": "embedded (scikit-learn)"} in listed
    one = json.loads(privgen("data", "digits", "--json").stdout)
    assert sum(one["records"].values()) == one["dataset_size"] == 1437


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_where_its_help_is_when_an_option_is_unknown(name):
    done = privgen(name, "--no-such-option")
    assert done.exit_code == 2
    assert f"{name} --help" in done.stderr or "Missing" in done.stderr or "No such" in done.stderr


def test_lines_of_a_piped_training_say_how_long_it_still_takes(lab, halted_run, monkeypatch):
    from types import SimpleNamespace

    from privgen.cli import progress

    lines = []
    monkeypatch.setattr(progress.err_console, "print", lambda text, **_: lines.append(text))
    guard = SimpleNamespace(steps=0, charged=0, epsilon_spent=lambda: 0.0)
    plan = SimpleNamespace(steps=100, epsilon=1.0, accountant="rdp", expected_batch_size=20.0)
    session = SimpleNamespace(plan=plan, guard=guard)
    now = itertools.chain([0.0], itertools.repeat(60.0))
    display = progress.TrainingDisplay(session, clock=lambda: next(now))
    display.update(SimpleNamespace(step=25, planned=100, charged=64, epsilon_spent=0.5, losses={}, samples=None))
    assert lines[-1].endswith("about 3 min 0 s left")


def test_audit_sample_and_evaluate_work_on_a_system_without_fcntl(halted_run, npz_file, tmp_path):
    program = "import sys; sys.modules['fcntl'] = None; from privgen.cli import main; main(sys.argv[1:])"
    for arguments in (
        ["audit", halted_run],
        ["sample", halted_run, "-n", 120, "--out", tmp_path / "made.npz"],
        ["evaluate", npz_file, "--dataset", npz_file, "--metrics", "fid", "--out", tmp_path / "result"],
    ):
        command = [sys.executable, "-W", "ignore", "-c", program, *map(str, arguments)]
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr


def test_more_images_than_fit_into_memory_are_refused_before_any_is_made(halted_run, tmp_path):
    done = privgen("sample", halted_run, "-n", 10**12, "--out", tmp_path / "x.npz")
    assert "1000000000000 images of 16×16×1 take" in usage(done) and "--seed" in usage(done)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "name"),
    [(["--epsilon", 0, "--delta", 1e-5], "epsilon"), (["--epsilon", 1, "--delta", 2], "delta"),
     (["--epsilon", 1, "--delta", 1e-5, "--order", 0.5], "--order")],
)  # fmt: skip
def test_an_account_of_an_impossible_budget_is_wrong_usage_and_leaves_nothing(options, name, tmp_path):
    assert name in usage(privgen("account", "new", tmp_path / "a.jsonl", *options))
    assert list(tmp_path.iterdir()) == []


def test_a_plan_is_not_audited_as_a_broken_ledger(lab, tmp_path):
    lab.plan().save(tmp_path / "plan.json")
    done = privgen("audit", tmp_path / "plan.json")
    assert done.exit_code == 1 and done.stdout == ""
    assert "is a plan, in which nothing is spent yet" in done.stderr
