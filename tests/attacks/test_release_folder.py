"""What somebody may put into a release folder, or change there, after the run has halted.

Once, an audit passed them all: a report whose ε had been edited to 0.1, weights in a subfolder, under a hidden name, or
in a format of another library, and a whole private checkpoint, owed sums and all, copied beside the generator.
"""

import shutil
import zipfile

import pytest

from accountant import BudgetGuard, Ledger
from accountant.audit.audit import audit_run
from accountant.ledger.genesis import genesis_budget
from accountant.plans.plan import Plan
from privgen.report.write import write_reports
from privgen.training.loop import run


@pytest.fixture(scope="module")
def finished(lab, tmp_path_factory):
    """A run that has halted and left its reports, as `privgen train` does."""
    out = tmp_path_factory.mktemp("finished") / "run"
    with lab.begin(out, plan=lab.plan(iterations=4)) as session:
        list(run(session))
        session.name_reports(write_reports(out))
    return out


def edited_report(out):
    path = out / "release" / "report.html"
    path.write_text(path.read_text().replace("ε ≤ ", "ε ≤ 0.1 < "))


def edited_markdown(out):
    path = out / "release" / "report.md"
    path.write_text(path.read_text() + "\nIt was even less.\n")


def hidden_weights(out):
    (out / "release" / ".best.safetensors").write_bytes(b"x")


def weights_in_a_subfolder(out):
    (out / "release" / "more").mkdir()
    (out / "release" / "more" / "w.safetensors").write_bytes(b"x")


def weights_of_another_library(out):
    (out / "release" / "best.pt").write_bytes(b"x")


def an_archive_of_arrays(out):
    (out / "release" / "owed.npz").write_bytes(b"x")


def an_archive_under_another_name(out):
    with zipfile.ZipFile(out / "release" / "notes.txt", "w") as archive:
        archive.writestr("owed.npy", b"x")


def tensors_under_another_name(out):
    checkpoint = sorted((out / "private").glob("checkpoint-*"))[-1]
    shutil.copy(checkpoint / "networks.safetensors", out / "release" / "readme.txt")


def a_private_checkpoint(out):
    checkpoint = sorted((out / "private").glob("checkpoint-*"))[-1]
    shutil.copytree(checkpoint, out / "release" / "ck")


def a_private_state_alone(out):
    checkpoint = sorted((out / "private").glob("checkpoint-*"))[-1]
    (out / "release" / "more").mkdir()
    shutil.copy(checkpoint / "state.json", out / "release" / "more" / "state.json")


def a_link_into_the_private_folder(out):
    (out / "release" / "about").symlink_to(out / "private")


DEEDS = {
    edited_report: "released report.html",
    edited_markdown: "released report.md",
    hidden_weights: "other files",
    weights_in_a_subfolder: "other files",
    weights_of_another_library: "other files",
    an_archive_of_arrays: "other files",
    an_archive_under_another_name: "other files",
    tensors_under_another_name: "other files",
    a_private_checkpoint: "other files",
    a_private_state_alone: "other files",
    a_link_into_the_private_folder: "other files",
}


def test_what_training_left_passes(finished):
    audit = audit_run(finished)
    assert audit.verdict == "passed"
    assert {c.name for c in audit.checks if c.status == "not-checked"} == {"signature"}


@pytest.mark.parametrize("deed", DEEDS, ids=lambda f: f.__name__)
def test_a_changed_release_folder_fails_its_audit(finished, tmp_path, deed):
    out = shutil.copytree(finished, tmp_path / "run")
    deed(out)
    audit = audit_run(out)
    assert audit.verdict == "failed"
    assert [check.name for check in audit.checks if check.status == "failed"] == [DEEDS[deed]]


def test_without_its_reports_a_release_is_a_release(finished, tmp_path):
    out = shutil.copytree(finished, tmp_path / "run")
    for name in ("report.html", "report.md"):
        (out / "release" / name).unlink()
    assert audit_run(out).verdict == "passed"


def test_nothing_but_reports_is_named_behind_a_halt(finished, tmp_path):
    from accountant import LedgerBroken, verify_ledger

    out = shutil.copytree(finished, tmp_path / "run")
    with Ledger.open(out / "release" / "ledger.jsonl", head_path=out / "private" / "head.json") as ledger:
        ledger.append("release", {"files": {"best.safetensors": "0" * 64}})
    with pytest.raises(LedgerBroken, match="after the halt"):
        verify_ledger(out)


def test_a_ledger_of_no_steps_is_not_passed(finished, tmp_path):
    """Once, such a ledger, forged beside real weights, said that these had cost nothing, and passed."""
    plan = Plan.load(finished / "release" / "plan.json")
    path = tmp_path / "ledger.jsonl"
    with Ledger.create(path) as ledger:
        ledger.append("genesis", {"budget": dict(genesis_budget(plan.budget))})
        ledger.append("halt", {"reason": "done", "steps": 0})
    audit = audit_run(path)
    assert audit.verdict == "incomplete"
    assert "nothing was spent, nothing was released" in [c.detail for c in audit.checks]
    out = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(out / "private")
    shutil.copy(path, out / "release" / "ledger.jsonl")
    assert audit_run(out).verdict == "failed"


def test_what_nothing_enforced_is_not_called_enforced(finished, tmp_path):
    """Once, an audit of a hand-written loop's ledger said of its sampling, clipping and noise what it says of ours."""
    from accountant import Budget, SubsampledGaussian

    event = SubsampledGaussian(sampling_rate=0.05, noise_multiplier=1.0)
    guard = BudgetGuard(Budget(epsilon=3.0, delta=1e-5), ledger=tmp_path / "led.jsonl")
    guard.admit(event).redeem(event)
    guard.halt("done")
    ours, own = audit_run(finished), audit_run(tmp_path / "led.jsonl")
    assert (ours.verdict, own.verdict) == ("passed", "passed")
    for word, held in (
        ("Poisson", "on-trust"),
        ("clips", "on-trust"),
        ("noise", "on-trust"),
        ("receipt", "by-construction"),
    ):
        assert any(word in a.text and a.held == held for a in own.assumptions)
    assert [a.text for a in own.assumptions if a.held == "by-construction"] == [
        "a receipt was handed out only after its step was reserved in the ledger, and is redeemed once"
    ]
    assert len([a for a in ours.assumptions if a.held == "by-construction"]) > 3
    # A stop may have been chosen by looking: what holds is the budget that was fixed beforehand.
    assert own.guarantee.epsilon == 3.0 > own.spent.epsilon
