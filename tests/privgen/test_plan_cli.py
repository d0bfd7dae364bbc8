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


def test_a_measured_step_says_how_long_the_plan_takes():
    done = run("--dataset", "digits", "--iterations", 16, "--measure")
    assert done.exit_code == 0, done.output
    assert "16 steps take about" in done.output


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("--max-iterations", 700, "--batch-size", 64), "leave --batch-size away"),
        (("--time-budget", "soon"), "30m"),
        (("--measure",), "give --dataset"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(arguments, remedy):
    done = run(*arguments)
    assert done.exit_code == 2
    assert remedy in done.output


@pytest.mark.parametrize(("epsilon", "warned"), [(10, False), (1, False), (0.1, True)])
def test_a_plan_that_drowns_in_noise_is_made_and_warned_of(epsilon, warned):
    done = CliRunner().invoke(main, ["plan", "--epsilon", str(epsilon), "--dataset", "fashion-mnist"])
    assert done.exit_code == 0
    assert ("expect little" in " ".join(done.stderr.split())) is warned
