"""`privgen evaluate` on images whose answers are known, from files, without a run."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from privgen.catalogue import METRICS
from privgen.cli import main
from privgen.errors import EvaluationError
from privgen.metrics.cache import Cache, user_cache
from privgen.metrics.evaluation import evaluate
from privgen.metrics.protocols import PROTOCOLS
from privgen.metrics.request import EvaluationRequest, possible_metrics
from privgen.metrics.sources import FixedSource, read_images


@pytest.fixture(autouse=True)
def places(tmp_path, kept, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept))
    monkeypatch.chdir(tmp_path)


def measure(source, data, *metrics, cache=None, **options):
    request = EvaluationRequest(protocol=PROTOCOLS["privgen-1"], metrics=metrics, **options)
    return evaluate(source, data, request, cache=cache)


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
    assert measure(source, digits, "is", cache=Cache(user_cache())).result["is"]["mean"] < 1.2


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
    assert folder.stat().st_mode & 0o777 == 0o700
    kept = list(folder.iterdir())
    assert len(kept) == 2  # statistics of the real images, and the distance
    for path in kept:
        path.write_bytes(b"damaged")
    assert measure(source, digits, "fid", features="pixels", cache=cache).result["fid"] == one
    assert sorted(folder.iterdir()) == sorted(kept)
    assert max(path.stat().st_size for path in kept) > 1000


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
    assert result["deviations"] == [
        "360 images instead of 10000",
        "35 to 37 images a class instead of equally many",
    ]
    assert result["images"] == "made.npz" and result["plan"] is None and "torch" in result["versions"]


def test_every_number_stands_beside_its_protocol_on_the_terminal_and_in_markdown(digits, tmp_path):
    np.savez(tmp_path / "made.npz", images=digits.test.images, labels=digits.test.labels)
    options = ["--dataset", "digits", "--metrics", "fid,kid,coverage,copying", "--features", "pixels"]
    ran = CliRunner().invoke(main, ["evaluate", "made.npz", *options])
    assert ran.exit_code == 0, ran.output
    # FID, KID, precision, recall, density, coverage, and three of copying.
    assert ran.stdout.count("privgen-1 *") == 9
    assert "* privgen-1, but 360 images instead of 10000" in ran.stdout
    assert "without differential privacy" in ran.stdout
    written = (tmp_path / "evaluation-made" / "evaluation.md").read_text()
    assert written.count("| privgen-1 * |") == 9 and "without differential privacy" in written
    assert "360 images instead of 10000" in written and "selection: none" in written
    assert (tmp_path / "evaluation-made" / "evaluation-closest.png").exists()


def test_another_protocols_result_is_kept_beside(digits, tmp_path):
    np.savez(tmp_path / "made.npz", images=digits.test.images)
    options = ["evaluate", "made.npz", "--dataset", "digits", "--metrics", "fid", "--features", "pixels"]
    for protocol in ("privgen-1", "dpac"):
        ran = CliRunner().invoke(main, [*options, "--protocol", protocol, "--reference-is-public"])
        assert ran.exit_code == 0, ran.output
    for name, protocol in (("evaluation", "privgen-1"), ("evaluation-dpac", "dpac")):
        result = json.loads((tmp_path / "evaluation-made" / f"{name}.json").read_text())
        assert result["protocol"] == protocol and not result["private"]
        assert "declared public" in (tmp_path / "evaluation-made" / f"{name}.md").read_text()


def test_all_is_what_the_images_allow():
    assert possible_metrics((28, 28, 1), labelled=True, inception=False) == tuple(METRICS)
    assert "is" not in possible_metrics((32, 32, 3), labelled=True, inception=False)
    assert "is" in possible_metrics((32, 32, 3), labelled=True, inception=True)
    unlabelled = possible_metrics((28, 28, 1), labelled=False, inception=False)
    assert set(METRICS) - set(unlabelled) == {"gen2real", "real2gen"}


def test_images_without_labels_are_measured_with_a_warning(digits, tmp_path):
    np.savez(tmp_path / "made.npz", images=digits.test.images)
    options = ["--dataset", "digits", "--features", "pixels", "--metrics", "all", "--classifier", "logreg", "--json"]
    ran = CliRunner().invoke(main, ["evaluate", "made.npz", *options])
    assert ran.exit_code == 0, ran.output
    assert "gen2real and real2gen are skipped" in ran.stderr
    assert set(METRICS) & set(json.loads(ran.stdout)) == set(METRICS) - {"gen2real", "real2gen"}
    asked = CliRunner().invoke(main, ["evaluate", "made.npz", "--dataset", "digits", "--metrics", "gen2real"])
    assert asked.exit_code == 1 and "need labels" in asked.stderr


def test_two_threads_give_the_numbers_of_one(digits, tmp_path):
    np.savez(tmp_path / "made.npz", images=digits.test.images, labels=digits.test.labels)
    options = ["--dataset", "digits", "--features", "pixels", "--metrics", "gen2real,real2real,real2gen,fid",
               "--classifier", "logreg", "--json"]  # fmt: skip
    one, two = (
        CliRunner().invoke(main, ["evaluate", "made.npz", *options, "--threads", threads]) for threads in ("1", "2")
    )
    assert json.loads(one.stdout) == json.loads(two.stdout)


def test_a_folder_is_read_by_its_subfolders_names(digits, tmp_path):
    names = digits.test.class_names
    # Class 7 is not there: a class's number is not its place among the subfolders.
    chosen = [row for row in range(100) if digits.test.labels[row] != 7]
    for row in chosen:
        folder = tmp_path / "made" / names[digits.test.labels[row]]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digits.test.images[row, ..., 0]).save(folder / f"{row:03d}.png")
    source = read_images(tmp_path / "made", names)
    made = source.make(source.count(1000), 0)
    pairs = sorted((int(label), image.tobytes()) for label, image in zip(made.labels, made.images, strict=True))
    assert pairs == sorted((int(digits.test.labels[row]), digits.test.images[row].tobytes()) for row in chosen)
    with pytest.raises(EvaluationError, match="not classes of the data set"):
        read_images(tmp_path / "made", tuple("abcdefghij"))


def test_of_many_images_as_many_of_each_class_are_taken():
    labels = np.repeat([0, 1, 2], [500, 40, 30])
    images = np.broadcast_to(np.arange(570, dtype=np.uint8)[:, None, None, None], (570, 2, 2, 1))
    source = FixedSource(images, labels)
    made = source.make(90, 0)
    assert np.bincount(made.labels).tolist() == [30, 30, 30]
    # Not sorted by class: splits of the IS and batches of a classifier would be of one class.
    assert len(set(made.labels[:9].tolist())) == 3
    assert np.bincount(source.make(200, 0).labels).tolist() == [130, 40, 30]
    assert (source.make(90, 1).images != made.images).any()


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
