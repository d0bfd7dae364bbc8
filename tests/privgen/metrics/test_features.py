"""Extractors: shapes, repeatability, and what is said where one cannot be had."""

import numpy as np
import pytest
import torch

from privgen.data import DataSet, ImageData
from privgen.data.records import identities
from privgen.errors import EvaluationError
from privgen.metrics.evaluation import evaluate
from privgen.metrics.features import Pixels
from privgen.metrics.inception import INCEPTION_FILE, Inception, find_inception
from privgen.metrics.inception_score import inception_score
from privgen.metrics.lenet import restore_lenet, train_lenet
from privgen.metrics.protocols import PROTOCOLS
from privgen.metrics.request import EvaluationRequest
from privgen.metrics.sources import FixedSource


def test_a_lenet_learns_the_digits_and_has_84_features(digits, lenet):
    assert lenet.features(digits.test.images).shape == (len(digits.test.labels), 84)
    probabilities = lenet.probabilities(digits.test.images)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert (probabilities.argmax(1) == digits.test.labels).mean() > 0.9


def test_a_lenet_comes_back_from_its_state(digits, lenet):
    again = restore_lenet(lenet.state(), fingerprint=digits.fingerprint())
    assert again.identity == lenet.identity
    np.testing.assert_array_equal(again.features(digits.test.images), lenet.features(digits.test.images))
    with pytest.raises(EvaluationError, match="LeNet"):
        restore_lenet({"11.bias": torch.zeros(10)}, fingerprint="")


def test_training_a_lenet_leaves_the_callers_random_state_alone(digits, monkeypatch):
    monkeypatch.setattr("privgen.metrics.lenet._LEAST_STEPS", 1)
    before = torch.random.get_rng_state()
    train_lenet(digits.train.images[:50], digits.train.labels[:50], classes=10, fingerprint="")
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_lenet_takes_grey_28_only():
    with pytest.raises(EvaluationError, match="pixels or inception"):
        train_lenet(np.zeros((2, 32, 32, 3), np.uint8), np.zeros(2, np.int64), classes=2, fingerprint="")


def test_pixels_of_large_images_are_averaged_in_squares_and_say_so():
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    large = Pixels.fitting(images.shape[1:])
    rows = large.features(images)
    assert rows.shape == (3, 32 * 32 * 3)
    assert rows[0, 0] == pytest.approx(images[0, :2, :2, 0].mean() / 255, rel=1e-6)
    assert rows[2, -1] == pytest.approx(images[2, -2:, -2:, 2].mean() / 255, rel=1e-6)
    assert (large.name, large.identity) == ("pixels averaged 2×2", "pixels/1/2")
    for shape in ((28, 28, 1), (32, 32, 3), (64, 64, 1)):
        assert Pixels.fitting(shape).identity == "pixels/1"
    with pytest.raises(EvaluationError, match="give --features inception"):
        Pixels.fitting((127, 127, 3))


def test_pixels_are_from_zero_to_one_and_not_too_many():
    assert Pixels().features(np.full((2, 3, 3, 1), 255, np.uint8)).tolist() == [[1.0] * 9] * 2
    with pytest.raises(EvaluationError, match="at most 4096"):
        Pixels().features(np.zeros((1, 64, 64, 3), np.uint8))


def test_missing_inception_weights_are_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(EvaluationError, match=rf"(?s){INCEPTION_FILE}.*--inception-weights"):
        find_inception(None)
    cached = tmp_path / "checkpoints" / INCEPTION_FILE
    cached.parent.mkdir()
    cached.touch()
    assert find_inception(None) == cached


class Hostile:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (print, ("executed",))


def test_a_weight_file_that_runs_code_or_holds_something_else_is_refused(tmp_path, capsys):
    pytest.importorskip("torch_fidelity")
    torch.save(Hostile(), tmp_path / "hostile.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    for name in ("hostile.pth", "other.pth"):
        with pytest.raises(EvaluationError, match="does not hold Inception's weights"):
            Inception(tmp_path / name)
    assert "executed" not in capsys.readouterr().out


def test_inception_gives_2048_features_and_1008_probabilities(tmp_path):
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    torch.save(untrained_inception(module), tmp_path / "weights.pth")
    inception = Inception(tmp_path / "weights.pth")
    images = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 1), dtype=np.uint8)
    assert inception.features(images).shape == (2, 2048)
    np.testing.assert_allclose(inception.probabilities(images).sum(1), 1, rtol=1e-6)


@pytest.mark.slow
def test_fid_kid_and_is_equal_torch_fidelity_on_one_weight_file(tmp_path):
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    fidelity = pytest.importorskip("torch_fidelity")
    weights = tmp_path / "weights.pth"
    torch.save(untrained_inception(module), weights)
    random = np.random.default_rng(0)
    # Two kinds of image that even untrained weights tell apart.
    generated = random.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    real = (random.random((6, 32, 32, 3)) * np.linspace(0, 120, 32)[:, None]).astype(np.uint8)
    theirs = fidelity.calculate_metrics(
        input1=Images(generated),
        input2=Images(real),
        feature_extractor_weights_path=str(weights),
        batch_size=6,
        cuda=False,
        save_cpu_ram=True,  # no processes to read twelve images
        fid=True,
        kid=True,
        isc=True,
        isc_splits=1,
        kid_subsets=1,
        kid_subset_size=6,
        verbose=False,
    )
    request = EvaluationRequest(protocol=PROTOCOLS["dpac"], metrics=("fid", "kid"), samples=6)
    ours = evaluate(FixedSource(generated, None), as_data(real), request, inception_weights=weights).result
    assert (ours["fid"]["features"], ours["fid"]["generated"], ours["fid"]["real"]) == ("inception", 6, 6)
    assert ours["fid"]["value"] == pytest.approx(theirs["frechet_inception_distance"], rel=1e-3)
    assert ours["kid"]["mean"] == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-3)
    score = inception_score(Inception(weights).probabilities(generated), classifier="Inception-v3", splits=1)
    assert score.mean == pytest.approx(theirs["inception_score_mean"], rel=1e-5)


class Images(torch.utils.data.Dataset):
    """As torch-fidelity reads them."""

    def __init__(self, images):
        self.images = torch.from_numpy(images).permute(0, 3, 1, 2)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


def as_data(images):
    split = ImageData(
        name="noise",
        split="train",
        images=images,
        labels=np.zeros(len(images), np.int64),
        class_names=("noise",),
        ids=identities(str(row) for row in range(len(images))),
    )
    return DataSet("noise", split, split)


def untrained_inception(module):
    """Weights of the right names and shapes: no test has the published ones."""
    with pytest.MonkeyPatch.context() as patched, torch.random.fork_rng(devices=[]):
        patched.setattr(module, "load_state_dict_from_url", lambda *args, **options: {})
        patched.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        return module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).state_dict()
