"""`privgen evaluate` on images whose answers are known, from files, without a run."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from privgen.cli import main
from privgen.data import load_data
from privgen.errors import EvaluationError
from privgen.metrics.cache import Cache
from privgen.metrics.evaluation import METRICS, Wanted, evaluate
from privgen.metrics.protocols import PROTOCOLS
from privgen.metrics.sources import FixedSource


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", None)


@pytest.fixture(autouse=True)
def user_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def measure(source, data, *metrics, cache=None, **options):
    wanted = Wanted(protocol=PROTOCOLS["privgen-1"], metrics=metrics, **options)
    return evaluate(source, data, wanted, cache=cache)


def test_training_images_given_as_generated_are_at_fid_zero_and_called_copies(digits):
    source = FixedSource(digits.train.images, digits.train.labels)
    found = measure(source, digits, "fid", "coverage", "copying", features="pixels")
    assert found.result["fid"]["value"] == pytest.approx(0, abs=1e-3)
    assert found.result["coverage"]["coverage"] == 1
    assert found.result["copying"]["identical"] == len(digits.train.labels)
    assert found.result["copying"]["nearer_than_held_out"] == pytest.approx(1, abs=0.01)
    np.testing.assert_array_equal(found.closest[0], found.closest[1])


def test_one_class_collapse_has_an_inception_score_near_one(digits):
    only = np.flatnonzero(digits.train.labels == 0)
    source = FixedSource(digits.train.images[only], digits.train.labels[only])
    assert measure(source, digits, "is").result["is"]["mean"] < 1.2


def test_shuffled_labels_are_at_chance_and_real_ones_are_not(digits):
    shuffled = np.random.default_rng(0).permutation(digits.train.labels)
    source = FixedSource(digits.train.images, shuffled)
    metrics = ("gen2real", "real2real", "real2gen")
    result = measure(source, digits, *metrics, classifiers=("logreg",), seeds=2).result
    assert result["gen2real"]["logreg"]["mean"] < 0.3 and result["real2gen"]["logreg"]["mean"] < 0.3
    assert result["real2real"]["logreg"]["mean"] > 0.9 and len(result["real2real"]["logreg"]["values"]) == 2


def test_what_depends_on_real_images_alone_is_kept_and_a_damaged_file_is_made_again(digits, tmp_path):
    cache, folder = Cache(tmp_path / "kept"), tmp_path / "kept"
    source = FixedSource(digits.test.images, digits.test.labels)
    one = measure(source, digits, "fid", features="pixels", cache=cache).result["fid"]
    (path,) = folder.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    path.write_bytes(b"damaged")
    assert measure(source, digits, "fid", features="pixels", cache=cache).result["fid"] == one
    assert path.stat().st_size > 1000


def test_images_that_do_not_fit_and_unknown_metrics_are_refused(digits):
    with pytest.raises(EvaluationError, match="28, 28, 1"):
        measure(FixedSource(np.zeros((20, 32, 32, 3), np.uint8), None), digits, "fid")
    with pytest.raises(EvaluationError, match="need labels"):
        measure(FixedSource(digits.test.images, None), digits, "gen2real")
    with pytest.raises(EvaluationError, match=", ".join(METRICS)):
        measure(FixedSource(digits.test.images, None), digits, "fud")


def test_the_command_prints_json_alone_and_says_that_it_is_private(digits, tmp_path):
    np.savez(tmp_path / "made.npz", images=digits.test.images, labels=digits.test.labels)
    options = ["--dataset", "digits", "--metrics", "fid,gen2real", "--features", "pixels", "--classifier", "logreg"]
    ran = CliRunner().invoke(main, ["evaluate", "made.npz", *options, "--json"])
    assert ran.exit_code == 0, ran.output
    result = json.loads(ran.stdout)
    assert result == json.loads((tmp_path / "evaluation-made" / "evaluation.json").read_text())
    assert result["private"] and "without differential privacy" in result["privacy"]
    assert result["reads"] == ["test", "train"]
    assert result["deviations"] == ["360 images instead of 10000"]


def test_every_line_names_the_protocol(digits, tmp_path):
    np.savez(tmp_path / "made.npz", images=digits.test.images, labels=digits.test.labels)
    options = ["--dataset", "digits", "--metrics", "fid,kid,coverage,copying", "--features", "pixels"]
    ran = CliRunner().invoke(main, ["evaluate", "made.npz", *options])
    assert ran.exit_code == 0, ran.output
    numbers = [line for line in ran.stdout.splitlines() if not line.startswith(("Kept", "Closest"))]
    assert len(numbers) == 4 and all("protocol privgen-1" in line for line in numbers)
    assert (tmp_path / "evaluation-made" / "evaluation-closest.png").exists()


def test_pairs_that_show_training_images_never_go_into_release(tmp_path):
    from privgen.cli.evaluate import _place

    for name in ("release", "private"):
        (tmp_path / "run" / name).mkdir(parents=True)
    public, private = (_place(tmp_path / "run", None, word) for word in (True, False))
    assert (public.results.name, private.results.name) == ("release", "results")
    assert {place.images.parent.name for place in (public, private)} == {"private"}
    assert public.cache.parent.name == "private"


def test_missing_weights_are_one_line_with_the_remedy(digits, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    np.savez(tmp_path / "made.npz", images=digits.test.images, labels=digits.test.labels)
    ran = CliRunner().invoke(main, ["evaluate", "made.npz", "--dataset", "digits", "--metrics", "fid", "--features",
                                    "inception"])  # fmt: skip
    assert ran.exit_code == 1 and "--inception-weights" in ran.stderr
