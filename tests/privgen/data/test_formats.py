"""Files as people have them: manifests, MedMNIST, torchvision, CelebA as CSV, names with any characters, `~`."""

import csv
import json
import struct

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from accountant.plans.public_facts import PublicFacts
from privgen.cli import main
from privgen.data import load_data
from privgen.data.export import write_folder, write_npz
from privgen.data.load import propose_data
from privgen.data.propose import AskedFacts
from privgen.errors import DataError
from privgen.metrics.sources import read_images

COUNT = 60


def privgen(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def some_images(count=COUNT, channels=1):
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, 28, 28, channels), dtype=np.uint8), np.arange(count) % 3


def by_label(data):
    """How many records each class has, by its name."""
    labels = np.concatenate([data.train.labels, data.test.labels])
    return dict(zip(data.train.class_names, np.bincount(labels, minlength=len(data.train.class_names)), strict=True))


def table_rows(folder):
    images, labels = some_images()
    (folder / "scans").mkdir()
    rows = []
    for row, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(folder / "scans" / f"{row}.png")
        rows.append({"path": f"scans/{row}.png", "label": f"grade {labels[row]}", "id": row, "person": row // 2})
    return rows


def write_csv(rows, path, encoding="utf-8"):
    with path.open("w", newline="", encoding=encoding) as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return f"manifest:{path}"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_manifest_names_files_from_its_own_folder(tmp_path, monkeypatch, encoding):
    name = write_csv(table_rows(tmp_path), tmp_path / "scans.csv", encoding)
    monkeypatch.chdir("/")
    data = load_data(name)
    assert by_label(data) == {"grade 0": 20, "grade 1": 20, "grade 2": 20}
    assert data.keeps_ids and data.name == "manifest" and data.source == name
    # A path to a table is enough.
    assert load_data(str(tmp_path / "scans.csv")).fingerprint() == data.fingerprint()


def test_a_parquet_manifest_is_the_csv_one(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = table_rows(tmp_path)
    name = write_csv(rows, tmp_path / "scans.csv")
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "scans.parquet")
    assert load_data(f"manifest:{tmp_path / 'scans.parquet'}").fingerprint() == load_data(name).fingerprint()
    (tmp_path / "scans.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match=r"scans\.parquet .*expected a parquet file"):
        load_data(f"manifest:{tmp_path / 'scans.parquet'}")


def test_rows_of_a_manifest_that_say_nothing_are_left_out_by_their_line(tmp_path):
    rows = table_rows(tmp_path)
    rows[3]["label"], rows[4]["path"], rows[5]["path"] = "", "", "scans/none.png"
    data = load_data(write_csv(rows, tmp_path / "scans.csv"))
    assert {one.name: one.reason for one in data.left_out} == {
        "row 5": "a row without label",
        "row 6": "a row without path",
        "scans/none.png": "a damaged image, or one that is not permitted (FileNotFoundError)",
    }
    assert sum(by_label(data).values()) == 57


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.png,0\n", r"has the columns file, label; expected path, label\[, id\]\[, person\]"),
        ("", "has the columns none"),
        ("path,label,id\na.png,0,7\nb.png,1,7\n", "1 ids stand more than once, '7' first"),
    ],
)
def test_a_table_that_is_no_manifest_is_told_what_one_is(tmp_path, text, message):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load_data(f"manifest:{tmp_path / 'x.csv'}")
    with pytest.raises(DataError, match=r"Cannot read .*none\.csv"):
        load_data(f"manifest:{tmp_path / 'none.csv'}")


def test_medmnist_is_read_in_its_published_splits(tmp_path):
    images, labels = some_images(90)
    arrays = {}
    for split, rows in (("train", slice(0, 50)), ("val", slice(50, 60)), ("test", slice(60, 90))):
        arrays |= {f"{split}_images": images[rows, ..., 0], f"{split}_labels": labels[rows, None].astype(np.uint8)}
    np.savez(tmp_path / "mnist.npz", **arrays)
    data = load_data(f"npz:{tmp_path / 'mnist.npz'}")
    assert (len(data.train.labels), len(data.test.labels)) == (50, 30)
    assert np.array_equal(data.train.images, images[:50]) and data.train.labels.tolist() == labels[:50].tolist()
    arrays["train_labels"] = np.eye(3, dtype=np.uint8)[labels[:50]]
    np.savez(tmp_path / "mnist.npz", **arrays)
    with pytest.raises(DataError, match=r"\(50, 3\); expected one class for each image"):
        load_data(f"npz:{tmp_path / 'mnist.npz'}")


def write_idx(folder, seed):
    """Four IDX files as torchvision keeps them."""
    folder.mkdir(parents=True)
    for kind, count in (("train", 40), ("t10k", 10)):
        pixels = np.random.default_rng(seed + count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        header = struct.pack(">HBB3I", 0, 8, 3, count, 28, 28)
        (folder / f"{kind}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        labels = bytes(row % 10 for row in range(count))
        (folder / f"{kind}-labels-idx1-ubyte").write_bytes(struct.pack(">HBBI", 0, 8, 1, count) + labels)


def test_torchvision_data_are_read_where_they_were_downloaded(tmp_path):
    write_idx(tmp_path / "KMNIST" / "raw", 0)
    data = load_data("torchvision:KMNIST", tmp_path)
    assert data.train.images.shape == (40, 28, 28, 1) and len(data.test.labels) == 10
    # torchvision knows the ten syllables, and their order is its own.
    assert data.train.class_names[0] == "o" and np.bincount(data.train.labels).tolist() == [4] * 10
    # What the run keeps in private finds them again without --data-dir.
    assert load_data(data.source).fingerprint() == data.fingerprint()


def test_torchvision_data_that_cannot_be_read_say_why(tmp_path):
    with pytest.raises(DataError, match=r"torchvision:KMNIST is not in .*--data-dir, or download it by"):
        load_data("torchvision:KMNIST", tmp_path)
    with pytest.raises(DataError, match=r"CIFAR10 is a pickle, and loading a file must not run code; write it to an"):
        load_data("torchvision:CIFAR10", tmp_path)
    with pytest.raises(DataError, match="Unknown data set torchvision:Nothing; known are: "):
        load_data("torchvision:Nothing", tmp_path)


def test_the_mnist_of_a_file_with_one_image_less_renames_nobody(tmp_path):
    """By row, removing the first image of the file gave every other one another identity, and another group."""
    write_idx(tmp_path / "one", 0)
    whole = load_data("mnist", tmp_path / "one")
    (tmp_path / "less").mkdir()
    for file in (tmp_path / "one").iterdir():
        (tmp_path / "less" / file.name).write_bytes(file.read_bytes())
    images, labels = (tmp_path / "less" / f"train-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1"))
    images.write_bytes(struct.pack(">HBB3I", 0, 8, 3, 39, 28, 28) + images.read_bytes()[16 + 784 :])
    labels.write_bytes(struct.pack(">HBBI", 0, 8, 1, 39) + labels.read_bytes()[9:])
    assert np.array_equal(load_data("mnist", tmp_path / "less").train.ids, whole.train.ids[1:])
    assert not whole.keeps_ids


def test_an_npz_without_labels_is_of_one_class(tmp_path):
    images, _ = some_images()
    np.savez(tmp_path / "x.npz", images=images)
    data = load_data(f"npz:{tmp_path / 'x.npz'}")
    assert data.train.class_names == ("images",)
    folder = tmp_path / "plain"
    folder.mkdir()
    for row, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(folder / f"{row}.png")
    assert load_data(str(folder)).train.class_names == ("images",)
    assert load_data(str(folder)).keeps_ids


def test_numbers_are_in_their_own_order_in_a_folder_and_in_an_npz(tmp_path):
    """As text 10 stands before 2, and label 2 of an npz was the folder 10."""
    images, _ = some_images(36)
    labels = np.arange(36) % 12
    write_folder(images, labels, tuple(str(k) for k in range(12)), tmp_path / "own")
    np.savez(tmp_path / "own.npz", images=images, labels=labels)
    for name in (f"image-folder:{tmp_path / 'own'}", f"npz:{tmp_path / 'own.npz'}"):
        assert load_data(name).train.class_names == tuple(str(k) for k in range(12))


def test_labels_of_an_npz_may_be_any_numbers_or_words(tmp_path):
    images, labels = some_images()
    for given, names in (
        (labels * 2 - 1, ("-1", "1", "3")),
        (np.array(["benign", "unsure", "malignant"])[labels], ("benign", "malignant", "unsure")),
    ):
        np.savez(tmp_path / "x.npz", images=images, labels=given)
        assert by_label(load_data(f"npz:{tmp_path / 'x.npz'}")) == dict.fromkeys(names, 20)


STRANGE = ("<5mm", "≥5mm", "a/b", "CON", "..", "Æ", "x")


def test_class_names_of_any_kind_survive_a_folder_and_a_file(tmp_path):
    images, _ = some_images(70)
    labels = np.arange(70) % 7
    write_folder(images, labels, STRANGE, tmp_path / "own")
    write_npz(images, labels, tmp_path / "own.npz", class_names=STRANGE)
    assert set(json.loads((tmp_path / "own" / "classes.json").read_text(encoding="utf-8")).values()) == set(STRANGE)
    assert all(p.parent == tmp_path / "own" for p in (tmp_path / "own").iterdir())
    expected = {image.tobytes(): STRANGE[label] for image, label in zip(images, labels, strict=True)}
    for name in ("own", "own.npz"):
        data = load_data(str(tmp_path / name))
        found = {
            image.tobytes(): split.class_names[label]
            for split in (data.train, data.test)
            for image, label in zip(split.images, split.labels, strict=True)
        }
        assert found == expected
        # And as generated images, whose classes are the real data's, in their order.
        made = read_images(tmp_path / name, STRANGE[::-1]).make(70, seed=0)
        assert {i.tobytes(): STRANGE[::-1][y] for i, y in zip(made.images, made.labels, strict=True)} == expected


def as_kaggle_has_it(folder):
    """CSV files with a header, and the images one folder further down."""
    nested = folder / "img_align_celeba" / "img_align_celeba"
    nested.mkdir(parents=True)
    names = [f"{row:06d}.jpg" for row in range(10)]
    for row, name in enumerate(names):
        Image.new("RGB", (178, 218), (20 * row,) * 3).save(nested / name)
    splits = (0, 0, 0, 1, 2) * 2
    (folder / "list_eval_partition.csv").write_text(
        "image_id,partition\n" + "".join(f"{name},{split}\n" for name, split in zip(names, splits, strict=True))
    )
    rows = "".join(f"{name},-1,{1 if row % 2 else -1}\n" for row, name in enumerate(names))
    (folder / "list_attr_celeba.csv").write_text("image_id,Bald,Male\n" + rows)


def test_celeba_is_read_from_csv_files_too(tmp_path):
    as_kaggle_has_it(tmp_path / "celeba")
    data = load_data("celeba", tmp_path)
    assert data.train.labels.tolist() == [0, 1, 0, 1, 0, 1] and data.test.labels.tolist() == [0, 1]
    assert data.left_out == () and abs(data.train.images[3].mean() - 100) < 2


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    images, labels = some_images()
    np.savez(tmp_path / "own.npz", images=images, labels=labels)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_data("npz:~/own.npz").fingerprint() == load_data("~/own.npz").fingerprint()


def test_what_was_asked_for_is_kept_in_a_proposal(tmp_path):
    images, labels = some_images()
    np.savez(tmp_path / "own.npz", images=images, labels=labels)
    asked = AskedFacts(name="mine", classes=("2", "rare", "0"), resize=32)
    facts, data = propose_data(f"npz:{tmp_path / 'own.npz'}", asked=asked)
    assert facts == PublicFacts(name="mine", classes=("2", "rare", "0"), shape=(32, 32, 1), resize=32, crop="centre")
    assert by_label(data) == {"2": 20, "rare": 0, "0": 20} and len(data.left_out) == 20


def test_strict_is_where_one_bad_record_is_an_error(tmp_path):
    images, labels = some_images()
    write_folder(images, labels, ("a", "b", "c"), tmp_path / "own")
    assert privgen("data", tmp_path / "own", "--strict").exit_code == 0
    (tmp_path / "own" / "a" / "bad.png").write_bytes(b"?")
    loose = privgen("data", tmp_path / "own")
    assert loose.exit_code == 0 and "1 left out: no image that can be read (.png) (a/bad.png)" in loose.stderr
    strict = privgen("data", tmp_path / "own", "--strict")
    assert strict.exit_code == 1 and "a/bad.png" in strict.stderr.splitlines()[-1]
    found = json.loads(privgen("data", tmp_path / "own", "--json").stdout)
    assert found["records"].keys() == {"a", "b", "c"} and found["dataset_size"] + found["held_out"] == 60
    assert found["left_out"] == [{"name": "a/bad.png", "reason": "no image that can be read (.png)"}]
