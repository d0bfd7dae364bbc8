"""Images without classes, or of one class, from plan to evaluation; and what cannot be told of them is not printed."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from privgen.cli import main
from privgen.data import load_data
from privgen.errors import EvaluationError
from privgen.generate import load_generator
from privgen.metrics.cache import Cache
from privgen.metrics.reference import make_extractor


def privgen(*arguments, status=0):
    done = CliRunner().invoke(main, [str(a) for a in arguments])
    assert done.exit_code == status, done.output
    return done


@pytest.fixture(params=["unlabelled", "one class"])
def scans(request, tmp_path, monkeypatch):
    """200 grey images of 28×28, in a folder or in the one subfolder of it."""
    monkeypatch.chdir(tmp_path)
    folder = Path("scans") if request.param == "unlabelled" else Path("scans/healthy")
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for row in range(200):
        Image.fromarray(generator.integers(0, 256, (28, 28), dtype=np.uint8)).save(folder / f"{row}.png")
    return ("images",) if request.param == "unlabelled" else ("healthy",)


@pytest.mark.parametrize("warm", [[], ["--warm-start", "0.5"]])
def test_one_class_works_from_plan_to_evaluation(scans, warm):
    privgen(
        "plan", "--epsilon", 8, "--dataset", "scans", "--name", "clinic", "--iterations", 4, "--batch-size", 16,
        "--out", "plan.json", *warm,
    )  # fmt: skip
    made = json.loads(Path("plan.json").read_text())
    assert made["public_facts"]["classes"] == list(scans)
    # A classifier of one class would cost a part of ε and teach nothing.
    assert "classifier" not in {part["name"] for part in made["parts"]}
    privgen("train", "--out", "run", "--set", "generator_batch=8", "--set", "latent_dim=8")
    assert load_generator("run").class_names == scans
    privgen("sample", "run", "-n", 100, "--out", "made")
    for images in ("run",) if warm else ("run", "made"):
        done = privgen(
            "evaluate", images, "--dataset", "scans", "--samples", 100, "--metrics", "all", "--threads", 1, "--out",
            "found",
        )  # fmt: skip
        assert "of one class, in which a classifier is always right" in " ".join(done.stderr.split())
        found = json.loads(Path("found/evaluation.json").read_text())
        assert found["fid"]["features"] == "pixels" and found["fid"]["value"] > 1
        assert not {"gen2real", "real2real", "real2gen", "is"} & found.keys()
    assert privgen("audit", "run").stdout.startswith("Verdict: PASSED")


def test_a_lenet_of_one_class_is_refused_with_the_reason(scans):
    """It had learnt to see nothing: FID said 0.05 for black images against noise."""
    with pytest.raises(EvaluationError, match=r"two classes or more for a LeNet.*give --features pixels"):
        make_extractor("lenet", load_data("scans"), cache=Cache(None))
