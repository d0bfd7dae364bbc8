"""All attacks on one run: what was done, what was not and why, and what may leave the house."""

import json
import shutil

import pytest
from click.testing import CliRunner

from accountant.audit.audit import audit_run
from privgen.attacks import empirical
from privgen.attacks.empirical import attack_run
from privgen.cli import main
from privgen.data import load_data
from privgen.training.loop import run as train_run


@pytest.fixture(scope="module")
def run(lab, npz_file, tmp_path_factory):
    data = load_data(f"npz:{npz_file}", facts=lab.own_facts)
    out = tmp_path_factory.mktemp("empirical") / "run"
    plan = lab.own_plan(len(data.train.labels), iterations=6)
    with lab.begin(out, plan=plan, data=data, canaries=40) as session:
        for _ in train_run(session):
            pass
    return out


def attacked(run, **options):
    return attack_run(audit_run(run), run, trials=60, seed=3, generated=200, **options)


def test_mechanism_canaries_and_membership_are_all_looked_at(run):
    found = attacked(run)
    assert len(found.findings) == 4 and found.holds and found.notes == ()
    (canaries,) = found.canaries
    assert canaries.lower.canaries == 40 and canaries.lower.confidence == 0.95
    told, members = found.memberships
    assert told.members + told.others == 40 and not told.private
    assert (members.private and members.members == 160) or members.members + members.others == 200
    assert 0 <= members.roc.true_positive_rate(0.001) <= members.roc.true_positive_rate(0.1) <= 1
    low, high = members.bounds(0.1, confidence=0.95)
    assert low <= members.roc.true_positive_rate(0.1) <= high


def audit(run, form, monkeypatch):
    monkeypatch.setattr(empirical, "membership_of", lambda *a, generated, **k: membership_of(*a, generated=200, **k))
    done = CliRunner().invoke(
        main, ["audit", str(run), "--empirical", "--trials", "60", "--seed", "3", "--format", form]
    )
    assert done.exit_code == 0, done.output
    return done.stdout


membership_of = empirical.membership_of
REAL = "that were trained on from held-out ones"


def test_what_is_made_of_real_records_is_in_no_page(run, monkeypatch):
    for form in ("markdown", "html"):
        page = audit(run, form, monkeypatch)
        assert REAL not in page and "only the terminal shows it" in page
        assert "included canaries from excluded ones" in page and "One-run audit" in page
    shown = " ".join(audit(run, "terminal", monkeypatch).split())
    assert "One-run audit" in shown or "The whole run, through its canaries" in shown
    assert "Private: computed from real records" in shown and "0.1% FPR TPR" in shown
    found = json.loads(audit(run, "json", monkeypatch))["empirical"]
    assert [one["private"] for one in found["membership"]] == [False, True]
    assert set(found["membership"][1]["true_positive_rate"]) == {"0.001", "0.01", "0.1"}
    assert len(found["membership"][1]["roc"]["false_positive"]) > 2


def test_what_could_not_be_done_is_said(run, halted_run, npz_file, tmp_path):
    moved = attacked(run.parent / "run" / "release")
    assert moved.canaries == () and "private folder" in " ".join(moved.notes)
    without = attacked(halted_run)
    said = " ".join(without.notes)
    assert "trained without canaries" in said and "Unknown data set 'synthetic'" in said


def test_a_generator_that_is_not_the_released_one_is_not_attacked(run, tmp_path):
    copied = shutil.copytree(run, tmp_path / "run")
    (copied / "release" / "generator.safetensors").write_bytes(b"other")
    found = attacked(copied)
    assert found.memberships == () and "no released generator" in " ".join(found.notes)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "celeba", "celeba-resized"])
def test_an_audit_downloads_no_data_set(run, lab, tmp_path, monkeypatch, name):
    """celeba-resized was not among those that an audit does not fetch."""
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "private" / "source.json").write_text(json.dumps({"dataset": name, "notes": []}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("privgen.data.load.DEBIAN", tmp_path / "none")
    monkeypatch.setattr(empirical, "load_data", None)  # it would be called
    (note,) = [text for text in attacked(copy).notes if name in text]
    assert "is not available on this machine; give its folder by --data-dir" in note
