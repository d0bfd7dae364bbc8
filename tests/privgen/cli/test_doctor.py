"""`privgen doctor`: what would break on this machine is said before it does, with what to do."""

import json
import os

import pytest
import torch
from click.testing import CliRunner

from privgen.cli import health, main
from privgen.gradients.row_check import RowCheck


def doctor(*arguments):
    done = CliRunner().invoke(main, ["doctor", "--preset", "tiny", "--format", "json", *map(str, arguments)])
    found = json.loads(done.stdout)
    return done.exit_code, found["verdict"], {one["name"]: one for one in found["findings"]}


def test_a_machine_that_is_well_is_ready_and_every_look_says_what_it_saw(tmp_path):
    status, verdict, found = doctor("--out", tmp_path / "runs")
    assert (status, verdict) == (0, "ready")
    assert list(found) == [
        "Python", "packages", "entropy", "disk", "state", "device", "threads", "row check", "data",
    ]  # fmt: skip
    assert all(one["detail"] for one in found.values())
    assert f"torch {torch.__version__}" in found["device"]["detail"]
    assert "(critic" in found["row check"]["detail"]
    assert "digits" in found["data"]["detail"]
    assert not list(tmp_path.iterdir())


def broken(monkeypatch, tmp_path, name):
    """The machine with one thing broken, and what the doctor must then say to do."""
    if name == "entropy":
        monkeypatch.setattr(os, "urandom", lambda size: bytes(size))
        return "do not train here"
    if name == "disk":
        monkeypatch.setattr(health.shutil, "disk_usage", lambda place: health.shutil._ntuple_diskusage(9, 9, 10**7))
        return "make room there"
    if name == "state":
        (tmp_path / "file").touch()
        monkeypatch.setenv("PRIVGEN_STATE", str(tmp_path / "file" / "state"))
        return "PRIVGEN_STATE"
    if name == "packages":
        monkeypatch.setattr(
            health, "requires", lambda name: ["numpy>=99", "rich>=13", "absent-one>=1", "x; extra == 'a'"]
        )
        return "pip install --upgrade 'privgen[train]'"
    if name == "row check":
        mixed = RowCheck(physical_batch=1, fault="a record has other bits among huge neighbours")
        monkeypatch.setattr("privgen.gradients.row_check.check_rows", lambda *arguments, **options: mixed)
        return "another version of torch"
    return None


@pytest.mark.parametrize("name", ["entropy", "disk", "state", "packages", "row check"])
def test_what_would_break_is_exit_status_1_with_a_remedy(name, monkeypatch, tmp_path):
    remedy = broken(monkeypatch, tmp_path, name)
    if name != "row check":  # it is well and takes seconds
        monkeypatch.setattr(
            health, "_rows", lambda *asked: health.Finding(name="row check", status="ok", detail="well")
        )
    status, verdict, found = doctor("--out", tmp_path)
    assert (status, verdict) == (1, "broken")
    assert [one for one, seen in found.items() if seen["status"] == "broken"] == [name]
    assert remedy in found[name]["remedy"]


def test_a_device_that_is_not_here_is_found_before_a_run_is_begun():
    status, _, found = doctor("--device", "abacus")
    assert (status, found["device"]["status"]) == (1, "broken")
    assert "abacus" in found["device"]["detail"]


def test_packages_say_what_is_too_old_and_what_is_absent(monkeypatch):
    monkeypatch.setattr(health, "requires", lambda name: ["numpy>=99", "absent-one>=1"])
    (finding,) = health._packages()
    assert "is older than 99" in finding.detail and "absent-one is not installed" in finding.detail


def test_the_terminal_shows_the_remedy_under_what_breaks(monkeypatch, tmp_path):
    broken(monkeypatch, tmp_path, "state")
    monkeypatch.setattr(health, "_rows", lambda *asked: health.Finding(name="row check", status="ok", detail="well"))
    done = CliRunner().invoke(main, ["doctor", "--preset", "tiny", "--out", str(tmp_path)])
    assert done.exit_code == 1
    assert "→ set PRIVGEN_STATE" in done.stdout and "Would break: state." in done.stdout
