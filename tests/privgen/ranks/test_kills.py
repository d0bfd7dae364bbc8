"""Ranks killed at random moments, resumed on other numbers of ranks: nothing that ran is missing from the ledger.

The trial itself is benchmarks/kill_ranks.py, which does fifty; here it does three.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

TRIAL = Path(__file__).parents[3] / "benchmarks" / "kill_ranks.py"


def test_three_kills_lose_no_step_and_leave_no_rank_hanging(lab):
    command = [sys.executable, TRIAL, "--kills", "3", "--longest", "3", "--seed", str(time.time_ns()), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=lab.environment, timeout=300)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["complaints"] == []
    assert found["kills"] == 3
    assert found["under_counted"] == found["hung"] == found["lost_checkpoints"] == found["failed_lives"] == 0
    assert found["lost"] >= 3
    assert found["executed"] <= found["charged"]
    assert done.returncode == 0
