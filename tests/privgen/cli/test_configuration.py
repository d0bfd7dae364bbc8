"""`--config` and `--print-config`: a file stands for options, and what is printed is such a file."""

import json

import pytest
import yaml
from click.testing import CliRunner

from privgen.cli import main


def privgen(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def file(tmp_path):
    """Writes a configuration; its path."""
    path = tmp_path / "run.yaml"

    def write(text):
        path.write_text(text, encoding="utf-8")
        return path

    return write


def planned(*arguments):
    done = privgen("plan", *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_plan_from_a_file_is_the_plan_of_the_same_options(file):
    path = file(
        "epsilon: 3\ndataset-size: 500\nbatch_size: 50\niterations: 20\nshare: {critic: 0.6, classifier: 0.4}\n"
    )
    options = ("--epsilon", 3, "--dataset-size", 500, "--batch-size", 50, "--iterations", 20)
    assert planned("--config", path) == planned(*options, "--share", "critic=0.6,classifier=0.4")


def test_the_command_line_goes_before_the_file(file):
    path = file("epsilon: 3\ndataset-size: 500\niterations: 20\n")
    found = planned("--config", path, "--iterations", 30)
    assert (found["epsilon"], found["iterations"]) == (3.0, 30)


def test_a_file_may_have_a_section_for_each_command(file):
    path = file("plan: {epsilon: 2, dataset-size: 500, iterations: 9}\nsample: {run: runs/x, count: 7, out: x.npz}\n")
    assert planned("--config", path)["epsilon"] == 2.0
    done = privgen("sample", "--config", path, "--print-config")
    assert yaml.safe_load(done.stdout) == {"run": "runs/x", "count": 7, "out": "x.npz", "device": "cpu"}


def test_lists_and_flags_and_repeated_options_are_as_on_the_command_line(file):
    path = file("train:\n  plan: none.json\n  set: [generator_rate=1e-3, seed=2]\n  resume: false\n  yes: true\n")
    found = yaml.safe_load(privgen("train", "--config", path, "--print-config").stdout)
    assert found["set"] == ["generator_rate=1e-3", "seed=2"]
    assert (found["plan"], found["yes"], found["resume"]) == ("none.json", True, False)
    names = file('epsilon: 1\nclasses: [benign, "a, b"]\n')
    assert yaml.safe_load(privgen("plan", "--config", names, "--print-config").stdout)["classes"] == 'benign,"a, b"'


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "--epsilon", 5, "--phases", "0.5:1.5,0.5:1.0", "--time-budget", "30m", "--shape", "28x28x1"),
        ("train", "--plan", "p.json", "--set", "a=1", "--set", "b=2", "--out", "runs/x", "--resume"),
        ("evaluate", "runs/x", "--metrics", "fid,is", "--classifier", "cnn", "--classifier", "mlp"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_is_printed_is_read_again_as_the_same(arguments, file):
    command, *options = arguments
    printed = privgen(command, *options, "--print-config")
    assert printed.exit_code == 0, printed.output
    again = privgen(command, "--config", file(printed.stdout), "--print-config")
    assert again.stdout == printed.stdout
    for option in options:
        assert str(option).lstrip("-").split(",")[0] in printed.stdout


def test_printing_does_nothing(tmp_path):
    out = tmp_path / "plan.json"
    assert privgen("plan", "--epsilon", 1, "--out", out, "--print-config").exit_code == 0
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epsilonn: 3\n", "has no option 'epsilonn'. Did you mean epsilon?"),
        ("epsilon: [1\n", "is no YAML file"),
        ("just words\n", "holds no options"),
        ("epsilon: 3\nmeasure: maybe\n", "expected true or false"),
        ("epsilon: {a: [1]}\n", "expected a value"),
        ("epsilon: 3\ntrain: {out: x}\n", "'epsilon' stands in none; move it into one"),
        ("epsilon: 3\niterations: many\n", "'many' is not a valid int"),
        ("config: other.yaml\n", "has no option 'config'"),
    ],
)
def test_a_file_that_cannot_be_meant_is_wrong_usage(text, said, file):
    done = privgen("plan", "--config", file(text))
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.split()), done.stderr
