"""Released generators and image files: reproducible, checked, no pickle, and whole or not at all."""

import json
import os
import pickle
import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load, save

import privgen
from accountant import files
from privgen.data.export import write_folder, write_grid, write_npz
from privgen.errors import ConfigError, RunError
from privgen.generate import load_generator
from privgen.methods.gan.networks import Generator, NetworkConfig
from privgen.methods.gan.release import save_generator

CONFIG = NetworkConfig(preset="tiny", image_shape=(3, 16, 16), classes=3, latent_dim=8, upsampling_noise=0.1)
NAMES = ("a", "b", "c")


@pytest.fixture
def release(tmp_path):
    folder = tmp_path / "run" / "release"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    save_generator(Generator(CONFIG), CONFIG, NAMES, folder)
    return folder


def test_images_are_uint8_of_the_trained_shape_with_balanced_classes(release):
    generator = privgen.load_generator(release.parent)
    images = generator(7)
    assert (images.shape, images.dtype) == ((7, 16, 16, 3), np.uint8)
    assert generator.labels_for(7).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert generator.class_names == NAMES


def test_the_same_seed_gives_the_same_images_and_another_or_none_gives_others(release):
    generator, again = load_generator(release.parent), load_generator(release)
    first = generator(300, seed=5)
    assert np.array_equal(first, again(300, seed=5))
    assert not np.array_equal(first, generator(300, seed=6))
    assert not np.array_equal(generator(3), generator(3))


def test_an_image_depends_on_the_seed_its_place_and_its_label_and_on_nothing_else(release, monkeypatch):
    """Not on how many are made, on the other labels or on the batches; up to one in a pixel, by rounding."""
    generator = load_generator(release)
    labels = np.arange(300) % 3
    many = generator(300, labels, seed=5).astype(int)
    few = generator(7, labels[:7], seed=5).astype(int)
    assert abs(many[:7] - few).max() <= 1
    others = generator(300, np.where(np.arange(300) == 299, 2, 0), seed=5).astype(int)
    assert abs(many[299] - others[299]).max() <= 1
    assert abs(many[1] - others[1]).max() > 5
    monkeypatch.setattr("privgen.generate._BATCH", 13)
    assert abs(generator(300, labels, seed=5).astype(int) - many).max() <= 1
    # And no two places share their numbers.
    same_label = generator(300, [1] * 300, seed=5)
    assert len({image.tobytes() for image in same_label}) == 300


def test_images_are_the_same_on_one_thread_and_on_two(release):
    generator, threads = load_generator(release), torch.get_num_threads()
    found = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(generator(20, seed=5).astype(int))
    finally:
        torch.set_num_threads(threads)
    assert abs(found[0] - found[1]).max() <= 1


@pytest.mark.parametrize("seed", [-1, 2**128])
def test_a_seed_out_of_range_is_refused(release, seed):
    with pytest.raises(ConfigError, match="seed="):
        load_generator(release)(3, seed=seed)


def test_a_seed_disturbs_no_random_state_of_the_callers(release):
    torch.manual_seed(1)
    expected = torch.randn(4)
    torch.manual_seed(1)
    load_generator(release)(3, seed=5)
    assert torch.equal(torch.randn(4), expected)


def test_each_image_follows_its_own_label(release):
    generator = load_generator(release)
    ones, twos = generator(4, labels=[1] * 4, seed=0), generator(4, labels=[2] * 4, seed=0)
    mixed = generator(4, labels=np.array([1, 2, 1, 2]), seed=0)
    assert np.array_equal(mixed[0::2], ones[0::2])
    assert np.array_equal(mixed[1::2], twos[1::2])
    assert not np.array_equal(ones, twos)


@pytest.mark.parametrize("labels", [[0, 1, 3], [-1, 0, 1], [0, 1], [[0, 1, 2]], [0.0, 1.0, 2.0], ["a", "b", "c"]])
def test_labels_that_are_not_classes_are_refused(release, labels):
    with pytest.raises(ConfigError, match="labels"):
        load_generator(release)(3, labels=labels)


@pytest.mark.parametrize("n", [0, -1, 2.0, True, "3", None])
def test_a_number_of_images_that_is_none_is_refused(release, n):
    with pytest.raises(ConfigError, match="n="):
        load_generator(release)(n)


def edited(release, change):
    about = json.loads((release / "generator.json").read_bytes())
    change(about)
    (release / "generator.json").write_text(json.dumps(about))


DAMAGE = {
    "weights cut short": lambda r: (r / "generator.safetensors").write_bytes(
        (r / "generator.safetensors").read_bytes()[:-9]
    ),
    "empty weights": lambda r: (r / "generator.safetensors").write_bytes(b""),
    "no weights": lambda r: (r / "generator.safetensors").unlink(),
    "a weight missing": lambda r: (r / "generator.safetensors").write_bytes(
        save(dict(list(load((r / "generator.safetensors").read_bytes()).items())[1:]))
    ),
    "no description": lambda r: (r / "generator.json").unlink(),
    "description cut short": lambda r: (r / "generator.json").write_bytes(b'{"schema":'),
    "description is a list": lambda r: (r / "generator.json").write_bytes(b"[1]"),
    "description is not UTF-8": lambda r: (r / "generator.json").write_bytes(b"\xff\xfe\xff"),
    "another schema": lambda r: edited(r, lambda about: about.update(schema="other/9")),
    "another size": lambda r: edited(r, lambda about: about["network"].update(preset="small")),
    "a class too few": lambda r: edited(r, lambda about: about["class_names"].pop()),
    "no class names": lambda r: edited(r, lambda about: about.pop("class_names")),
    "an unknown setting": lambda r: edited(r, lambda about: about["network"].update(surprise=1)),
    "a network that is text": lambda r: edited(r, lambda about: about.update(network="tiny")),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_generator_is_one_error(release, damage):
    DAMAGE[damage](release)
    with pytest.raises(RunError, match="release"):
        load_generator(release.parent)


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_is_never_opened(release, tmp_path):
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    for name in ("generator.safetensors", "generator.json"):
        kept = (release / name).read_bytes()
        (release / name).write_bytes(bomb)
        with pytest.raises(RunError):
            load_generator(release)
        (release / name).write_bytes(kept)
    assert not (tmp_path / "exploded").exists()


def some(count=7, channels=3):
    images = np.random.default_rng(0).integers(0, 256, (count, 16, 16, channels), dtype=np.uint8)
    return images, np.arange(count) % 3


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_shows_each_image_in_its_place(tmp_path, channels):
    images, _ = some(channels=channels)
    write_grid(images, tmp_path / "grid.png", columns=3)
    grid = np.asarray(Image.open(tmp_path / "grid.png")).reshape(56, 56, channels)
    for index, image in enumerate(images):
        top, left = 2 + 18 * (index // 3), 2 + 18 * (index % 3)
        assert np.array_equal(grid[top : top + 16, left : left + 16], image)
    assert (grid[:2] == 255).all()


def test_an_npz_holds_arrays_and_no_pickle(tmp_path):
    images, labels = some()
    write_npz(images, labels, tmp_path / "own.npz")
    with np.load(tmp_path / "own.npz", allow_pickle=False) as arrays:
        assert np.array_equal(arrays["images"], images)
        assert np.array_equal(arrays["labels"], labels)


def test_a_folder_is_never_written_over(tmp_path):
    images, labels = some()
    write_folder(images, labels, NAMES, tmp_path / "own")
    assert sorted(p.name for p in (tmp_path / "own").iterdir()) == ["a", "b", "c"]
    with pytest.raises(FileExistsError):
        write_folder(images, labels, NAMES, tmp_path / "own")


def test_a_sample_of_one_class_makes_one_folder(tmp_path):
    images, _ = some()
    write_folder(images, np.full(7, 1), NAMES, tmp_path / "own")
    assert [p.name for p in (tmp_path / "own").iterdir()] == ["b"]


def test_class_names_never_lead_out_of_the_folder(tmp_path):
    images, labels = some()
    write_folder(images, labels, ("../up", "/etc", ".."), tmp_path / "deep" / "own")
    assert [p.name for p in tmp_path.iterdir()] == ["deep"]
    assert len(list((tmp_path / "deep" / "own").glob("*/*.png"))) == 7


def test_classes_whose_names_look_alike_get_folders_of_their_own(tmp_path):
    images, labels = some()
    write_folder(images, labels, ("a/b", "a-b", "c"), tmp_path / "own")
    folders = sorted(p for p in (tmp_path / "own").iterdir() if p.is_dir())
    assert [p.name for p in folders] == ["000-a-b", "001-a-b", "002-c"]
    assert [len(list(p.iterdir())) for p in folders] == [3, 2, 2]
    # Which class each is stands beside them.
    named = json.loads((tmp_path / "own" / "classes.json").read_text())
    assert named == {"000-a-b": "a/b", "001-a-b": "a-b", "002-c": "c"}


WRITERS = {
    "grid.png": lambda images, labels, path: write_grid(images, path, columns=3),
    "own.npz": lambda images, labels, path: write_npz(images, labels, path),
    "own": lambda images, labels, path: write_folder(images, labels, NAMES, path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch, name):
    def fail(*args):
        raise OSError(28, "No space left on device")

    images, labels = some()
    if name != "own":
        (tmp_path / name).write_bytes(b"what stood there")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(files.os, "fsync", fail)
    monkeypatch.setattr("pathlib.Path.rename", fail)
    with pytest.raises(OSError, match="No space left"):
        WRITERS[name](images, labels, tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before
    if name != "own":
        assert (tmp_path / name).read_bytes() == b"what stood there"


@pytest.fixture
def full_disk(tmp_path):
    """A file system of 8 kB."""
    small = tmp_path / "small"
    small.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", small], capture_output=True).returncode:
        pytest.skip("this place cannot mount a small file system")
    yield small
    subprocess.run(["umount", small], check=True)


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_nothing(full_disk, name):
    images, labels = some(200)
    with pytest.raises(OSError, match="No space left"):
        WRITERS[name](images, labels, full_disk / name)
    assert list(full_disk.iterdir()) == []


def test_a_released_generator_is_written_file_by_file_whole(release, monkeypatch):
    before = {p.name: p.read_bytes() for p in release.iterdir()}

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)
    torch.manual_seed(1)
    with pytest.raises(OSError, match="No space left"):
        save_generator(Generator(CONFIG), CONFIG, NAMES, release)
    assert {p.name: p.read_bytes() for p in release.iterdir()} == before
