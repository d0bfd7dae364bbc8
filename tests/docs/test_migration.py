"""The migration page's scripts run, train the same network, and are as long as the page says."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "migration-from-opacus.md"
BENCHMARK = ROOT / "benchmarks" / "migration.py"


@pytest.fixture(scope="module")
def migration():
    spec = importlib.util.spec_from_file_location("migration_benchmark", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_plain_loop_becomes_a_private_one_by_at_most_five_lines(migration):
    assert migration.new_lines("with_privgen") == 5
    assert migration.new_lines("with_opacus") > 5


def test_the_page_shows_these_lines_and_no_others(migration):
    blocks = re.findall(r"```diff\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    for name, block in zip(("with_privgen", "with_opacus"), blocks, strict=True):
        shown = [line[1:] for line in block.splitlines() if line.startswith("+")]
        plain = migration.code_lines("plain")
        assert [line for line in shown if line not in migration.code_lines(name) or line in plain] == []
        assert len(shown) == migration.new_lines(name)
        gone = [line[1:] for line in block.splitlines() if line.startswith("-")]
        assert gone and all(line in plain for line in gone)


@pytest.mark.parametrize("network", ["cnn", "patches"])
def test_the_scripts_run_and_the_guard_charged_every_step(network):
    asked = ["--network", network, "--dataset", "digits", "--steps", "6", "--batch-size", "300", "--epsilon", "8"]
    done = subprocess.run(
        [sys.executable, BENCHMARK, *asked, "--seeds", "0", "--rates", "0.01"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = {line.split(" | ")[0]: line for line in done.stdout.splitlines() if line.startswith("| ")}
    assert "6 steps charged; audit passed" in rows["| privgen"]
    assert "ε = 7." in rows["| Opacus"] or "ε = 8.0" in rows["| Opacus"]
