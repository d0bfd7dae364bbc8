"""Without fcntl, as on Windows, everything that plans, audits and samples works, and a ledger has one holder."""

import os
import subprocess
import sys

import pytest

from accountant import Ledger
from accountant.errors import LedgerLocked

# As a system without it: importing it fails, in this process and whatever it imports.
WITHOUT = "import sys; sys.modules['fcntl'] = None\n"
ONE_HOLDER = """
from pathlib import Path
from accountant.errors import LedgerLocked
from accountant.ledger.chain import Ledger
path = Path(sys.argv[1])
with Ledger.create(path) as ledger:
    ledger.append("genesis", {})
    for _ in range(2):
        try:
            Ledger.open(path)
        except LedgerLocked as error:
            print("held:", error)
with Ledger.open(path) as ledger:
    print("free:", len(ledger.entries))
"""
COMMAND = "from privgen.cli import main; main(sys.argv[1:], prog_name='privgen')"


def without_fcntl(program, *arguments, **variables):
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT + program, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_accountant_and_planners_are_imported_without_fcntl():
    without_fcntl("import accountant, planners, accountant.ledger.account, accountant.audit.audit")


def test_a_ledger_has_one_holder_where_there_is_no_flock(tmp_path):
    said = without_fcntl(ONE_HOLDER, tmp_path / "ledger.jsonl").splitlines()
    assert [line.partition(":")[0] for line in said] == ["held", "held", "free"]
    assert said[-1] == "free: 1"
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".lock"]


def test_a_ledger_has_one_holder_where_there_is(tmp_path):
    with Ledger.create(tmp_path / "ledger.jsonl") as ledger:
        ledger.append("genesis", {})
        with pytest.raises(LedgerLocked, match="Another process holds"):
            Ledger.open(tmp_path / "ledger.jsonl")
    Ledger.open(tmp_path / "ledger.jsonl").close()
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.jsonl"]


def test_a_ledger_that_cannot_be_opened_is_let_go(tmp_path):
    """Its lock too: the next who tries is told the same, and not that another process holds it."""
    program = ONE_HOLDER.partition("with")[0] + (
        "from accountant.errors import LedgerBroken\n"
        "path.write_text('no ledger\\n')\n"
        "for _ in range(2):\n"
        "    try:\n        Ledger.open(path)\n"
        "    except LedgerBroken:\n        print('broken')\n"
    )
    assert without_fcntl(program, tmp_path / "ledger.jsonl").split() == ["broken", "broken"]


def test_plan_and_audit_work_without_fcntl(tmp_path):
    without_fcntl(COMMAND, "plan", "--epsilon", 5, "--dataset", "digits", "--iterations", 10, "--json")
    without_fcntl(COMMAND, "audit", "--claim", "gs-wgan")
    state = {"PRIVGEN_STATE": str(tmp_path / "state")}
    account = tmp_path / "a.jsonl"
    assert "0 runs" in without_fcntl(COMMAND, "account", "new", account, "--epsilon", 3, "--delta", 1e-6, **state)
    assert "0 runs" in without_fcntl(COMMAND, "account", "show", account, **state)
