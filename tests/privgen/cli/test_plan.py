"""`privgen plan`: searching, measuring, plotting."""

import dataclasses
import json

import pytest
from click.testing import CliRunner
from PIL import Image

from accountant import Phase, Plan
from planners import plan
from privgen.cli import main
from privgen.report.plan_plot import plot_plan


def run(*arguments):
    return CliRunner().invoke(main, ["plan", "--epsilon", "10", *map(str, arguments)])


def test_a_search_recommends_and_shows_what_else_there_was(tmp_path):
    done = run("--dataset", "digits", "--max-iterations", 700, "--out", tmp_path / "plan.json")
    assert done.exit_code == 0, done.output
    assert "Recommended of the choices below" in done.output
    made = Plan.load(tmp_path / "plan.json")
    assert made.iterations <= 700
    assert made.verified.rdp <= 10
    assert made.defaults["sampling_rate"].startswith("searched")
    assert made.defaults["bands"].startswith("searched")
    assert ("residual_ratio" in made.defaults) == (made.bands > 1)
    assert "Bands and R/C1 at the recommended batch and steps" in done.output


def test_a_search_keeps_the_bands_that_were_given(tmp_path):
    done = run("--dataset", "digits", "--max-iterations", 640, "--bands", 2, "--out", tmp_path / "plan.json")
    assert done.exit_code == 0, done.output
    assert Plan.load(tmp_path / "plan.json").bands == 2


def test_a_searched_plan_as_json_is_json_alone():
    done = CliRunner().invoke(
        main, ["plan", "--epsilon", "10", "--dataset", "digits", "--max-iterations", "700", "--json"]
    )
    assert Plan.from_json(json.loads(done.stdout)).dataset == "digits"


def test_a_plot_is_a_picture(tmp_path):
    done = run("--dataset", "digits", "--iterations", 16, "--plot", tmp_path / "plan.png")
    assert done.exit_code == 0, done.output
    assert Image.open(tmp_path / "plan.png").size[0] > 500


def test_a_plan_in_phases_is_plotted(tmp_path):
    made = plan(epsilon=10.0, dataset_size=1437, iterations=16)
    phases = tuple(
        Phase(iterations=8, sampling_rate=made.sampling_rate, noise_multiplier=made.noise_multiplier * scale)
        for scale in (1.0, 1.5)
    )
    plot_plan(dataclasses.replace(made, phases=phases), tmp_path / "plan.png")
    assert Image.open(tmp_path / "plan.png").size[0] > 500


def test_phases_are_solved_for_and_shown(tmp_path):
    done = run("--dataset", "digits", "--phases", "0.5:1.5,0.5:1.0:2", "--out", tmp_path / "plan.json")
    assert done.exit_code == 0, done.output
    first, second = Plan.load(tmp_path / "plan.json").phases
    assert first.noise_multiplier == pytest.approx(1.5 * second.noise_multiplier)
    assert second.sampling_rate == pytest.approx(2 * first.sampling_rate)
    shown = f"noise multiplier {first.noise_multiplier:.4f} → {second.noise_multiplier:.4f}"
    assert shown in done.output
    assert f"1 to {first.iterations}" in done.output


def test_the_published_feedback_is_shown_claimed_certified_and_affordable():
    done = run("--dataset", "digits", "--feedback", "paper", "--iterations", 100)
    assert done.exit_code == 0, done.output
    text = " ".join(done.output.split())
    assert "certified by RDP ε ≤ 9.99" in text
    assert "claimed ε = " in text
    assert "What C2 this certified budget could afford" in text


def test_what_prv_buys_is_said_only_where_prv_was_asked():
    asked = run("--dataset", "digits", "--iterations", 40, "--accountant", "prv")
    assert "less noise than RDP" in asked.output
    assert "PRV" not in run("--dataset", "digits", "--iterations", 40).output


def test_a_measured_step_says_how_long_the_plan_takes():
    done = run("--dataset", "digits", "--iterations", 16, "--measure")
    assert done.exit_code == 0, done.output
    assert "16 steps take about" in done.output


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("--max-iterations", 700, "--batch-size", 64), "omit --batch-size"),
        (("--time-budget", "soon"), "30m"),
        (("--measure",), "give --dataset"),
        (("--phases", "half"), "0.5:1.5,0.5:1.0"),
        (("--phases", "1000:1.5,1000:1"), "0.5, 0.5"),
        (("--phases", "0.5:0,0.5:1"), "noise=0.0"),
        (("--bands", 1, "--residual-ratio", 2), "omit --residual-ratio"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(arguments, remedy):
    done = run(*arguments)
    assert done.exit_code == 2
    assert remedy in done.output


@pytest.mark.parametrize(("epsilon", "warned"), [(10, False), (1, False), (0.1, True), (1e-6, True)])
def test_a_plan_that_drowns_in_noise_is_made_and_warned_of(epsilon, warned):
    done = CliRunner().invoke(main, ["plan", "--epsilon", str(epsilon), "--dataset", "fashion-mnist"])
    assert done.exit_code == 0
    assert ("expect little" in " ".join(done.stderr.split())) is warned
