"""The ledger: what is written is read back, and what was changed, dropped or rewritten is seen."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from accountant import (
    Ledger,
    LedgerBroken,
    LedgerError,
    LedgerIncomplete,
    LedgerLocked,
    verify_ledger,
)
from accountant.canonical_json import canonical, digest
from accountant.ledger.entry import read_entries
from accountant.ledger.signing import load_signer, new_key

BUDGET = {"epsilon": 2.0, "delta": 1e-5, "neighbouring": "add-or-remove-one"}
EVENT = {"kind": "subsampled-gaussian", "sampling_rate": 0.01, "noise_multiplier": 1.0}


def write_example(path, *, head_path=None, signer=None, genesis=None):
    with Ledger.create(path, head_path=head_path, signer=signer) as ledger:
        ledger.append("genesis", {"budget": BUDGET, **(genesis or {})})
        ledger.append("checkpoint", {"name": "checkpoint-0000000", "step": 0, "weights_digest": "0" * 64})
        ledger.append("reserve", {"segment": 0, "steps": 8, "event": EVENT})
        ledger.append("commit", {"segment": 0, "steps": 5})
        ledger.append("halt", {"reason": "example", "steps": 5})


def test_what_is_written_is_what_is_read(tmp_path):
    write_example(tmp_path / "ledger.jsonl")
    state = verify_ledger(tmp_path / "ledger.jsonl")
    assert (state.steps_charged, state.steps_done, state.halted) == (5, 5, "example")
    assert [entry.seq for entry in read_entries(tmp_path / "ledger.jsonl")] == [0, 1, 2, 3, 4]


def test_every_single_byte_change_is_detected(tmp_path):
    path = tmp_path / "ledger.jsonl"
    write_example(path)
    whole = path.read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1
        path.write_bytes(bytes(changed))
        with pytest.raises(LedgerError):
            verify_ledger(path)
    path.write_bytes(whole)
    verify_ledger(path)


def test_a_changed_byte_is_reported_with_its_entry(tmp_path):
    path = tmp_path / "ledger.jsonl"
    write_example(path)
    path.write_bytes(path.read_bytes().replace(b'"steps":8', b'"steps":7'))
    with pytest.raises(LedgerBroken, match="Entry 2"):
        verify_ledger(path)


@pytest.mark.parametrize("line", range(5))
def test_a_dropped_or_doubled_line_is_detected(tmp_path, line):
    path, head = tmp_path / "ledger.jsonl", tmp_path / "head.json"
    write_example(path, head_path=head)
    lines = path.read_bytes().splitlines(keepends=True)
    for changed in (lines[:line] + lines[line + 1 :], [*lines[:line], lines[line], *lines[line:]]):
        path.write_bytes(b"".join(changed))
        with pytest.raises(LedgerError):
            verify_ledger(path, head_path=head)


def test_a_dropped_tail_is_seen_through_the_head(tmp_path):
    path, head = tmp_path / "ledger.jsonl", tmp_path / "head.json"
    write_example(path, head_path=head)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]))
    assert verify_ledger(path).halted is None
    with pytest.raises(LedgerBroken, match="tail was dropped"):
        verify_ledger(path, head_path=head)
    with pytest.raises(LedgerBroken, match="tail was dropped"):
        Ledger.open(path, head_path=head)


def rehash(path, change):
    """Rewrite the whole chain with altered content and right digests, as a forger without the key can."""
    lines, previous = [], "0" * 64
    for line in path.read_bytes().splitlines():
        data = json.loads(line)
        data.pop("digest")
        signature = data.pop("signature", None)
        data["previous"] = previous
        change(data)
        previous = digest(data)
        data["digest"] = previous
        if signature is not None:
            data["signature"] = signature
        lines.append(canonical(data) + b"\n")
    path.write_bytes(b"".join(lines))


def forget_steps(data):
    if data["kind"] == "reserve":
        data["event"]["noise_multiplier"] = 50.0


def test_a_rehashed_chain_is_seen_through_the_head(tmp_path):
    path, head = tmp_path / "ledger.jsonl", tmp_path / "head.json"
    write_example(path, head_path=head)
    rehash(path, forget_steps)
    verify_ledger(path)
    with pytest.raises(LedgerBroken, match="rewritten"):
        verify_ledger(path, head_path=head)


def test_a_rehashed_chain_is_detected_by_its_signatures(tmp_path):
    path = tmp_path / "ledger.jsonl"
    public = new_key(tmp_path / "officer.key")
    signer = load_signer(tmp_path / "officer.key")
    write_example(path, signer=signer.sign, genesis={"public_key": public})
    verify_ledger(path, public_key=public)
    rehash(path, forget_steps)
    with pytest.raises(LedgerBroken, match="not signed"):
        verify_ledger(path, public_key=public)


def test_another_signers_ledger_is_refused(tmp_path):
    public = new_key(tmp_path / "officer.key")
    other = new_key(tmp_path / "other.key")
    signer = load_signer(tmp_path / "other.key")
    write_example(tmp_path / "ledger.jsonl", signer=signer.sign, genesis={"public_key": other})
    with pytest.raises(LedgerBroken, match="another signer"):
        verify_ledger(tmp_path / "ledger.jsonl", public_key=public)


def test_a_truncated_last_line_is_repaired_by_opening_and_not_by_verifying(tmp_path):
    path, head = tmp_path / "ledger.jsonl", tmp_path / "head.json"
    write_example(path, head_path=head)
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'{"cut')
    with pytest.raises(LedgerIncomplete, match="Entry 5"):
        verify_ledger(path)
    with Ledger.open(path, head_path=head) as ledger:
        assert "dropped an interrupted write of 5 bytes" in ledger.repaired
    assert path.read_bytes() == whole


def test_a_line_that_lacks_only_its_end_is_kept(tmp_path):
    path, head = tmp_path / "ledger.jsonl", tmp_path / "head.json"
    write_example(path, head_path=head)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with Ledger.open(path, head_path=head) as ledger:
        assert ledger.repaired == "ended the line of entry 4"
    assert path.read_bytes() == whole


def test_a_damaged_line_that_was_once_whole_is_not_repaired_away(tmp_path):
    path, head = tmp_path / "ledger.jsonl", tmp_path / "head.json"
    write_example(path, head_path=head)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(LedgerBroken, match="written whole and is damaged"):
        Ledger.open(path, head_path=head)


def test_a_second_process_is_refused(tmp_path):
    path = tmp_path / "ledger.jsonl"
    write_example(path)
    code = "import sys; from accountant import Ledger; Ledger.open(sys.argv[1])"
    with Ledger.open(path):
        with pytest.raises(LedgerLocked):
            Ledger.open(path)
        second = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert second.returncode != 0
    assert "LedgerLocked" in second.stderr
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == 0


def test_an_existing_ledger_is_never_overwritten(tmp_path):
    write_example(tmp_path / "ledger.jsonl")
    with pytest.raises(LedgerError, match="exists already"):
        Ledger.create(tmp_path / "ledger.jsonl")


@pytest.mark.parametrize("failing", ["write", "fsync"])
def test_a_failed_write_leaves_the_ledger_as_it_was(tmp_path, monkeypatch, failing):
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger.create(path)
    ledger.append("genesis", {"budget": BUDGET})
    before = path.read_bytes()

    def no_room(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, failing, no_room)
    with pytest.raises(LedgerError, match="No space left"):
        ledger.append("reserve", {"segment": 0, "steps": 1, "event": EVENT})
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert ledger.append("reserve", {"segment": 0, "steps": 1, "event": EVENT}).seq == 1
    ledger.close()
    assert verify_ledger(path).steps_charged == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_one_error_and_the_chain_still_holds(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", small]).returncode:
        pytest.skip("this place cannot mount a small file system")
    try:
        ledger = Ledger.create(small / "ledger.jsonl")
        ledger.append("genesis", {"budget": BUDGET})
        with pytest.raises(LedgerError, match="No space left"):
            for _ in range(1000):
                ledger.append("reserve", {"segment": 0, "steps": 1, "event": EVENT})
        ledger.close()
        state = verify_ledger(small / "ledger.jsonl")
        assert state.steps_charged == state.entries - 1 > 0
    finally:
        subprocess.run(["umount", small], check=True)


SENSELESS = [
    ("reserve", {"segment": 3, "steps": 1, "event": EVENT}, "segment 3"),
    ("reserve", {"segment": 0, "steps": 0, "event": EVENT}, "steps=0"),
    ("reserve", {"segment": 0, "steps": 1, "event": {"kind": "free-lunch"}}, "kind"),
    ("reserve", {"segment": 0, "steps": 1, "event": {**EVENT, "feedback_ratio": 0.5}}, "fields"),
    ("reserve", {"segment": 0, "steps": 1}, "lacks the field"),
    ("commit", {"segment": 0, "steps": 1}, "not the last"),
    ("checkpoint", {"name": "x", "step": 4, "weights_digest": ""}, "step 4"),
    ("resume", {"checkpoint_seq": 7, "clean": False}, "no checkpoint"),
    ("resume", {"checkpoint_seq": 0, "clean": True}, "clean resume"),
    ("halt", {"reason": "x", "steps": 9}, "9 steps"),
    ("genesis", {"budget": BUDGET}, "second genesis"),
]


@pytest.mark.parametrize(("kind", "body", "message"), SENSELESS)
def test_a_well_chained_entry_that_makes_no_sense_is_refused(tmp_path, kind, body, message):
    path = tmp_path / "ledger.jsonl"
    with Ledger.create(path) as ledger:
        ledger.append("genesis", {"budget": BUDGET})
        ledger.append(kind, body)
    with pytest.raises(LedgerBroken, match=message):
        verify_ledger(path)


def test_nothing_stands_after_a_halt(tmp_path):
    path = tmp_path / "ledger.jsonl"
    write_example(path)
    with Ledger.open(path) as ledger:
        ledger.append("reserve", {"segment": 0, "steps": 1, "event": EVENT})
    with pytest.raises(LedgerBroken, match="after the halt"):
        verify_ledger(path)


def test_a_ledger_that_is_not_there_is_named(tmp_path):
    with pytest.raises(LedgerError, match="No such file"):
        verify_ledger(Path(tmp_path / "none.jsonl"))
