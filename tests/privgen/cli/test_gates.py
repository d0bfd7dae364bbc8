"""`privgen audit RUN --require …` and a signed policy: exit status, one line a gate, JSON and JUnit."""

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from accountant import BandedGaussian, BudgetGuard, Ledger, Part, Plan
from accountant.audit.audit import audit_run
from accountant.audit.audit_gates import AUDIT_GATES, measured
from accountant.ledger.genesis import genesis_budget
from accountant.ledger.signing import load_signer, new_key
from privgen.cli import main
from privgen.metrics.evaluation_gates import evaluation_gates
from privgen.metrics.evaluation_gates import measured as measured_of_evaluation

EVENT = BandedGaussian(sampling_rate=0.05, noise_multiplier=1.0, bands=1)
PLAN = Plan(
    epsilon=10.0,
    delta=1e-5,
    dataset="digits",
    dataset_size=1437,
    bands=1,
    sampling_rate=0.05,
    iterations=20,
    noise_multiplier=1.0,
    parts=(Part(name="critic", clip_norm=1.0, noise_multiplier=1.0),),
)


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """A signed run, and the key's file."""
    place = tmp_path_factory.mktemp("signed")
    public = new_key(place / "officer.key")
    release = place / "run" / "release"
    release.mkdir(parents=True)
    PLAN.save(release / "plan.json")
    genesis = {"budget": dict(genesis_budget(PLAN.budget)), "plan": PLAN.to_json(), "plan_digest": PLAN.digest}
    with Ledger.create(release / "ledger.jsonl", signer=load_signer(place / "officer.key").sign) as ledger:
        ledger.append(
            "genesis",
            genesis | {"public_key": public, "sampling": "Poisson", "noise": "floored-gaussian"},
        )
        guard = BudgetGuard(PLAN.budget, ledger=ledger)
        for left in range(PLAN.iterations, 0, -1):
            guard.admit(EVENT, at_most=left)
        guard.halt("the plan's 20 iterations are done")
    return place


def audit(*arguments):
    return CliRunner().invoke(main, ["audit", *map(str, arguments)])


def test_gates_that_are_met_are_a_line_each_and_exit_0(signed, tmp_path):
    done = audit(
        signed / "run", "--public-key", signed / "officer.key.pub", "--gates", tmp_path / "ci",
        "--require", "epsilon<=10,delta<=1e-5,signed,halted,noise=floored-gaussian,tpr@1%<=0.9,unit=record",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    lines = [line for line in done.stdout.splitlines() if line.startswith(("✓ ", "✗ "))]
    assert any(line.startswith("✓ epsilon<=10: at most ") for line in lines)
    found = json.loads((tmp_path / "ci" / "gates.json").read_text())
    assert found["met"] and found["schema"] == "privgen.gates/1" and len(found["gates"]) == 8
    suite = ElementTree.parse(tmp_path / "ci" / "gates.xml").getroot().find("testsuite")
    assert (suite.get("tests"), suite.get("failures")) == ("8", "0")


def test_one_gate_that_is_not_met_is_exit_1_and_a_failure_in_junit(signed, tmp_path):
    done = audit(signed / "run", "--require", "epsilon<=0.01,halted", "--gates", tmp_path)
    assert done.exit_code == 1 and "epsilon<=0.01" in done.stderr
    root = ElementTree.parse(tmp_path / "gates.xml").getroot()
    assert [case.get("name") for case in root.iter("testcase") if case.find("failure") is not None] == ["epsilon<=0.01"]


def test_the_bound_is_compared_and_not_its_print(signed):
    epsilon = audit_run(signed / "run").guarantee.epsilon
    assert audit(signed / "run", "--require", f"epsilon<={epsilon!r}").exit_code == 0
    assert audit(signed / "run", "--require", f"epsilon<={epsilon * (1 - 1e-12)!r}").exit_code == 1


def test_signed_asks_for_a_key_that_is_known_from_elsewhere(signed, tmp_path):
    assert audit(signed / "run", "--require", "signed").exit_code == 1
    assert audit(signed / "run", "--require", "signed", "--public-key", signed / "officer.key.pub").exit_code == 0


def test_no_gate_is_met_by_a_failed_audit(signed, tmp_path):
    (tmp_path / "run" / "release").mkdir(parents=True)
    for name in ("ledger.jsonl", "plan.json"):
        (tmp_path / "run" / "release" / name).write_bytes((signed / "run" / "release" / name).read_bytes())
    replace(PLAN, delta=1e-6).save(tmp_path / "run" / "release" / "plan.json")
    done = audit(tmp_path / "run", "--require", "delta<=1e-5", "--gates", tmp_path / "ci")
    assert done.exit_code == 1
    assert json.loads((tmp_path / "ci" / "gates.json").read_text())["met"] is False


def test_json_stays_alone_on_stdout_and_holds_the_gates(signed):
    done = audit(signed / "run", "--format", "json", "--require", "epsilon<=10")
    assert json.loads(done.stdout)["gates"]["met"] is True
    assert "✓ epsilon<=10" in done.stderr


def test_a_signed_policy_asks_and_a_changed_one_is_refused(signed, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("schema: privgen.policy/1\nname: Ours\naudit: [epsilon<=10, halted]\n")
    key = signed / "officer.key"
    assert CliRunner().invoke(main, ["keys", "sign", str(policy), "--key", str(key)]).exit_code == 0
    options = ("--policy", policy, "--policy-key", f"{key}.pub", "--gates", tmp_path)
    assert audit(signed / "run", *options).exit_code == 0
    by = json.loads((tmp_path / "gates.json").read_text())["policy"]["signed_by"]
    assert by == (signed / "officer.key.pub").read_text().strip()
    policy.write_text(policy.read_text().replace("<=10", "<=100"))
    done = audit(signed / "run", *options)
    assert done.exit_code == 1 and "signature" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["RUN", "--require", "epsilom<=10"],
        ["RUN", "--require", "epsilon>=10"],
        ["RUN", "--require", "epsilon<10"],
        ["RUN", "--gates", "ci"],
        ["RUN", "--policy-key", "k"],
        ["--claim", "dicesgd", "--require", "epsilon<=10"],
    ],
    ids=" ".join,
)
def test_a_gate_that_says_nothing_is_wrong_usage(arguments, signed):
    done = audit(*(signed / "run" if a == "RUN" else a for a in arguments))
    assert done.exit_code == 2, done.output


def test_everything_that_can_be_asked_of_a_run_is_measured(signed):
    assert set(AUDIT_GATES) == set(measured(audit_run(signed / "run")))


def test_an_evaluations_gates_ask_the_worst_classifier():
    summary = {"std": 0.0, "values": [], "chance": 0.1}
    result = {
        "gen2real": {"cnn": {"mean": 0.85, **summary}, "logreg": {"mean": 0.75, **summary}},
        "copying": {"nearer_than_held_out": 0.4, "identical": 0},
        "further": {"mine": {"Score": 2.0}},
    }
    found = measured_of_evaluation(result)
    assert (found["gen2real"].low, found["gen2real"].high, found["gen2real@cnn"].low) == (0.75, 0.85, 0.85)
    assert found["copying"].high == 0.4 and found["identical"].high == 0.0 and found["mine.score"].low == 2.0
    assert set(found) - {"mine.score"} <= set(evaluation_gates())
