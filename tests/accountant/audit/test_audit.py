"""`audit_run`: what a ledger proves is recomputed, a verdict follows from the checks, and JSON says the same."""

import json
import math

import pytest

from accountant import Budget, Feedback, Ledger, LedgerError, Part, Plan, PrvAccountant, RdpAccountant
from accountant.audit.audit import audit_run, claimed_by_the_paper, price
from accountant.audit.checks import WEIGHTS
from accountant.events import HiddenFeedbackGaussian, SubsampledGaussian
from accountant.ledger.state import Segment

PLAIN = SubsampledGaussian(sampling_rate=0.05, noise_multiplier=1.0)


def failed(audit):
    return [check.name for check in audit.checks if check.status == "failed"]


def test_an_honest_run_is_passed_and_its_spend_is_what_the_accountants_say(make_run, some_plan, tmp_path):
    audit = audit_run(make_run(tmp_path / "run"))
    event, steps = some_plan.events()[0]
    assert (audit.verdict, failed(audit), audit.run) == ("passed", [], "run")
    assert audit.spent.rdp == RdpAccountant().compose(event, steps).get_epsilon(1e-5)
    assert audit.spent.prv == PrvAccountant().compose(event, steps).get_epsilon_bounds(1e-5)
    assert audit.spent.epsilon == min(audit.spent.rdp, audit.spent.prv.upper) <= some_plan.epsilon


def test_a_ledger_without_a_halt_is_incomplete_and_never_passed(make_run, tmp_path):
    audit = audit_run(make_run(tmp_path / "run", steps=5, halt=False))
    assert (audit.verdict, failed(audit)) == ("incomplete", [])


def test_what_was_reserved_and_not_committed_is_spent(make_run, tmp_path):
    run = make_run(tmp_path / "run", steps=8, halt=False)
    whole = audit_run(run).spent.rdp
    # The last commit, checkpoint and release are gone: two reservations of four steps stand.
    ledger = run / "release" / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["kind"] in ("genesis", "reserve")]
    ledger.write_bytes(b"".join(kept))
    (run / "private" / "head.json").unlink()
    audit = audit_run(run)
    assert (audit.state.steps_done, audit.state.steps_charged) == (0, 8)
    assert audit.spent.rdp == whole


def test_a_broken_chain_is_a_failed_audit_without_a_figure(make_run, tmp_path):
    run = make_run(tmp_path / "run")
    ledger = run / "release" / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().replace(b'"steps":4', b'"steps":3', 1))
    audit = audit_run(run)
    assert audit.verdict == "failed" and failed(audit) == ["ledger chain"]
    assert audit.state is None and audit.spent is None and audit.shares == ()
    assert audit.to_json()["spent"] is None


@pytest.mark.parametrize(
    "genesis",
    [
        {},
        {"budget": []},
        {"budget": {"epsilon": "ten", "delta": 1e-5, "neighbouring": "add-or-remove-one"}},
        {"budget": {"epsilon": 1.0, "delta": 1e-5, "neighbouring": {}}},
        {"budget": {"epsilon": 1.0, "delta": 1e-5, "neighbouring": "add-or-remove-one"}, "plan": [1]},
        {"budget": {"epsilon": 1.0, "delta": 1e-5, "neighbouring": "add-or-remove-one"}, "canaries": 3},
        {"budget": {"epsilon": 1.0, "delta": 1e-5, "neighbouring": "add-or-remove-one"}, "public_key": 3},
    ],
)
def test_an_entry_of_the_wrong_form_is_a_failed_audit_and_no_crash(tmp_path, genesis):
    with Ledger.create(tmp_path / "ledger.jsonl") as ledger:
        ledger.append("genesis", genesis)
    assert audit_run(tmp_path).verdict == "failed"


def test_without_a_ledger_there_is_nothing_to_audit(tmp_path):
    with pytest.raises(LedgerError, match="runs/NAME"):
        audit_run(tmp_path)


def test_a_release_folder_alone_says_what_it_could_not_check(make_run, tmp_path):
    run = make_run(tmp_path / "run")
    audit = audit_run(run / "release")
    assert audit.verdict == "passed"
    assert {c.name for c in audit.checks if c.status == "not-checked"} >= {"nothing dropped from the end", "signature"}


def test_the_json_says_what_the_audit_says(make_run, some_plan, tmp_path):
    audit = audit_run(make_run(tmp_path / "run"))
    found = json.loads(json.dumps(audit.to_json(), allow_nan=False))
    assert (found["schema"], found["verdict"], found["run"]) == ("privgen.audit/1", "passed", "run")
    assert found["target"] == {"epsilon": 10.0, "delta": 1e-5, "neighbouring": "add-or-remove-one"}
    assert found["spent"]["epsilon"] == audit.spent.epsilon
    assert found["spent"]["prv"]["lower"] <= found["spent"]["prv"]["upper"] <= found["spent"]["rdp"]
    assert found["steps"] == {"done": 12, "reserved": 12, "planned": 12}
    assert found["parts"][0]["share"] == 1.0
    assert found["provenance"]["plan_digest"] == some_plan.digest
    assert found["provenance"]["released"].keys() == {WEIGHTS}
    assert {check["name"] for check in found["checks"]} == {check.name for check in audit.checks}


def test_the_json_says_how_it_was_done_with_a_plan_and_without(make_run, tmp_path):
    planned = audit_run(make_run(tmp_path / "run")).to_json()["mechanism"]
    assert (planned["feedback"], planned["bands"]) == ("banded", 2)
    assert (planned["dataset"], planned["dataset_size"]) == ("digits", 1437)
    assert [phase["iterations"] for phase in planned["phases"]] == [12]
    assert (planned["sampling"], planned["noise"], planned["canaries"]) == ("Poisson", "floored-gaussian", 0)
    bare = audit_run(make_run(tmp_path / "bare", plan=None)).to_json()
    assert bare["mechanism"]["feedback"] is bare["mechanism"]["bands"] is bare["mechanism"]["dataset_size"] is None
    assert bare["mechanism"]["phases"] == bare["parts"] == []
    assert bare["steps"] == {"done": 12, "reserved": 12, "planned": None}


def test_an_infinite_bound_is_null_and_fails_the_budget(tmp_path):
    spent = price([Segment(SubsampledGaussian(sampling_rate=1.0, noise_multiplier=1e-200), 1, 1)],
                  Budget(epsilon=1.0, delta=1e-5))  # fmt: skip
    assert math.isinf(spent.epsilon) and spent.to_json() == {"rdp": None, "prv": None}


def test_nothing_that_was_reserved_costs_nothing():
    budget = Budget(epsilon=1.0, delta=1e-5)
    for segments in ([], [Segment(PLAIN, 0, 0)]):
        assert price(segments, budget).epsilon == 0.0


def test_each_segment_rounds_its_blocks_up_by_itself(some_plan):
    event, budget = some_plan.events()[0][0], Budget(epsilon=1.0, delta=1e-5)
    apart = price([Segment(event, 1, 1), Segment(event, 1, 1)], budget)
    assert apart.rdp == price([Segment(event, 3, 3)], budget).rdp > price([Segment(event, 2, 2)], budget).rdp


def test_the_published_feedback_has_a_claim_beside_what_is_certified(make_run, tmp_path):
    plan = Plan(
        epsilon=1000.0,
        delta=1e-5,
        dataset_size=1437,
        feedback=Feedback.PAPER,
        sampling_rate=0.05,
        iterations=12,
        noise_multiplier=1.0,
        parts=(Part(name="critic", clip_norm=1.0, feedback_clip_norm=1e-3, noise_multiplier=1.0),),
    )
    audit = audit_run(make_run(tmp_path / "run", plan=plan))
    event = plan.event_of(plan.schedule()[0])
    assert isinstance(event, HiddenFeedbackGaussian)
    assert audit.claimed == RdpAccountant().compose(event.claimed(), 12).get_epsilon(1e-5) < audit.spent.epsilon
    assert "not a bound" in audit.to_json()["claimed"]["label"]


def test_other_feedback_has_no_claim(make_run, tmp_path):
    audit = audit_run(make_run(tmp_path / "run"))
    assert audit.claimed is None and claimed_by_the_paper(audit.state) is None


def test_a_ledger_that_grows_while_it_is_audited_is_no_backup(tmp_path, monkeypatch):
    """What is remembered outside was read after the ledger, and knew an entry more: a run that goes on failed."""
    from accountant import Ledger, SubsampledGaussian
    from accountant.audit import audit
    from accountant.events import event_to_json
    from accountant.ledger.outside_head import OutsideHeads

    monkeypatch.setenv("PRIVGEN_STATE", str(tmp_path / "state"))
    path, real = tmp_path / "ledger.jsonl", audit.read_entries
    event = event_to_json(SubsampledGaussian(sampling_rate=0.01, noise_multiplier=1.0))
    with Ledger.create(path) as ledger:
        genesis = ledger.append("genesis", {"budget": {"epsilon": 9.0, "delta": 1e-5, "neighbouring": "replace-one"}})
        ledger.remember_outside(OutsideHeads.of(path, genesis.digest))

        def read_and_go_on(path):
            entries = real(path)
            ledger.append("reserve", {"segment": 0, "steps": 1, "event": event})
            return entries

        monkeypatch.setattr(audit, "read_entries", read_and_go_on)
        found = audit_run(path)
    (check,) = (check for check in found.checks if check.name == "not put back to an older state")
    assert check.status == "passed" and found.verdict == "incomplete"


def test_a_damaged_memory_outside_fails_and_names_no_path(tmp_path, monkeypatch):
    from accountant import Ledger
    from accountant.ledger.outside_head import OutsideHeads

    monkeypatch.setenv("PRIVGEN_STATE", str(tmp_path / "state"))
    path = tmp_path / "ledger.jsonl"
    with Ledger.create(path) as ledger:
        genesis = ledger.append("genesis", {"budget": {"epsilon": 9.0, "delta": 1e-5, "neighbouring": "replace-one"}})
        ledger.remember_outside(OutsideHeads.of(path, genesis.digest))
        ledger.append("halt", {"reason": "enough", "steps": 0})
    (file,) = (tmp_path / "state" / "heads").glob("*.json")
    file.write_bytes(b"{}")
    (check,) = (check for check in audit_run(path).checks if check.name == "not put back to an older state")
    assert check.status == "failed" and "cannot be read" in check.detail and str(tmp_path) not in check.detail
