"""Attacks on what is public: one record must not decide the classes, the shape, the size or the names of a release.

Once, one record alone in its class decided the network's width and stood in `class_names` of the released generator;
one damaged file, or one of another size, decided between a run and an error; and the absolute path of the data was in
the plan, the ledger and the report.
"""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from accountant.plans.plan import Plan
from accountant.plans.public_facts import PublicFacts
from privgen.cli import main
from privgen.data import load_data

SECRET = "hiv-positive"
FACTS = PublicFacts(name="clinic", classes=("flu", SECRET, "zoster"), shape=(16, 16, 1))
UNLISTED = PublicFacts(name="clinic", classes=("flu", "zoster"), shape=(16, 16, 1))


def privgen(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def clinic(root, rare=1):
    """A folder with one class of `rare` images."""
    generator = np.random.default_rng(0)
    for name, count in (("flu", 40), (SECRET, rare), ("zoster", 40)):
        (root / name).mkdir(parents=True)
        for row in range(count):
            pixels = generator.integers(0, 256, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{row}.png")
    return root


def whose(data):
    return {key.tobytes(): (int(y), i.tobytes()) for key, y, i in zip(data.ids, data.labels, data.images, strict=True)}


@pytest.mark.parametrize("neighbour", ["without the image", "without the folder"])
def test_a_record_alone_in_its_class_decides_no_class(tmp_path, neighbour):
    """With it there were three classes; without it two, or an error, and zoster changed its number."""
    root = clinic(tmp_path / "own")
    whole = load_data(f"image-folder:{root}", facts=FACTS)
    shutil.rmtree(root / SECRET)
    if neighbour == "without the image":
        (root / SECRET).mkdir()
    less = load_data(f"image-folder:{root}", facts=FACTS)
    assert whole.train.class_names == less.train.class_names == FACTS.classes
    for with_it, without in ((whole.train, less.train), (whole.test, less.test)):
        assert whose(without).items() <= whose(with_it).items()


ODD = {
    "of a class that nobody listed": lambda root: (
        (root / "new").mkdir(),
        shutil.copy(root / "flu" / "0.png", root / "new" / "0.png"),
    ),
    "in no class": lambda root: shutil.copy(root / "flu" / "0.png", root / "0.png"),
    "of another size": lambda root: Image.new("L", (20, 16)).save(root / "flu" / "odd.png"),
    "in colour": lambda root: Image.new("RGB", (16, 16), "red").save(root / "flu" / "odd.png"),
    "cut short": lambda root: (root / "flu" / "odd.png").write_bytes((root / "flu" / "0.png").read_bytes()[:200]),
    "no image": lambda root: (root / "flu" / "odd.png").write_bytes(b"?"),
    "of many pages": lambda root: Image.new("L", (16, 16)).save(
        root / "flu" / "odd.tif", save_all=True, append_images=[Image.new("L", (16, 16), 9)]
    ),
    "of 32 bits": lambda root: Image.new("I", (16, 16), 70000).save(root / "flu" / "odd.tif"),
}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_record_contributes_nothing_and_decides_nothing(tmp_path, what):
    """Each of these once ended the run, which is an output that one record decides."""
    root = clinic(tmp_path / "own")
    before = load_data(f"image-folder:{root}", facts=FACTS)
    ODD[what](root)
    after = load_data(f"image-folder:{root}", facts=FACTS)
    assert len(after.left_out) == len(before.left_out) + 1
    for old, new in ((before.train, after.train), (before.test, after.test)):
        assert whose(old) == whose(new)


def test_an_npz_with_one_odd_label_keeps_its_classes(tmp_path):
    """Label 3 of one record in 60 once made a fourth class."""
    images = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 1), dtype=np.uint8)
    labels = np.arange(60) % 3
    facts = PublicFacts(name="x", classes=("0", "1", "2"), shape=(16, 16, 1))
    np.savez(tmp_path / "x.npz", images=images[:59], labels=labels[:59])
    less = load_data(f"npz:{tmp_path / 'x.npz'}", facts=facts)
    labels[59] = 3
    np.savez(tmp_path / "x.npz", images=images, labels=labels)
    more = load_data(f"npz:{tmp_path / 'x.npz'}", facts=facts)
    assert whose(less.train) == whose(more.train) and whose(less.test) == whose(more.test)
    assert [one.reason for one in more.left_out] == ["of the class '3', which is not listed"]


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A run of a folder with a class that is listed and empty, and a record that is left out."""
    monkeypatch.chdir(tmp_path)
    root = clinic(tmp_path / "patients-of-Dr-Who", rare=0)
    (root / SECRET).rmdir()
    (root / "flu" / "mrs-smith.png").write_bytes(b"?")
    planned = privgen(
        "plan", "--epsilon", 5, "--dataset", f"image-folder:{root}", "--name", "clinic", "--classes",
        "flu,measles,zoster", "--dataset-size", 64, "--batch-size", 8, "--iterations", 4, "--out", "plan.json",
    )  # fmt: skip
    assert planned.exit_code == 0, planned.output
    run = privgen("train", "--out", "run", "--set", "generator_batch=6", "--set", "latent_dim=8")
    assert run.exit_code == 0, run.output
    return tmp_path, planned, run


def test_classes_of_a_release_are_the_plans_and_a_listed_class_may_be_empty(trained):
    place, _, run = trained
    about = json.loads((place / "run" / "release" / "generator.json").read_bytes())
    assert about["class_names"] == ["flu", "measles", "zoster"]
    assert Plan.load(place / "run" / "release" / "plan.json").public_facts.classes == ("flu", "measles", "zoster")
    private = " ".join(run.stderr.split())
    assert "(Private: do not publish this line.) 1 of 3 classes have no record to train on (measles)" in private


def test_no_path_and_no_record_of_the_data_is_in_a_release(trained):
    """The plan, the ledger and the report once carried /home/NAME/patients-of-…"""
    place, *_ = trained
    assert privgen("audit", "run").exit_code == 0
    for file in (place / "run" / "release").iterdir():
        content = file.read_bytes()
        assert b"Dr-Who" not in content and b"mrs-smith" not in content and str(place).encode() not in content, file
    plan_text = (place / "plan.json").read_text()
    assert "Dr-Who" not in plan_text and "mrs-smith" not in plan_text
    hidden = (place / "run" / "private" / "source.json").read_text()
    assert "patients-of-Dr-Who" in hidden and "mrs-smith" in hidden


def test_an_empty_class_is_said_in_private_alone(trained):
    place, *_ = trained
    for file in (place / "run" / "release").iterdir():
        assert b"no record to train" not in file.read_bytes(), file


def test_what_is_proposed_from_the_data_is_called_so_and_an_option_overrides_it(trained):
    place, planned, _ = trained
    assert "PROPOSED" in planned.stderr and "images 16×16×1" in " ".join(planned.stderr.split())
    root = f"image-folder:{place / 'patients-of-Dr-Who'}"
    bare = privgen("plan", "--epsilon", 5, "--dataset", root, "--json")
    said = " ".join(bare.stderr.split())
    made = json.loads(bare.stdout)
    assert made["public_facts"] == {
        "name": "image-folder", "classes": ["flu", "zoster"], "shape": [16, 16, 1], "unit": "record", "resize": None,
        "crop": None,
    }  # fmt: skip
    assert f"N = {made['dataset_size']} (--dataset-size)" in said and "2 classes: flu, zoster (--classes)" in said
    assert made["defaults"]["dataset_size"].startswith("PROPOSED")


def test_data_that_moved_are_the_same_data(trained, monkeypatch):
    place, *_ = trained
    (place / "patients-of-Dr-Who").rename(place / "moved")
    extended = privgen("train", "--resume", "--out", "run", "--extend", "--dataset", f"image-folder:{place / 'moved'}")
    assert extended.exit_code == 0, extended.output
    other = clinic(place / "other")
    (other / "flu" / "0.png").unlink()
    refused = privgen("train", "--resume", "--out", "run", "--extend", "--dataset", f"image-folder:{other}")
    assert refused.exit_code == 1 and "is not the one that this run was begun with" in refused.stderr


def test_one_unlisted_class_is_named_to_the_owner_alone(tmp_path):
    data = load_data(f"image-folder:{clinic(tmp_path / 'own')}", facts=UNLISTED)
    assert [(one.name, one.reason) for one in data.left_out] == [
        (f"{SECRET}/0.png", f"of the class '{SECRET}', which is not listed")
    ]
    assert data.train.class_names == ("flu", "zoster")
