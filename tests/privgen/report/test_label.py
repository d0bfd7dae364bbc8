"""The privacy label: it says what the audit says, nothing of a run that failed, and needs no other file."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from accountant import BandedGaussian, BudgetGuard, Ledger, Part, Plan
from accountant.audit.audit import audit_run
from accountant.bound_text import upper_percent, upper_text
from accountant.ledger.genesis import genesis_budget
from privgen.cli import main

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
def run(tmp_path_factory):
    release = tmp_path_factory.mktemp("runs") / "<b>run" / "release"
    release.mkdir(parents=True)
    PLAN.save(release / "plan.json")
    genesis = {"budget": dict(genesis_budget(PLAN.budget)), "plan": PLAN.to_json(), "plan_digest": PLAN.digest}
    event = BandedGaussian(sampling_rate=0.05, noise_multiplier=1.0, bands=1)
    with Ledger.create(release / "ledger.jsonl") as ledger:
        ledger.append("genesis", genesis | {"sampling": "Poisson", "noise": "floored-gaussian"})
        guard = BudgetGuard(PLAN.budget, ledger=ledger)
        for left in range(PLAN.iterations, 0, -1):
            guard.admit(event, at_most=left)
        guard.halt("the plan's 20 iterations are done")
    return release.parent


def label(*arguments):
    return CliRunner().invoke(main, ["label", *map(str, arguments)])


def test_the_json_is_the_audits_figures(run):
    done = label(run, "--format", "json")
    found, audit = json.loads(done.stdout), audit_run(run)
    assert done.exit_code == 0 and found["schema"] == "privgen.label/1"
    assert found["guarantee"]["epsilon"] == audit.guarantee.epsilon and found["guarantee"]["delta"] == 1e-5
    assert found["risk"] == audit.risks.to_json() and found["ledger_head"] == audit.state.head
    assert found["unit"].startswith("one record") and "add-or-remove-one" in found["adjacency"]
    assert found["covered"] and found["not_covered"] and found["on_trust"] and len(found["who_can_verify"]) == 4


def test_the_card_shows_each_figure_rounded_up_and_runs_nothing(run):
    page, audit = label(run).stdout, audit_run(run)
    assert f"ε ≤ {upper_text(audit.guarantee.epsilon)} at δ = 1e-05" in page
    assert upper_percent(audit.risks.one.tpr[0.01]) in page and upper_percent(audit.risks.one.posterior[0.5]) in page
    assert "&lt;b&gt;run" in page and "<b>run" not in page
    assert "<script" not in page and "http:" not in page and "https:" not in page and "default-src" in page


def test_a_file_gets_what_stdout_would_get(run, tmp_path):
    assert label(run, "--out", tmp_path / "label.html").stdout == ""
    assert (tmp_path / "label.html").read_text() == label(run).stdout


def test_a_failed_audit_has_a_label_without_figures_and_exit_1(run, tmp_path):
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "ledger.jsonl").write_bytes((run / "release" / "ledger.jsonl").read_bytes())
    replace(PLAN, delta=1e-6).save(tmp_path / "release" / "plan.json")
    done = label(tmp_path, "--format", "json")
    found = json.loads(done.stdout)
    assert done.exit_code == 1 and found["verdict"] == "failed"
    assert found["guarantee"] is None and found["risk"] is None and not found["covered"]
    page = label(tmp_path).stdout
    assert "Do not rely" in page and "ε ≤" not in page and "Covered" not in page
