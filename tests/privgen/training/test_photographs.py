"""RGB from end to end: patches of scikit-learn's photographs, 32×32 and 64×64, from the plan to the evaluation."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_sample_images

from privgen import load_generator
from privgen.cli import main
from privgen.data import load_data
from privgen.training.loop import run

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "photographs.py"


def load_example():
    spec = importlib.util.spec_from_file_location("photographs", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def privgen(*arguments):
    done = CliRunner().invoke(main, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    return done


@pytest.mark.parametrize(("size", "counts"), [(32, [260, 260]), (64, [60, 60])])
def test_patches_do_not_overlap_and_their_class_is_the_photograph(tmp_path, size, counts):
    load_example().main(str(tmp_path / "patches.npz"), size)
    with np.load(tmp_path / "patches.npz") as arrays:
        images, labels = arrays["images"], arrays["labels"]
    assert images.shape == (sum(counts), size, size, 3)
    assert np.bincount(labels).tolist() == counts
    china = load_sample_images().images[0]
    columns = china.shape[1] // size
    for index in (0, 1, columns, counts[0] - 1):
        top, left = index // columns * size, index % columns * size
        assert np.array_equal(images[index], china[top : top + size, left : left + size])


@pytest.mark.parametrize("size", [32, 64])
def test_photographs_go_from_plan_to_evaluation(tmp_path, monkeypatch, size):
    monkeypatch.chdir(tmp_path)
    load_example().main("patches.npz", size)
    data = "npz:patches.npz"
    count = len(load_data(data).train.labels)
    assert f"{size} × {size}, 3 channels" in " ".join(privgen("data", data).stdout.split())
    privgen(
        "plan", "--epsilon", 10, "--dataset", data, "--dataset-size", count, "--batch-size", 8, "--iterations", 4,
        "--out", "plan.json",
    )  # fmt: skip
    privgen("train", "--out", "run", "--preset", "tiny", "--set", "generator_batch=8", "--set", "latent_dim=8")
    privgen("sample", "run", "-n", 20, "--out", "grid.png", "--seed", 1)
    privgen("sample", "run", "-n", 20, "--out", "made.npz", "--seed", 1)
    assert Image.open("grid.png").mode == "RGB"
    with np.load("made.npz") as arrays:
        assert arrays["images"].shape == (20, size, size, 3)
        assert arrays["images"].std() > 1
        assert np.array_equal(arrays["images"], load_generator("run")(20, seed=1))
    privgen("evaluate", "run", "--metrics", "gen2real,kid", "--samples", 100, "--classifier", "logreg")
    found = json.loads(Path("run/private/results/evaluation.json").read_bytes())
    assert found["kid"]["features"] == ("pixels" if size == 32 else "pixels averaged 2×2")
    assert "logreg" in json.dumps(found["gen2real"])
    assert privgen("audit", "run").stdout.startswith("Verdict: PASSED")


@pytest.mark.parametrize("preset", ["tiny", "small", "paper"])
def test_each_preset_takes_private_steps_on_photographs_of_64_pixels(lab, tmp_path, preset):
    load_example().main(str(tmp_path / "patches.npz"), 64)
    data = load_data(f"npz:{tmp_path / 'patches.npz'}")
    plan = lab.plan(
        epsilon=10.0, dataset=data.name, dataset_size=len(data.train.labels), sampling_rate=0.02, iterations=2, bands=1
    )
    config = lab.config(preset=preset)
    with lab.begin(tmp_path / "run", plan=plan, data=data, config=config) as session:
        assert len(list(run(session))) == 2
    assert load_generator(tmp_path / "run")(3, seed=0).shape == (3, 64, 64, 3)
