"""Every test that the pitfalls page names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    line
    for line in (ROOT / "docs" / "pitfalls.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| pitfall")
]


def test_the_page_has_its_rows_and_each_says_how_bad_it_is():
    assert len(ROWS) > 30
    for row in ROWS:
        severity = row.split(" | ")[1]
        assert severity.startswith(("void", "wrong", "loose", "hard to exploit", "a false alarm")), row


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:50])
def test_each_pitfall_names_tests_that_are_there(row):
    named = re.findall(r"`([a-z_/]+\.py)::(test_\w+)`", row)
    assert named or row.endswith("none: an open limit |")
    for file, name in named:
        assert re.search(rf"^def {name}\(", (ROOT / "tests" / file).read_text(encoding="utf-8"), re.M), (file, name)
