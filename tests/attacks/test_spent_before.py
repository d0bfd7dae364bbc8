"""The same records, trained on again under another name.

Once, nobody said that they had paid before: two runs of ε = 5 each were two passed audits, and a record that
was in both
had paid more than either said.
"""

import dataclasses

import numpy as np
import pytest
from click.testing import CliRunner

from accountant.ledger.register import SpendRegister
from privgen.cli import main
from privgen.data import load_data
from privgen.training.loop import run
from privgen.training.spent_records import enter, spent_before


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    monkeypatch.setenv("PRIVGEN_STATE", str(tmp_path / "state"))


def finish(session):
    with session:
        list(run(session))


def test_a_second_run_on_the_same_records_is_told_what_both_cost_together(lab, tmp_path):
    plan, data = lab.plan(iterations=3), lab.data()
    assert spent_before(plan, data.train.contents(), register=SpendRegister()) is None
    finish(lab.begin(tmp_path / "first", plan=plan))
    found = spent_before(plan, data.train.contents(), register=SpendRegister())
    assert ([one.name for one in found.runs], found.records) == (["first"], 200)
    assert plan.epsilon - 0.2 < found.epsilon < found.with_plan < 2 * plan.epsilon
    finish(lab.begin(tmp_path / "second", plan=plan))
    third = spent_before(plan, data.train.contents(), register=SpendRegister())
    assert [one.name for one in third.runs] == ["first", "second"] or len(third.runs) == 2
    assert third.epsilon == pytest.approx(found.with_plan)
    assert third.order == found.order  # fixed by the first, before the second was chosen


def test_shuffled_and_partly_new_records_are_the_same_records_and_others_are_not(lab, tmp_path):
    data = lab.data()
    finish(lab.begin(tmp_path / "first", plan=lab.plan(iterations=3)))
    half = data.train.subset(np.random.default_rng(0).permutation(200)[:100])
    found = spent_before(lab.plan(), half.contents(), register=SpendRegister())
    assert found.records == 100
    assert spent_before(lab.plan(), lab.data(seed=7).train.contents(), register=SpendRegister()) is None
    relabelled = dataclasses.replace(data.train, labels=(data.train.labels + 1) % 3)
    assert spent_before(lab.plan(), relabelled.contents(), register=SpendRegister()) is None


def test_a_resume_is_the_same_run_and_pays_once(lab, tmp_path):
    with lab.begin(tmp_path / "run", plan=lab.plan(iterations=6)) as session:
        lab.stop_after(session, 2)
    finish(lab.resume(tmp_path / "run"))
    assert len(spent_before(lab.plan(), lab.data().train.contents(), register=SpendRegister()).runs) == 1


def test_train_and_plan_say_it_on_stderr_and_nothing_of_it_is_released(lab, tmp_path, npz_file):
    def privgen(*arguments):
        return CliRunner().invoke(main, [str(a) for a in arguments])

    name = f"npz:{npz_file}"
    planned = ["plan", "--epsilon", 5, "--batch-size", 20, "--iterations", 3, "--dataset", name, "--name", "scans"]
    assert "Spent before" not in privgen(*planned, "--out", tmp_path / "plan.json").stderr
    train = ["train", "--plan", tmp_path / "plan.json", "--dataset", name, "--set", "generator_batch=4"]
    first = privgen(*train, "--out", tmp_path / "run-of-last-year")
    assert first.exit_code == 0, first.output
    assert "Spent before" not in first.output
    for done in (privgen(*train, "--out", tmp_path / "second"), privgen(*planned, "--json")):
        assert done.exit_code == 0, done.output
        assert "Spent before" in done.stderr and "were in run-of-last-year (" in done.stderr
        assert "privgen account new NAME" in done.stderr and "relabelled copies" in done.stderr
        assert "Spent before" not in done.stdout
    released = b"".join(lab.every_file(tmp_path / "second" / "release").values())
    assert b"Spent before" not in released and b"run-of-last-year" not in released


def test_a_plan_that_was_found_is_confirmed_in_a_terminal_and_by_yes_in_a_script(lab, tmp_path, npz_file, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = load_data(f"npz:{npz_file}", facts=lab.own_facts)
    lab.plan(
        dataset=lab.own_facts.name, dataset_size=len(data.train.labels), public_facts=lab.own_facts, iterations=2
    ).save(tmp_path / "plan.json")
    common = ["train", "--dataset", f"npz:{npz_file}", "--out", "run", "--set", "generator_batch=4"]
    monkeypatch.setattr("privgen.cli.train.in_a_terminal", lambda: True)
    refused = CliRunner().invoke(main, common, input="n\n")
    assert refused.exit_code == 1 and not (tmp_path / "run").exists()
    shown = " ".join(refused.stderr.split())
    assert "Found plan.json: 2 steps on" in shown and "It spends ε = 5 at δ = 1e-05" in shown
    assert CliRunner().invoke(main, common, input="y\n").exit_code == 0
    again = CliRunner().invoke(main, [*common[:4], "again", *common[5:], "--yes"])
    assert again.exit_code == 0 and "Train with it?" not in again.output
    # Nobody is asked in a script, but what is trained is shown there too.
    monkeypatch.setattr("privgen.cli.train.in_a_terminal", lambda: False)
    script = CliRunner().invoke(main, [*common[:4], "script", *common[5:]])
    for done in (again, script):
        assert "Found plan.json: 2 steps on" in " ".join(done.stderr.split())
    assert script.exit_code == 0 and "Train with it?" not in script.output


def test_a_plan_for_a_published_set_that_is_at_hand_says_it_too(lab, tmp_path, monkeypatch):
    """Only data of one's own were once looked at; what is not at hand is not fetched for it."""
    digits, register = load_data("digits"), SpendRegister()
    plan = lab.plan(dataset="digits", dataset_size=1437)
    asked = ["plan", "--epsilon", "5", "--batch-size", "20", "--iterations", "3", "--json", "--dataset"]
    assert "Spent before" not in CliRunner().invoke(main, [*asked, "digits"]).stderr
    enter(plan, digits, register=register, run="0" * 64, name="run-of-last-year", date="2025-01-01")
    done = CliRunner().invoke(main, [*asked, "digits"])
    assert done.exit_code == 0 and "1437 of these 1437 records were in run-of-last-year" in done.stderr
    monkeypatch.setattr("privgen.data.load.find_dataset_folder", lambda *args: None)
    monkeypatch.setattr("privgen.data.load._download", lambda *args: pytest.fail("a plan downloads nothing"))
    assert "Spent before" not in CliRunner().invoke(main, [*asked, "mnist"]).stderr
