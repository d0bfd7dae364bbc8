"""What somebody who can write to a run's folder may try, and what the audit says of it."""

import json
import shutil

import pytest

from accountant.audit.audit import audit_run
from accountant.canonical_json import canonical, digest
from accountant.ledger.entry import Entry, content_of, line_of, read_entries  # a forger has them too
from privgen.training.loop import run as train_run


def entries_of(run):
    return read_entries(run / "release" / "ledger.jsonl")


def rewrite(run, change):
    """The whole chain anew, every digest right, after `change` had its way with (kind, body) pairs."""
    pairs = change([(entry.kind, dict(entry.body)) for entry in entries_of(run)])
    lines, previous = [], entries_of(run)[0].previous
    for seq, (kind, body) in enumerate(pairs):
        own = digest(content_of(seq=seq, kind=kind, previous=previous, body=body))
        lines.append(line_of(Entry(seq=seq, kind=kind, previous=previous, digest=own, body=body, signature=None)))
        previous = own
    (run / "release" / "ledger.jsonl").write_bytes(b"".join(lines))


def swap_generator(run):
    path = run / "release" / "generator.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def remove_generator(run):
    (run / "release" / "generator.safetensors").unlink()


def edit_plan(run):
    path = run / "release" / "plan.json"
    plan = json.loads(path.read_text())
    path.write_text(json.dumps(plan | {"delta": plan["delta"] / 10}))


def remove_plan(run):
    (run / "release" / "plan.json").unlink()


def drop_tail(run):
    path = run / "release" / "ledger.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def double_a_segment(run):
    path = run / "release" / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], lines[2], *lines[3:]]))


def swap_two_entries(run):
    path = run / "release" / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[3], lines[2], *lines[4:]]))


def a_whole_new_chain(run):
    def change(pairs):
        pairs[-1][1]["reason"] = "all is well"
        return pairs

    rewrite(run, change)


def entries_after_the_head(run):
    """The private folder knows the first three entries, as of a run that goes on; somebody wrote the rest."""
    known = entries_of(run)[2]
    (run / "private" / "head.json").write_bytes(canonical({"seq": known.seq, "digest": known.digest}))


def remove_head(run):
    (run / "private" / "head.json").unlink()


def another_runs_private_folder(run):
    head = json.loads((run / "private" / "head.json").read_text())
    (run / "private" / "head.json").write_bytes(canonical(head | {"digest": "0" * 64}))


def weights_beside_the_released_ones(run):
    source = run / "private" / sorted(p.name for p in (run / "private").glob("checkpoint-*"))[-1]
    shutil.copy(source / "networks.safetensors", run / "release" / "critic.safetensors")


def an_image_put_in_the_sample_grids_place(run):
    (run / "release" / "samples.png").write_bytes(b"\x89PNG\r\n\x1a\nnot this")


def changed_checkpoint(run):
    newest = sorted((run / "private").glob("checkpoint-*"))[-1] / "generator.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1] + b"\1")


def shuffling_admitted(run):
    def change(pairs):
        pairs[0][1]["sampling"] = "shuffled epochs"
        return pairs

    rewrite(run, change)


TAMPERED = [
    (swap_generator, "released generator.safetensors"),
    (remove_generator, "released generator.safetensors"),
    (edit_plan, "plan against what ran"),
    (remove_plan, "plan against what ran"),
    (drop_tail, "nothing dropped from the end"),
    (double_a_segment, "ledger chain"),
    (swap_two_entries, "ledger chain"),
    (a_whole_new_chain, "nothing dropped from the end"),
    (entries_after_the_head, "nothing dropped from the end"),
    (remove_head, "nothing dropped from the end"),
    (another_runs_private_folder, "nothing dropped from the end"),
    (weights_beside_the_released_ones, "other files"),
    (an_image_put_in_the_sample_grids_place, "released samples.png"),
    (changed_checkpoint, "checkpoint digests"),
    (shuffling_admitted, "sampling and noise"),
]


@pytest.fixture
def copied(halted_run, tmp_path):
    return shutil.copytree(halted_run, tmp_path / "run")


def test_an_honest_run_passes_every_check(halted_run):
    audit = audit_run(halted_run)
    assert audit.verdict == "passed"
    assert {check.name for check in audit.checks if check.status == "not-checked"} == {"signature"}


@pytest.mark.parametrize(("tamper", "check"), TAMPERED, ids=lambda value: getattr(value, "__name__", ""))
def test_the_audit_fails_and_names_what_was_tampered_with(copied, tamper, check):
    tamper(copied)
    audit = audit_run(copied)
    assert audit.verdict == "failed"
    assert check in {found.name for found in audit.checks if found.status == "failed"}


def test_without_the_private_folder_a_cut_ledger_is_never_passed(copied, tmp_path, monkeypatch):
    drop_tail(copied)
    assert audit_run(copied).verdict == "failed"  # this machine knows how far it went
    monkeypatch.setenv("PRIVGEN_STATE", str(tmp_path / "another machine"))
    shutil.rmtree(copied / "private")
    assert audit_run(copied).verdict == "incomplete"


def test_a_chain_that_was_rewritten_far_from_home_is_named_as_trust_and_not_as_checked(copied):
    """Nobody can see it without a signature: so the audit must say that it was not looked at."""
    a_whole_new_chain(copied)
    shutil.rmtree(copied / "private")
    audit = audit_run(copied)
    (signature,) = (check for check in audit.checks if check.name == "signature")
    assert signature.status == "not-checked"
    assert any("nobody rewrote the whole ledger" in a.text and a.held == "on-trust" for a in audit.assumptions)


def test_one_entry_more_than_the_private_folder_knows_is_not_called_checked(copied):
    """A crash between the ledger's last line and the head's leaves it so."""
    before = entries_of(copied)[-2]
    (copied / "private" / "head.json").write_bytes(canonical({"seq": before.seq, "digest": before.digest}))
    audit = audit_run(copied)
    (found,) = (check for check in audit.checks if check.name == "nothing dropped from the end")
    assert (found.status, audit.verdict) == ("not-checked", "passed")


def test_a_resume_that_names_a_known_seed_fails_the_audit(lab, tmp_path):
    out = tmp_path / "run"
    with lab.begin(out) as session:
        lab.stop_after(session, 2)
    with lab.resume(out) as session:
        lab.stop_after(session, 1)
    assert audit_run(out).verdict == "incomplete"

    def change(pairs):
        return [(kind, body | {"noise": "insecure-fixed-seed"} if kind == "resume" else body) for kind, body in pairs]

    rewrite(out, change)
    audit = audit_run(out)
    (found,) = (check for check in audit.checks if check.name == "sampling and noise")
    assert found.status == "failed" and "after a resume" in found.detail


def test_other_files_of_the_release_folder_are_named(copied):
    (copied / "release" / "README").write_text("about")
    audit = audit_run(copied)
    (found,) = (check for check in audit.checks if check.name == "other files")
    assert found.status == "not-checked" and "README" in found.detail and audit.verdict == "passed"


def test_a_run_that_was_extended_past_its_halt_and_goes_on_is_incomplete_and_not_failed(lab, tmp_path):
    out = tmp_path / "run"
    plan = lab.plan(iterations=48)
    with lab.begin(out, plan=plan) as session:
        for _ in train_run(session):
            pass
    with lab.resume(out, extend=True) as session:
        lab.stop_after(session, 1)
    audit = audit_run(out)
    assert audit.verdict == "incomplete", [c for c in audit.checks if c.status == "failed"]
