"""Runs side by side: certified beside claimed, each measure, one picture; what is not comparable is said."""

import io
import json
import shutil

import pytest
from click.testing import CliRunner
from PIL import Image

from privgen.cli import main
from privgen.report.side_by_side import side_by_side
from privgen.training.loop import run


def compare(*arguments, status=0):
    result = CliRunner().invoke(main, ["compare", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result.stdout if status == 0 else result.output


EVALUATION = {
    "schema": "privgen.evaluation/1", "protocol": "privgen-1", "deviations": [], "samples": 100, "dataset": "synthetic",
    "test_images": 30, "private": True, "gen2real": {"cnn": {"mean": 0.5, "std": 0.0, "values": [0.5], "chance": 0.3}},
}  # fmt: skip


@pytest.fixture(scope="module")
def pair(tmp_path_factory, halted_run, lab):
    """Two runs of one data set; the first was evaluated. A third is of another δ."""
    folder = tmp_path_factory.mktemp("pair")
    for name, changes in (("b", {"feedback": "none"}), ("c", {"delta": 1e-6})):
        with lab.begin(folder / name, plan=lab.plan(iterations=4, **changes)) as session:
            list(run(session))
    shutil.copytree(halted_run, folder / "a")
    results = folder / "a" / "private" / "results"
    results.mkdir()
    (results / "evaluation.json").write_text(json.dumps(EVALUATION))
    return folder


def test_every_run_is_audited_and_its_measures_stand_beside_the_others(pair):
    found = json.loads(compare(pair / "a", pair / "b", "--format", "json"))
    assert found["comparable"] and [one["name"] for one in found["runs"]] == ["a", "b"]
    first, second = found["runs"]
    assert 0 < second["epsilon_certified"] <= second["epsilon_promised"] == 5.0
    assert first["measures"][0]["measure"] == "gen2real cnn" and second["measures"] == []
    text = compare(pair / "a", pair / "b")
    assert "gen2real cnn (privgen-1)" in text and "50.00%" in text and "ε certified" in text


def test_a_copy_of_a_run_that_lost_its_ledgers_end_is_shown_as_failed(pair, tmp_path):
    shutil.copytree(pair / "b", tmp_path / "cut")
    ledger = tmp_path / "cut/release/ledger.jsonl"
    ledger.write_text("\n".join(ledger.read_text().splitlines()[:-1]) + "\n")
    found = json.loads(compare(pair / "a", tmp_path / "cut", "--format", "json"))
    assert found["runs"][1]["verdict"] == "failed" and found["runs"][1]["epsilon_certified"] is None
    assert "Do not rely on cut" in " ".join(compare(pair / "a", tmp_path / "cut").split())


def test_runs_of_different_deltas_are_said_not_to_be_comparable(pair):
    assert "NOT COMPARABLE" in compare(pair / "a", pair / "c")
    found = json.loads(compare(pair / "a", pair / "c", "--format", "json"))
    assert not found["comparable"] and found["reasons"] == ["different δ: 1e-05, 1e-06"]


def test_a_page_holds_everything_in_less_than_a_megabyte_and_asks_for_nothing(pair, tmp_path):
    compare(pair / "a", pair / "b", "--format", "html", "--out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert len(page) < 1_000_000 and "data:image/png;base64," in page
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page


def test_markdown_names_the_picture_that_is_written_beside_it(pair, tmp_path):
    compare(pair / "a", pair / "b", "--format", "markdown", "--out", tmp_path / "page.md")
    assert "(page.png)" in (tmp_path / "page.md").read_text()
    assert Image.open(tmp_path / "page.png").width > 100


def test_many_large_grids_are_shown_in_fewer_rows(tmp_path):
    buffer = io.BytesIO()
    Image.effect_noise((662, 530), 100).convert("RGB").save(buffer, "PNG")
    grids = [(f"run {number}", buffer.getvalue()) for number in range(4)]
    assert len(side_by_side(grids)) <= 600_000


def test_one_run_is_no_comparison(pair):
    assert "two runs or more" in compare(pair / "a", status=1)


def test_a_damaged_evaluation_is_one_line_with_a_remedy(pair, tmp_path):
    with_damage = tmp_path / "d"
    shutil.copytree(pair / "a", with_damage)
    (with_damage / "private/results/evaluation.json").write_text("{")
    assert "evaluate the run again" in " ".join(compare(pair / "b", with_damage, status=1).split())
