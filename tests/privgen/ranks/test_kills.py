"""Ranks killed at random moments, resumed on other numbers of ranks: nothing that ran is missing from the ledger.

The trial itself is benchmarks/kill_ranks.py, which does fifty; here it does three.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from privgen.training.distributed import World

TRIAL = Path(__file__).parents[3] / "benchmarks" / "kill_ranks.py"


def test_three_kills_lose_no_step_and_leave_no_rank_hanging(lab):
    command = [sys.executable, TRIAL, "--kills", "3", "--longest", "1.5", "--seed", str(time.time_ns()), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=lab.environment, timeout=300)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["complaints"] == []
    assert found["kills"] == 3
    assert found["under_counted"] == found["hung"] == found["lost_checkpoints"] == found["failed_lives"] == 0
    assert found["lost"] >= 3
    assert 0 < found["executed"] <= found["charged"]
    assert done.returncode == 0


@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_killed_before_all_have_joined_ends_the_other_with_a_clear_error(ranks, victim):
    """The one that is left waits for the time it was given, a few times over if there is no rank 0, and no longer."""

    def work(rank):
        if rank == victim:
            os.kill(os.getpid(), signal.SIGKILL)
        World.joined(timeout=1)

    found = ranks.processes(2, work, seconds=40)
    assert found[victim] == ranks.KILLED
    assert found[1 - victim].kind == "RunError"
    assert "2 processes of WORLD_SIZE do not find each other" in found[1 - victim].text
    assert "start all of them by torchrun" in found[1 - victim].text
