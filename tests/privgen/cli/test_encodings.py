"""A command never fails because a stream cannot hold ε, and what a script reads is valid everywhere."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from privgen.cli.encoding import keep_writable
from privgen.data import load_data

ENVIRONMENTS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "strict UTF-8": {"PYTHONIOENCODING": "utf-8:strict"},
    "a C locale": {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
}


def privgen(*arguments, **variables):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LC_")}
    return subprocess.run(
        [sys.executable, "-m", "privgen", *map(str, arguments)],
        capture_output=True,
        env={**environment, "OMP_NUM_THREADS": "1", **variables},
    )


@pytest.mark.parametrize("place", ENVIRONMENTS)
@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["plan", "--help"],
        ["plan", "--epsilon", 5, "--dataset", "digits", "--iterations", 20],
        ["audit", "--noise-multiplier", 1, "--sampling-rate", 0.01, "--iterations", 10],
    ],
    ids=["help", "plan's help", "plan", "audit"],
)
def test_text_with_epsilon_is_printed_on_streams_that_cannot_hold_it(place, arguments):
    done = privgen(*arguments, **ENVIRONMENTS[place])
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    if place in ("ascii", "a C locale") and "plan" in arguments:
        assert b"epsilon" in done.stdout


@pytest.mark.parametrize("place", ENVIRONMENTS)
def test_json_is_json_on_every_stream(place, tmp_path):
    images = np.zeros((40, 16, 16, 1), np.uint8)
    names = np.array(["naïve", "Ω"])
    np.savez(tmp_path / "scans.npz", images=images, labels=np.arange(40) % 2, class_names=names)
    done = privgen("data", tmp_path / "scans.npz", "--json", **ENVIRONMENTS[place])
    assert done.returncode == 0, done.stderr
    encoding = {"cp1252": "cp1252"}.get(place, "utf-8")
    assert json.loads(done.stdout.decode(encoding))["public_facts"]["classes"] == ["naïve", "Ω"]


@pytest.mark.parametrize("place", ENVIRONMENTS)
def test_an_error_about_a_name_that_a_stream_cannot_hold_is_one_line(place):
    done = privgen("audit", "läufe/Ω", **ENVIRONMENTS[place])
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: There is no ledger in l")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("place", ["ascii", "a C locale"])
def test_reports_are_utf_8_whatever_the_locale(halted_run, place, tmp_path):
    for form in ("json", "markdown", "html"):
        file = tmp_path / f"audit.{form}"
        assert privgen("audit", halted_run, "--format", form, "--out", file, **ENVIRONMENTS[place]).returncode == 0
        assert ("ε" in file.read_text("utf-8")) or form == "json"
        printed = privgen("audit", halted_run, "--format", form, **ENVIRONMENTS[place])
        printed.stdout.decode("utf-8")


def test_letters_are_spelt_and_strangers_and_halves_of_a_pair_are_escaped():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    keep_writable(stream)
    stream.write("ε ≤ 1, Ω, \udc80")
    stream.flush()
    assert stream.buffer.getvalue() == rb"epsilon <= 1, \u03a9, \udc80"


def test_a_training_ends_well_where_stdout_is_ascii(lab, npz_file, tmp_path):
    """Least of all after hours of work: the end of a run says what is guaranteed, with ε in words."""
    size = len(load_data(f"npz:{npz_file}").train.labels)
    lab.own_plan(size, iterations=4).save(tmp_path / "plan.json")
    done = privgen(
        "train", "--plan", tmp_path / "plan.json", "--dataset", f"npz:{npz_file}", "--out", tmp_path / "run",
        "--set", "generator_batch=4", "--set", "latent_dim=8", **ENVIRONMENTS["ascii"],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"(epsilon" in done.stdout or b"differentially private" in done.stdout
    assert "ε" in (tmp_path / "run" / "release" / "report.md").read_text("utf-8")
