"""Each check of an audit: what passes it, what fails it, and what is said where it could not look."""

import hashlib
import json
from dataclasses import replace

import pytest

from accountant.audit import checks, release_files
from accountant.audit.audit import audit_run
from accountant.audit.checks import FAILED, NOT_CHECKED, PASSED, WEIGHTS, Check
from accountant.ledger.replay import verify_ledger


@pytest.fixture
def run(make_run, tmp_path):
    return make_run(tmp_path / "run")


@pytest.fixture
def state(run):
    return verify_ledger(run)


def one(found: list[Check], name: str) -> Check:
    return next(check for check in found if check.name == name)


def test_the_spend_may_be_the_budget_and_no_more(state):
    assert checks.budget_check(state, state.budget.epsilon).status == PASSED
    more = checks.budget_check(state, state.budget.epsilon * (1 + 1e-12))
    assert more.status == FAILED and "MORE THAN" in more.detail
    # What is printed of a spend is not below it.
    assert "10.0001" in more.detail


def test_the_head_sees_a_dropped_tail_and_an_added_one(run, state):
    ledger, private = run / "release" / "ledger.jsonl", run / "private"
    assert checks.head_check(ledger, private, state.entries).status == PASSED
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join(lines[:-1]))
    dropped = checks.head_check(ledger, private, len(lines) - 1)
    assert dropped.status == FAILED and "dropped" in dropped.detail
    ledger.write_bytes(b"".join(lines))
    head = json.loads((private / "head.json").read_text())
    for behind, status in ((1, NOT_CHECKED), (2, FAILED)):
        known = json.loads(lines[head["seq"] - behind])
        (private / "head.json").write_text(json.dumps({"seq": known["seq"], "digest": known["digest"]}))
        assert checks.head_check(ledger, private, state.entries).status == status


def test_a_private_folder_without_a_head_fails(run, state):
    (run / "private" / "head.json").unlink()
    assert checks.head_check(run / "release" / "ledger.jsonl", run / "private", state.entries).status == FAILED
    assert checks.head_check(run / "release" / "ledger.jsonl", run / "elsewhere", state.entries).status == NOT_CHECKED
    # A crash right after the first entry leaves it unwritten, and nothing else does.
    assert checks.head_check(run / "release" / "ledger.jsonl", run / "private", 2).status == FAILED
    assert checks.head_check(run / "release" / "ledger.jsonl", run / "private", 1).status == NOT_CHECKED


def test_a_plan_file_must_be_the_ledgers(run, state, some_plan):
    path = run / "release" / "plan.json"
    assert checks.plan_check(state, path).status == PASSED
    path.write_text(json.dumps(some_plan.to_json() | {"defaults": {"delta": "another"}}))
    assert checks.plan_check(state, path).status == FAILED
    path.unlink()
    assert checks.plan_check(state, path).status == FAILED


def test_a_run_without_a_plan_has_no_plan_to_check(make_run, tmp_path):
    run = make_run(tmp_path / "bare", plan=None)
    assert checks.plan_check(verify_ledger(run), run / "release" / "plan.json").status == NOT_CHECKED


@pytest.mark.parametrize(
    ("genesis", "status"),
    [
        ({}, PASSED),
        ({"noise": "insecure-fixed-seed"}, FAILED),
        ({"noise": "fast"}, FAILED),
        ({"noise": "secure"}, FAILED),
        ({"sampling": "shuffled epochs"}, FAILED),
        ({"sampling": "Poisson, insecure seeded coins"}, FAILED),
        ({"sampling": None}, NOT_CHECKED),
        ({"noise": "homemade"}, NOT_CHECKED),
    ],
)
def test_noise_that_somebody_knows_and_other_sampling_fail(make_run, tmp_path, genesis, status):
    state = verify_ledger(make_run(tmp_path / "other", genesis=genesis))
    assert checks.sampling_check(state).status == status


def test_other_noise_after_a_resume_is_looked_at_too(state):
    same = checks.sampling_check(replace(state, resumed_with=("floored-gaussian",)))
    assert same.status == PASSED and "after a resume" not in same.detail
    for kind in ("insecure-fixed-seed", "fast"):
        found = checks.sampling_check(replace(state, resumed_with=("floored-gaussian", kind)))
        assert found.status == FAILED and f"after a resume {kind}" in found.detail


def test_released_files_are_held_to_their_digests(run, state):
    release = run / "release"
    assert one(release_files.release_checks(state, release), f"released {WEIGHTS}").status == PASSED
    (release / WEIGHTS).write_bytes(b"others")
    assert one(release_files.release_checks(state, release), f"released {WEIGHTS}").status == FAILED
    (release / WEIGHTS).unlink()
    assert one(release_files.release_checks(state, release), f"released {WEIGHTS}").status == FAILED


def test_weights_that_the_ledger_does_not_name_fail(run, state):
    (run / "release" / "notes.txt").write_text("a picture of the cat")
    assert one(release_files.release_checks(state, run / "release"), "other files").status == NOT_CHECKED
    assert "notes.txt" in one(release_files.release_checks(state, run / "release"), "other files").detail
    (run / "release" / "critic.safetensors").write_bytes(b"private")
    assert one(release_files.release_checks(state, run / "release"), "other files").status == FAILED


def test_a_changed_checkpoint_is_named(run, state):
    assert one(checks.checkpoint_checks(state, run / "private"), "checkpoint digests").status == PASSED
    (run / "private" / "checkpoint-0000012" / WEIGHTS).write_bytes(b"others")
    found = one(checks.checkpoint_checks(state, run / "private"), "checkpoint digests")
    assert found.status == FAILED and "checkpoint-0000012" in found.detail


def test_a_name_in_the_ledger_opens_no_file_elsewhere(run, state):
    secret = run / "secret"
    secret.write_bytes(b"weights")
    for name in ("../secret", str(secret), "..", "a\0b"):
        assert release_files.released_file(state, run / "release", name) is None
    assert release_files.released_file(state, run / "release", WEIGHTS) == b"weights"


def test_canaries_are_held_to_the_digest_that_was_in_the_ledger_first(make_run, tmp_path):
    named = {"count": 40, "digest": hashlib.sha256(b"canaries").hexdigest()}
    run = make_run(tmp_path / "planted", genesis={"canaries": named})
    state, private = verify_ledger(run), run / "private"
    assert [check.status for check in checks.canary_checks(state, private)] == [NOT_CHECKED]
    (private / checks.CANARIES).write_bytes(b"canaries")
    assert [check.status for check in checks.canary_checks(state, private)] == [PASSED]
    (private / checks.CANARIES).write_bytes(b"others")
    assert [check.status for check in checks.canary_checks(state, private)] == [FAILED]
    assert audit_run(run).verdict == "failed"


def test_an_unsigned_ledger_is_said_to_be_so(state):
    assert checks.signature_check(state, None).status == NOT_CHECKED
