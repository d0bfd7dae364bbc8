"""The examples in the docs run, and do what they say."""

import subprocess
import sys
from pathlib import Path

from accountant import RdpAccountant, SubsampledGaussian, verify_ledger
from privgen.experiments.records import TrialLog
from privgen.experiments.tables import tables

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


def test_the_tables_of_the_clipping_bias_page_are_those_of_its_recorded_trials():
    page = (RESULTS / "clipping-bias.md").read_text()
    rows = [line for line in tables(TrialLog(RESULTS / "clipping-bias.jsonl").all()).splitlines() if line[:1] == "|"]
    assert len(rows) > 20
    assert [row for row in rows if row not in page] == []
