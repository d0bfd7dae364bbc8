"""What an (ε, δ) means is said where it is planned, trained and audited; no weak promise passes for a strong one."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from accountant import Plan
from accountant.audit.audit import audit_run
from accountant.audit.risk import risks_of_plan, risks_of_promise
from accountant.bound_text import upper_percent
from privgen.cli import main
from privgen.report.content import report_of, tone_of
from privgen.report.document import HOLDS
from privgen.report.expectation import MEASURED, nearest
from privgen.report.html import render_html
from privgen.report.markdown import render_markdown
from privgen.report.risk import in_words, reached_section, weakness
from privgen.report.terminal import render_audit


def privgen(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def said(text):
    return " ".join(text.split())


def test_a_plan_says_what_it_promises_and_what_an_attacker_reaches(tmp_path):
    file = tmp_path / "plan.json"
    done = privgen("plan", "--epsilon", 3, "--dataset", "digits", "--group-size", 3, "--out", file)
    risks = risks_of_plan(Plan.load(file), (1, 2, 3, 5, 10))
    text = said(done.stdout)
    assert done.exit_code == 0
    assert "Including one record makes any outcome at most 20.1 times as likely" in text
    assert f"identifies at most {upper_percent(risks.one.tpr[0.01])} of the used records" in text
    rows = [line.split()[0] for line in done.stdout.splitlines() if line.strip().endswith("%")]
    assert [row for row in rows if row.isdigit()][-5:] == ["1", "2", "3", "5", "10"]


def test_a_plans_json_has_its_risk_and_is_a_plan_still(tmp_path):
    done = privgen("plan", "--epsilon", 3, "--dataset", "digits", "--json", "--group-size", 4)
    written = json.loads(done.stdout)
    assert set(written["risk"]) >= {"tpr", "advantage", "posterior", "groups"}
    assert [group["group_size"] for group in written["risk"]["groups"]] == [2, 4, 5, 10]
    file = tmp_path / "plan.json"
    file.write_text(done.stdout)
    plan = Plan.load(file)
    assert risks_of_plan(plan).one.to_json()["tpr"] == written["risk"]["tpr"]
    assert "risk" not in plan.to_json()


@pytest.mark.parametrize(("epsilon", "warned"), [(1, False), (10, False), (12, True), (20, True)])
def test_an_epsilon_above_ten_is_warned_of(epsilon, warned):
    done = privgen("plan", "--epsilon", epsilon, "--dataset", "digits")
    assert done.exit_code == 0
    assert ("a weak promise" in said(done.stderr)) is warned


@pytest.mark.parametrize(("epsilon", "named"), [(20.5, "a very weak promise"), (1e9, "is no promise")])
def test_an_epsilon_above_twenty_is_asked_for_in_so_many_words(epsilon, named):
    refused = privgen("plan", "--epsilon", epsilon, "--dataset", "digits")
    assert refused.exit_code == 2
    assert named in said(refused.output) and "--accept-weak-privacy" in refused.output


def test_a_weak_promise_that_was_asked_for_is_planned_and_called_what_it_is():
    done = privgen("plan", "--epsilon", 500, "--dataset", "digits", "--accept-weak-privacy")
    assert done.exit_code == 0
    assert "hardly any protection" in said(done.stdout) and "no promise" in said(done.stderr)


def test_an_epsilon_that_is_none_is_not_answered_by_ten():
    refused = privgen("plan", "--epsilon", -1, "--dataset", "digits")
    assert refused.exit_code == 2
    assert "1 to 3 are strong" in said(refused.output) and "try --epsilon 10" not in refused.output


def test_few_records_are_told_what_was_measured_and_many_are_not():
    assert "records are few. Measured nearest" in said(privgen("plan", "--epsilon", 3, "--dataset-size", 485).stdout)
    assert "Measured nearest" not in privgen("plan", "--epsilon", 3, "--dataset-size", 60000).stdout
    for one in MEASURED:
        assert nearest(one.records, one.epsilon).records == one.records
        assert 0 < one.found < one.real < 100


def test_an_audit_says_it_in_every_format(halted_run):
    audit = audit_run(halted_run)
    words = in_words(audit.risks, epsilon=audit.guarantee.epsilon, delta=audit.state.budget.delta)
    report = report_of(audit)
    assert said(words) in said(render_audit(audit, colour=False))
    assert words.split(". ")[0] in render_markdown(report).replace("\\", "")
    assert "What this means" in render_html(report)
    written = json.loads(privgen("audit", halted_run, "--format", "json", "--group-size", 7).stdout)["risk"]
    assert written["tpr"] == audit.risks.one.to_json()["tpr"]
    assert [group["group_size"] for group in written["groups"]] == [2, 5, 7, 10]


def test_a_verdict_that_passed_is_no_praise_where_epsilon_is_large(halted_run):
    audit = audit_run(halted_run)
    assert audit.verdict == "passed" and audit.guarantee.epsilon > 1
    assert tone_of(audit) == HOLDS
    assert "\x1b[1;32m" not in render_audit(audit, colour=True).splitlines()[0]
    assert 'class="verdict holds"' in render_html(report_of(audit))
    strong = replace(audit, guarantee=replace(audit.guarantee, epsilon=0.9))
    assert tone_of(strong) == "passed"
    assert "\x1b[1;32m" in render_audit(strong, colour=True).splitlines()[0]


def test_what_was_reached_stands_beside_what_any_attack_could():
    class Curve:
        def true_positive_rate(self, most):
            return 2 * most

    class Attack:
        what, roc = "members from others", Curve()

    (_, table) = reached_section(risks_of_promise(epsilon=1.0, delta=1e-5), [Attack()]).blocks
    assert table.rows[1] == ("members from others, at 1 % false alarms", "2.00%", "at most 2.8 %")


def test_words_for_the_ends():
    nothing, all_of_it = (in_words(risks_of_promise(epsilon=e, delta=1e-6), epsilon=e, delta=1e-6) for e in (0.0, 1e9))
    assert "changes the probability of any outcome by at most" in nothing
    assert "e^(1e+09) times" in all_of_it and "hardly any protection" in all_of_it
    assert weakness(10.0) is None and weakness(10.1) is not None


def test_a_weak_promise_is_called_so_in_an_audit(halted_run):
    audit = audit_run(halted_run)
    assert "a weak promise" not in render_audit(audit, colour=False)
    state = audit.state
    weak = replace(audit, state=replace(state, budget=replace(state.budget, epsilon=15.0)))
    assert "ε = 15 is a weak promise" in said(render_audit(weak, colour=False))
    assert "is a weak promise" in render_markdown(report_of(weak))


def test_training_by_a_weak_plan_is_warned_of(npz_file, tmp_path):
    plan, data = tmp_path / "plan.json", f"npz:{npz_file}"
    made = privgen("plan", "--epsilon", 15, "--dataset", data, "--batch-size", 20, "--iterations", 2, "--out", plan)
    assert made.exit_code == 0
    done = privgen("train", "--plan", plan, "--out", tmp_path / "run", "--set", "generator_batch=8")
    assert done.exit_code == 0 and "is a weak promise" in said(done.stderr)
