"""`privgen sample --format`: others' readers find the same images and labels, and a card says what is promised."""

import io
import json
import tarfile

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from privgen import load_generator
from privgen.catalogue import DATA_SET_FORMS
from privgen.cli import main
from privgen.cli.export.data_sets import FORMS
from privgen.data import load_data
from privgen.training.insecure import seeded
from privgen.training.loop import run


def sampled(of, form, out, *more):
    done = CliRunner().invoke(
        main, ["sample", str(of), "-n", "20", "--seed", "4", "--format", form, "--out", str(out), *more]
    )
    assert done.exit_code == 0, done.output
    return out


@pytest.fixture(scope="module")
def made(halted_run):
    """The images and labels that each form must hold."""
    images = load_generator(halted_run)(20, seed=4)
    return images, np.arange(20) % 3


def pixels(png):
    image = np.asarray(Image.open(io.BytesIO(png)))
    return image[..., None] if image.ndim == 2 else image


def test_every_form_that_is_offered_can_be_written():
    assert tuple(FORMS) == DATA_SET_FORMS


def test_an_image_folder_is_read_again_as_training_data(halted_run, made, tmp_path):
    out = sampled(halted_run, "imagefolder", tmp_path / "set")
    assert len(list(out.rglob("*.png"))) == 20
    for index, (image, label) in enumerate(zip(*made, strict=True)):
        assert (pixels((out / "abc"[label] / f"{index:06d}.png").read_bytes()) == image).all()
    # The card is no record.
    data = load_data(f"image-folder:{out}")
    assert (len(data.train.labels) + len(data.test.labels), data.left_out) == (20, ())


def test_an_npz_has_its_card_beside_it(halted_run, made, tmp_path):
    with np.load(sampled(halted_run, "npz", tmp_path / "set.npz")) as found:
        assert (found["images"] == made[0]).all() and (found["labels"] == made[1]).all()
    assert "differentially private" in (tmp_path / "set.md").read_text()


def test_webdataset_shards_hold_each_image_beside_its_label(halted_run, made, tmp_path, monkeypatch):
    monkeypatch.setattr("privgen.cli.export.data_sets._A_SHARD", 8)
    out = sampled(halted_run, "webdataset", tmp_path / "set")
    shards = sorted(out.glob("*.tar"))
    assert [shard.name for shard in shards] == ["train-00000.tar", "train-00001.tar", "train-00002.tar"]
    found = {}
    for shard in shards:
        with tarfile.open(shard) as tar:
            names = tar.getnames()
            # A reader takes files of one stem that follow each other for one sample.
            assert [n.partition(".")[2] for n in names] == ["png", "cls"] * (len(names) // 2)
            found |= {name: tar.extractfile(name).read() for name in names}
    for index, (image, label) in enumerate(zip(*made, strict=True)):
        assert (pixels(found[f"{index:06d}.png"]) == image).all()
        assert int(found[f"{index:06d}.cls"]) == label
    assert json.loads((out / "classes.json").read_text()) == ["a", "b", "c"]


def test_the_hub_folder_is_loaded_by_datasets(halted_run, made, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    out = sampled(halted_run, "hf", tmp_path / "set")
    found = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert found.features["label"].names == ["a", "b", "c"]
    assert found["label"] == made[1].tolist() or list(found["label"]) == made[1].tolist()
    assert all((np.asarray(row["image"])[..., None] == image).all() for row, image in zip(found, made[0], strict=True))


def test_parquet_carries_the_features_by_itself(halted_run, made, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(sampled(halted_run, "parquet", tmp_path / "set.parquet"))
    assert table["label"].to_pylist() == made[1].tolist()
    assert all(
        (pixels(row["bytes"]) == image).all() for row, image in zip(table["image"].to_pylist(), made[0], strict=True)
    )
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features == {"image": {"_type": "Image"}, "label": {"names": ["a", "b", "c"], "_type": "ClassLabel"}}


@pytest.mark.parametrize("form", ["imagefolder", "webdataset", "hf"])
def test_the_card_of_a_folder_is_valid_for_the_hub_and_says_what_is_promised(form, halted_run, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    card = hub.DatasetCard.load(sampled(halted_run, form, tmp_path / "set") / "README.md")
    assert card.data.size_categories == ["n<1K"] and "differential-privacy" in card.data.tags
    for words in ("differentially private", "seed 4", "20 synthetic images of 3 classes (a, b, c)", "Limits"):
        assert words in card.text


@pytest.mark.parametrize(
    ("form", "out"), [("npz", "set"), ("parquet", "set.npz"), ("hf", "set.npz"), ("imagefolder", "set.png")]
)
def test_a_name_of_the_wrong_kind_is_wrong_usage(form, out, halted_run, tmp_path):
    done = CliRunner().invoke(main, ["sample", str(halted_run), "--format", form, "--out", str(tmp_path / out)])
    assert done.exit_code == 2 and f"--format {form} is" in done.stderr
    assert not list(tmp_path.iterdir())


def test_no_card_is_written_for_an_insecure_run(lab, tmp_path):
    with lab.begin(tmp_path / "run", plan=lab.plan(iterations=4), **seeded(3)) as session:
        for _ in run(session):
            pass
    out = tmp_path / "set"
    done = CliRunner().invoke(main, ["sample", str(tmp_path / "run"), "--format", "hf", "--out", str(out)])
    assert done.exit_code == 1 and "this run protects nobody" in done.stderr
    assert not out.exists()
