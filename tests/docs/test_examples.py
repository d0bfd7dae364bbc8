"""The examples in the docs run, and do what they say."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from accountant import BandedGaussian, RdpAccountant, SubsampledGaussian, verify_ledger
from accountant.audit.audit import audit_run
from privgen.experiments.clipping_bias.experiment import FORM
from privgen.experiments.clipping_bias.tables import tables
from privgen.experiments.records import TrialLog
from privgen.experiments.registry import EXPERIMENTS, experiment_named

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLES, RESULTS = DOCS / "examples", DOCS / "results"


def test_the_guard_around_a_plain_loop_halts_at_the_last_affordable_step(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    done = subprocess.run(
        [sys.executable, EXAMPLES / "guard_any_loop.py", ledger], capture_output=True, text=True, check=True
    )
    state = verify_ledger(ledger)
    event = SubsampledGaussian(sampling_rate=0.1, noise_multiplier=2.0)
    spent = RdpAccountant().compose(event, state.steps_charged)
    assert state.halted is not None
    assert spent.get_epsilon(1e-5) <= 2.0 < spent.compose(event).get_epsilon(1e-5)
    assert f"{state.steps_done} steps, halted" in done.stdout


def ran(example, out):
    done = subprocess.run([sys.executable, EXAMPLES / example, out], capture_output=True, text=True, check=True)
    return done.stdout


def test_a_model_of_ones_own_is_trained_in_five_marked_lines_and_its_audit_passes(tmp_path):
    said = ran("own_model.py", tmp_path / "mine")
    assert "40 steps of expected batch 250" in said and "iterations are done" in said
    assert float(said.rpartition(":")[2]) > 0.5  # ten classes
    assert audit_run(tmp_path / "mine").verdict == "passed"
    assert (tmp_path / "mine" / "release" / "report.html").exists()
    text = (EXAMPLES / "own_model.py").read_text()
    assert len([line for line in text.splitlines() if re.search(r"  # \d( |$)", line)]) == 5


@pytest.mark.parametrize(
    ("example", "package", "run"),
    [("lightning_loop.py", "pytorch_lightning", "."), ("transformers_loop.py", "transformers", "private")],
)
def test_others_trainers_drive_a_private_training_and_its_audit_passes(tmp_path, example, package, run):
    """Skipped where the package is not installed: no extra has it."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    said = ran(example, tmp_path / "theirs")
    assert verify_ledger(tmp_path / "theirs" / run).steps_charged == 20
    assert audit_run(tmp_path / "theirs" / run).verdict == "passed"
    assert "20" in said and "accuracy" in said


def test_a_loop_of_ones_own_spends_what_its_budget_affords_and_learns(tmp_path):
    said = ran("own_loop.py", tmp_path / "ledger.jsonl")
    state = verify_ledger(tmp_path / "ledger.jsonl")
    event = BandedGaussian(sampling_rate=0.05, noise_multiplier=1.5, bands=4)
    assert state.halted and RdpAccountant().compose(event, state.steps_charged).get_epsilon(1e-5) <= 4.0
    assert RdpAccountant().compose(event, state.steps_charged + 4).get_epsilon(1e-5) > 4.0
    assert float(said.rpartition(":")[2]) > 0.8


def test_the_readmes_lines_are_those_of_the_librarys_page():
    readme, page = (DOCS.parent / "README.md").read_text(), (DOCS / "library.md").read_text()
    (lines,) = re.findall(r"```python\n(from privgen import PrivateTraining.*?)```", readme, flags=re.DOTALL)
    assert lines in page
    compile(lines, "README.md", "exec")


def test_the_tables_of_the_clipping_bias_page_are_those_of_its_recorded_trials():
    page = (RESULTS / "clipping-bias.md").read_text()
    log = TrialLog(RESULTS / "clipping-bias.jsonl", FORM)
    rows = [line for line in tables(log.all()).splitlines() if line[:1] == "|"]
    assert len(rows) > 20
    assert [row for row in rows if row not in page] == []


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name != "clipping-bias"])
def test_the_tables_of_the_experiments_page_are_those_of_its_recorded_trials(name):
    page, path = (RESULTS / "experiments.md").read_text(), RESULTS / f"{name}.jsonl"
    if not path.exists():
        assert f"`{name}` was not run" in page
        return
    experiment = experiment_named(name)
    text = experiment.tables(experiment.own(TrialLog(path, experiment.form)))
    rows = [line for line in text.splitlines() if line[:1] == "|"]
    assert len(rows) > 4
    assert [row for row in rows if row not in page] == []
