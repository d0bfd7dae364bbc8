"""`--method diffusion` from the command line: the whole way, and what is refused in one line."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from privgen.catalogue import METHODS
from privgen.cli import main
from privgen.data import load_data
from privgen.generate import load_generator
from privgen.methods.diffusion.method import METHOD
from privgen.methods.diffusion.settings import DiffusionSettings

SMALL = [
    "--preset", "tiny", "--set", "mixture_clusters=1", "--set", "mixture_frequencies=4", "--set", "mixture_rank=3",
    "--set", "sampling_steps=2",
]  # fmt: skip


def privgen(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def one_line_error(done, status=1):
    assert done.exit_code == status, done.output
    assert "Traceback" not in done.output
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    return last


@pytest.fixture(scope="module")
def folder(npz_file, tmp_path_factory):
    """A plan and a finished run of it; only to be read."""
    folder = tmp_path_factory.mktemp("cli")
    data = f"npz:{npz_file}"
    size = len(load_data(data).train.labels)
    planned = privgen(
        "plan", "--method", "diffusion", "--epsilon", 10, "--dataset", data, "--dataset-size", size, "--batch-size", 20,
        "--iterations", 4, "--out", folder / "plan.json",
    )  # fmt: skip
    assert planned.exit_code == 0, planned.output
    text = " ".join(planned.stdout.split())
    assert "method diffusion" in text and "denoiser" in text
    made = json.loads((folder / "plan.json").read_text())
    reason = made["defaults"]["warm_start"]
    assert reason.startswith("on by default, which diffusion begins from: 7 releases")
    assert "statistics that cost 0.5 of ε by themselves" in reason
    assert "warm start 7 releases" in text
    trained = privgen("train", "--plan", folder / "plan.json", "--out", folder / "run", "--canaries", 32, *SMALL)
    assert trained.exit_code == 0, trained.output
    assert "Halted: the plan's 4 iterations are done." in trained.stdout
    return folder


def test_plan_train_sample_evaluate_audit_do_the_main_job(folder, npz_file, tmp_path):
    run = folder / "run"
    audited = privgen("audit", run)
    assert audited.exit_code == 0, audited.output
    made = privgen("sample", run, "-n", 30, "--out", tmp_path / "own.npz", "--seed", 1)
    assert made.exit_code == 0, made.output
    with np.load(tmp_path / "own.npz") as arrays:
        assert arrays["images"].shape == (30, 16, 16, 1) and arrays["labels"].tolist() == [0, 1, 2] * 10
    assert load_generator(run)(3, seed=1).shape == (3, 16, 16, 1)
    found = privgen(
        "evaluate", run, "--dataset", f"npz:{npz_file}", "--samples", 100, "--metrics", "fid", "--out",
        tmp_path / "found", "--json",
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["fid"]["generated"] == 100
    assert "denoiser" in (run / "release" / "report.md").read_text()


def test_a_plan_without_a_warm_start_is_refused_where_it_is_made_and_where_it_is_used(folder, npz_file, tmp_path):
    refused = privgen("plan", "--method", "diffusion", "--epsilon", 10, "--warm-start", 0)
    assert "begins from a warm start" in one_line_error(refused, 2)
    planned = json.loads((folder / "plan.json").read_text())
    del planned["warm_start"]
    planned["caps"] = planned["caps"][-1:]
    (tmp_path / "plan.json").write_text(json.dumps(planned))
    trained = privgen(
        "train", "--plan", tmp_path / "plan.json", "--dataset", f"npz:{npz_file}", "--out", tmp_path / "run"
    )
    assert "begins from a warm start" in one_line_error(trained)
    assert not (tmp_path / "run").exists()


def test_a_plan_of_the_other_method_on_resume_is_refused_and_nothing_is_lost(lab, npz_file, tmp_path):
    data = load_data(f"npz:{npz_file}", facts=lab.own_facts)
    size, out = len(data.train.labels), tmp_path / "run"
    config = DiffusionSettings(preset="tiny", mixture_clusters=1, mixture_frequencies=4, mixture_rank=3)
    planned = lab.own_plan(size, method=METHODS["diffusion"].planned, iterations=8)
    with lab.begin(out, plan=planned, data=data, method=METHOD, config=config) as session:
        lab.stop_after(session, 8)
    before = lab.every_file(out)
    lab.own_plan(size).save(tmp_path / "gan.json")
    resumed = privgen(
        "train", "--resume", "--plan", tmp_path / "gan.json", "--dataset", f"npz:{npz_file}", "--out", out
    )
    assert one_line_error(resumed)
    assert "gan" in resumed.stderr or "plan" in resumed.stderr
    assert lab.every_file(out) == before


def test_images_of_another_shape_are_refused(folder, tmp_path):
    trained = privgen("train", "--plan", folder / "plan.json", "--dataset", "digits", "--out", tmp_path / "run")
    one_line_error(trained)
    assert not (tmp_path / "run").exists()


def test_settings_and_presets_of_the_other_method_are_refused(folder, tmp_path):
    for given in (["--preset", "paper"], ["--set", "critic_rate=1"]):
        trained = privgen("train", "--plan", folder / "plan.json", "--out", tmp_path / "run", *given)
        one_line_error(trained, 2)
    assert not (tmp_path / "run").exists()
