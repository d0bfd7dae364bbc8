"""`pip install privgen` alone: planning, auditing, accounts and keys work where nothing of the extra `train` is."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from privgen.cli import group

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TRAIN = {"loky", "matplotlib", "numba", "safetensors", "sklearn", "torch", "torchvision"}

ALONE = """
import json, sys
class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in BLOCKED else self.finder.find_spec(name, path, target)
sys.meta_path[:] = map(Hiding, sys.meta_path)
from click.testing import CliRunner
from privgen.cli import main
found = []
for arguments in json.loads(sys.argv[1]):
    done = CliRunner().invoke(main, arguments)
    found.append([done.exit_code, done.stdout, done.stderr])
json.dump(found, sys.stdout)
"""


def alone(tmp_path, *commands):
    """Status, stdout and stderr of each command, in a process where nothing of `train` can be imported."""
    code = f"BLOCKED = {TRAIN!r}\n{ALONE}"
    environment = {**os.environ, "PRIVGEN_STATE": str(tmp_path / "state")}
    asked = json.dumps([[str(word) for word in command] for command in commands])
    done = subprocess.run([sys.executable, "-c", code, asked], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_plain_install_names_nothing_of_training_and_the_extra_names_all_of_it():
    plain = {Requirement(line).name for line in PROJECT["dependencies"]}
    train = {Requirement(line).name for line in PROJECT["optional-dependencies"]["train"]}
    assert {name.replace("scikit-learn", "sklearn") for name in train} == TRAIN == group._TRAIN
    assert not plain & train
    assert plain == {
        "click", "cryptography", "filelock", "jinja2", "numpy", "pillow", "prv-accountant", "pyyaml", "rich", "scipy",
    }  # fmt: skip


def test_plan_audit_referee_accounts_keys_and_doctor_work_without_it(halted_run, tmp_path):
    plan = tmp_path / "plan.json"
    done = alone(
        tmp_path,
        ["plan", "--epsilon", 10, "--dataset", "fashion-mnist", "--iterations", 200, "--out", plan],
        ["plan", "--epsilon", 3, "--dataset-size", 5000, "--iterations", 50, "--accountant", "prv", "--json"],
        ["audit", halted_run, "--format", "json"],
        ["audit", halted_run, "--format", "html", "--out", tmp_path / "audit.html"],
        ["audit", halted_run, "--referee"],
        ["audit", "--claim", "gs-wgan"],
        ["keys", "new", tmp_path / "officer.key"],
        ["account", "new", tmp_path / "hospital.account", "--epsilon", 5, "--delta", "1e-6"],
        ["data"],
        ["doctor"],
    )
    assert [status for status, _, _ in done] == [0] * len(done), done
    assert plan.exists() and (tmp_path / "audit.html").stat().st_size > 10_000
    audit = json.loads(done[2][1])
    assert (audit["verdict"], audit["spent"]["epsilon"] <= 5.0) == ("passed", True)
    assert json.loads(done[1][1])["verified"]["prv"]["upper"] <= 3.0


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["train", "--plan", "PLAN", "--dataset", "digits"], "torch"),
        (["sample", "RUN", "--out", "x.npz"], "torch"),
        (["export", "RUN", "--to", "x"], "torch"),
        (["plan", "--epsilon", 3, "--iterations", 50, "--plot", "x.png"], "matplotlib"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_command_that_needs_it_says_so_in_one_line_with_the_command(arguments, needed, lab, halted_run, tmp_path):
    lab.plan(dataset="digits", dataset_size=1437).save(tmp_path / "plan.json")
    places = {"RUN": halted_run, "PLAN": tmp_path / "plan.json", "x.png": tmp_path / "x.png"}
    ((status, _, said),) = alone(tmp_path, [places.get(word, word) for word in arguments])
    assert status == 1
    (line,) = [line for line in said.splitlines() if line.startswith("Error")]
    assert line == f"Error: this needs {needed}, which is not installed: pip install 'privgen[train]'."
