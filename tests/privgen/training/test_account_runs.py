"""Runs under an account: what they may do together, and what ties a run to its account."""

import json

import pytest
from click.testing import CliRunner

from accountant import Budget, BudgetExhausted, RdpAccountant, verify_ledger
from accountant.audit.audit import audit_run
from accountant.ledger.account import Account
from privgen.cli import main
from privgen.errors import RunError
from privgen.training.loop import run


@pytest.fixture
def account(lab, tmp_path):
    """Room for two runs of the laboratory's plan, and a little."""
    plan = lab.plan()
    event = plan.event_of(plan.phase_at(0))
    both = RdpAccountant().new_segment().compose(event, 2 * plan.iterations).get_epsilon(plan.delta)
    return Account.new(tmp_path / "clinic.jsonl", budget=Budget(epsilon=1.3 * both, delta=plan.delta))


def finish(session):
    with session:
        for _ in run(session):
            pass
    return session.outcome


def test_runs_go_on_until_the_account_is_spent_and_then_none_begins(lab, tmp_path, account):
    outcomes = []
    with pytest.raises(BudgetExhausted, match="Nothing was begun"):
        for number in range(50):
            outcomes.append(finish(lab.begin(tmp_path / f"run{number}", account=account)))
    assert len(outcomes) >= 2
    assert "iterations are done" in outcomes[0]
    state = account.state()
    assert state.spent <= state.limit
    charged = sum(verify_ledger(tmp_path / f"run{n}").steps_charged for n in range(len(outcomes)))
    assert state.steps >= charged
    assert not (tmp_path / f"run{len(outcomes)}").exists()


def test_a_run_that_the_account_stops_halts_like_any_other(lab, tmp_path, account):
    plan = lab.plan()
    event = plan.event_of(plan.phase_at(0))
    while account.affordable(event, 1000) > plan.iterations // 2:
        account.reserve(event, 1, run="another")
    outcome = finish(lab.begin(tmp_path / "run", account=account))
    assert "is spent" in outcome
    assert audit_run(tmp_path / "run").verdict == "passed"
    assert account.state().spent <= account.state().limit


def test_a_resume_needs_the_runs_own_account(lab, tmp_path, account):
    other = Account.new(tmp_path / "other.jsonl", budget=account.state().budget)
    with lab.begin(tmp_path / "run", account=account) as session:
        lab.stop_after(session, 3)
    for wrong in ({}, {"account": other}):
        with pytest.raises(RunError, match="give its --account clinic"):
            lab.resume(tmp_path / "run", **wrong)
    assert "iterations are done" in finish(lab.resume(tmp_path / "run", account=account))


def test_a_run_without_an_account_is_not_resumed_under_one(lab, tmp_path, account):
    with lab.begin(tmp_path / "run") as session:
        lab.stop_after(session, 3)
    with pytest.raises(RunError, match="omit --account"):
        lab.resume(tmp_path / "run", account=account)


def test_a_crash_is_charged_to_the_account_too(lab, tmp_path, account):
    session = lab.begin(tmp_path / "run", account=account)
    lab.take(session, 5)
    session.close()
    before = account.state().steps
    assert before >= 5
    finish(lab.resume(tmp_path / "run", account=account))
    assert account.state().steps >= verify_ledger(tmp_path / "run").steps_charged


def test_the_command_makes_an_account_and_shows_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    made = runner.invoke(main, ["account", "new", "clinic", "--epsilon", "3", "--delta", "1e-6", "--dataset", "digits"])
    assert made.exit_code == 0, made.output
    shown = runner.invoke(main, ["account", "show", "clinic", "--json"])
    assert json.loads(shown.stdout)["target"] == {"epsilon": 3.0, "delta": 1e-6, "neighbouring": "add-or-remove-one"}
    again = runner.invoke(main, ["account", "new", "clinic", "--epsilon", "3", "--delta", "1e-6"])
    assert again.exit_code == 1
    assert "exists already" in again.output
    missing = runner.invoke(main, ["account", "show", "nobody"])
    assert "make one with privgen account new" in " ".join(missing.output.split())


def test_the_command_makes_a_key_once(tmp_path):
    runner, path = CliRunner(), str(tmp_path / "officer.key")
    made = runner.invoke(main, ["keys", "new", path])
    assert made.exit_code == 0, made.output
    assert (tmp_path / "officer.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "officer.key.pub").read_text().strip() in made.output
    assert runner.invoke(main, ["keys", "new", path]).exit_code == 1
