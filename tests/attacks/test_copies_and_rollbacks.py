"""A run's folder that is copied, or put back from a backup, and an account that is put back to an older state.

Once, everything that could tell lay in the folder and came along: ledger, head, checkpoints, signatures. Two copies of
a run that was stopped half-way were both resumed as after a clean stop; both audits said "passed, ε ≤ 9.9975", and the
two together had cost 11.58. An account that was put back forgot 500 of 600 steps, and spent them again.
"""

import json
import shutil

import pytest

from accountant import Budget, LedgerBroken, LedgerError, LedgerLocked, SubsampledGaussian
from accountant.audit.audit import audit_run
from accountant.ledger.account import Account
from accountant.ledger.outside_head import OutsideHeads
from accountant.ledger.signing import new_key
from privgen.errors import RunError
from privgen.training.loop import run

STEP = SubsampledGaussian(sampling_rate=0.01, noise_multiplier=1.0)


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """Moves to another machine, whose user's state folder is its own."""

    def move_to(name):
        monkeypatch.setenv("PRIVGEN_STATE", str(tmp_path / f"state-{name}"))

    move_to("first")
    return move_to


@pytest.fixture
def stopped(lab, tmp_path):
    """A run that was stopped cleanly in the middle of a cycle."""
    with lab.begin(tmp_path / "run", plan=lab.plan(iterations=12)) as session:
        lab.stop_after(session, 3)
    return tmp_path / "run"


def last_resume(out):
    lines = (out / "release" / "ledger.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["kind"] == "resume"][-1]


def finish(session):
    with session:
        list(run(session))


@pytest.mark.parametrize("first", ["run", "copy"])
def test_of_two_copies_only_one_is_resumed(lab, stopped, tmp_path, first):
    shutil.copytree(stopped, tmp_path / "copy")
    second = {"run": "copy", "copy": "run"}[first]
    with lab.resume(tmp_path / first) as session:
        lab.stop_after(session, 2)
    before = lab.every_file(tmp_path / second)
    with pytest.raises(LedgerBroken, match="a copy or a backup of a ledger that went on"):
        lab.resume(tmp_path / second)
    assert lab.every_file(tmp_path / second) == before


def test_two_copies_are_not_resumed_at_the_same_time(lab, stopped, tmp_path):
    shutil.copytree(stopped, tmp_path / "copy")
    with lab.resume(stopped), pytest.raises(LedgerLocked, match="or a copy of it"):
        lab.resume(tmp_path / "copy")


@pytest.mark.parametrize("signed", [False, True])
def test_a_backup_that_was_put_back_is_refused_signed_or_not(lab, tmp_path, signed):
    key = tmp_path / "officer.key"
    options = {"signing_key": key} if signed else {}
    public = new_key(key) if signed else None
    out = tmp_path / "run"
    with lab.begin(out, plan=lab.plan(iterations=12), **options) as session:
        lab.stop_after(session, 3)
    shutil.copytree(out, tmp_path / "backup")
    finish(lab.resume(out, **options))
    shutil.rmtree(out)
    shutil.copytree(tmp_path / "backup", out)
    with pytest.raises(LedgerBroken, match="a copy or a backup"):
        lab.resume(out, **options)
    audit = audit_run(out, public_key=public)
    failed = [check for check in audit.checks if check.status == "failed"]
    assert audit.verdict == "failed" and [check.name for check in failed] == ["not put back to an older state"]
    assert str(tmp_path) not in failed[0].detail  # a report may be published


def test_a_ledger_that_was_cut_together_with_its_head_is_refused(lab, stopped):
    """Down to the first entry, head and later checkpoints removed: once, all of its steps were forgotten."""
    path = stopped / "release" / "ledger.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    (stopped / "private" / "head.json").unlink()
    for checkpoint in (stopped / "private").glob("checkpoint-*"):
        if checkpoint.name != "checkpoint-0000000":
            shutil.rmtree(checkpoint)
    with pytest.raises(LedgerBroken, match="a copy or a backup"):
        lab.resume(stopped)


def test_a_run_that_stays_where_it_is_resumes_as_after_a_clean_stop(lab, stopped):
    with lab.resume(stopped) as session:
        assert session.state.owed
    assert last_resume(stopped)["clean"] is True


def test_where_nothing_outside_knows_the_run_a_resume_is_a_crash(lab, stopped, machine):
    machine("second")
    with lab.resume(stopped) as session:
        assert session.state.owed == {}
        assert "another machine may know more" in session.doubt
    assert last_resume(stopped)["clean"] is False


@pytest.mark.parametrize("how", ["moved", "copied in its own place"])
def test_a_folder_at_another_path_or_with_another_inode_resumes_as_after_a_crash(lab, stopped, tmp_path, how):
    """It may be a copy whose twin is elsewhere: nothing owed is shared with that."""
    stopped.rename(tmp_path / "moved")
    out = tmp_path / "moved"
    if how == "copied in its own place":
        shutil.copytree(out, stopped)
        out = stopped
    with lab.resume(out) as session:
        assert session.state.owed == {}
        assert "moved, copied or restored" in session.doubt
    assert last_resume(out)["clean"] is False
    assert "moved" not in (out / "release" / "ledger.jsonl").read_text()  # the place is private
    # From here on this is its place.
    with lab.resume(out) as session:
        lab.stop_after(session, 1)
    lab.resume(out).close()
    assert last_resume(out)["clean"] is True


def test_an_anchor_file_knows_on_any_machine(lab, tmp_path, machine):
    anchor, out = tmp_path / "stick.json", tmp_path / "run"
    with lab.begin(out, plan=lab.plan(iterations=12), anchor=anchor) as session:
        lab.stop_after(session, 3)
    shutil.copytree(out, tmp_path / "copy")
    finish(lab.resume(out, anchor=anchor))
    machine("second")
    with pytest.raises(RunError, match="give its --anchor"):
        lab.resume(tmp_path / "copy")
    with pytest.raises(LedgerBroken, match="a copy or a backup"):
        lab.resume(tmp_path / "copy", anchor=anchor)
    assert audit_run(out, anchor=anchor).verdict == "passed"
    assert audit_run(tmp_path / "copy", anchor=anchor).verdict == "failed"
    with pytest.raises(LedgerBroken, match="remembers another ledger"):
        lab.begin(tmp_path / "other", anchor=anchor)
    assert not (tmp_path / "other").exists()


def test_an_account_knows_on_any_machine(lab, tmp_path, machine):
    account = Account.new(tmp_path / "clinic.jsonl", budget=Budget(epsilon=50.0, delta=1e-5))
    with lab.begin(tmp_path / "run", plan=lab.plan(iterations=12), account=account) as session:
        lab.stop_after(session, 3)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    finish(lab.resume(tmp_path / "run", account=account))
    machine("second")
    with pytest.raises(LedgerBroken, match="a copy or a backup"):
        lab.resume(tmp_path / "copy", account=account)


def test_an_account_that_is_put_back_to_an_older_state_is_refused(tmp_path):
    account = Account.new(tmp_path / "clinic.jsonl", budget=Budget(epsilon=3.0, delta=1e-6))
    account.reserve(STEP, 100, run="r")
    old = account.path.read_bytes()
    account.reserve(STEP, 500, run="r")
    account.path.write_bytes(old)
    for use in (account.state, lambda: account.reserve(STEP, 1, run="r")):
        with pytest.raises(LedgerBroken, match="a copy or a backup"):
            use()
    assert account.path.read_bytes() == old


def test_of_two_copies_of_an_account_only_one_is_spent(tmp_path):
    account = Account.new(tmp_path / "clinic.jsonl", budget=Budget(epsilon=3.0, delta=1e-6))
    account.reserve(STEP, 100, run="r")
    shutil.copy(account.path, tmp_path / "twin.jsonl")
    account.reserve(STEP, 100, run="r")
    with pytest.raises(LedgerBroken, match="a copy or a backup"):
        Account(tmp_path / "twin.jsonl").reserve(STEP, 100, run="r")


def test_what_is_remembered_outside_never_goes_back(lab, stopped):
    from accountant.ledger.entry import read_entries

    entries = read_entries(stopped / "release" / "ledger.jsonl")
    heads = OutsideHeads.of(stopped / "release" / "ledger.jsonl", entries[0].digest)
    with pytest.raises(LedgerBroken, match="remembers a newer entry"):
        heads.advance(entries[-2])
    heads.close()


def test_a_damaged_memory_is_no_permission(lab, stopped, tmp_path):
    (file,) = (tmp_path / "state-first" / "heads").glob("*.json")
    file.write_bytes(b"{}")
    with pytest.raises(LedgerError, match="restore it"):
        lab.resume(stopped)


def test_a_state_folder_that_cannot_be_written_to_costs_the_clean_resume_only(lab, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("PRIVGEN_STATE", str(tmp_path / "file" / "state"))
    with lab.begin(tmp_path / "run") as session:
        lab.stop_after(session, 2)
    with lab.resume(tmp_path / "run") as session:
        assert "cannot be written to" in session.doubt
    assert last_resume(tmp_path / "run")["clean"] is False


def test_what_remains_possible_stands_in_the_audit(lab, stopped, machine):
    """Copies on machines that share neither a state folder nor an account nor an anchor: on trust, in plain words."""
    here = audit_run(stopped)
    machine("second")
    elsewhere = audit_run(stopped)
    for audit in (here, elsewhere):
        (trust,) = (a for a in audit.assumptions if "no copy or backup" in a.text)
        assert trust.held == "on-trust"
    name = "not put back to an older state"
    assert [next(c.status for c in a.checks if c.name == name) for a in (here, elsewhere)] == ["passed", "not-checked"]
