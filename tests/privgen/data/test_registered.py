"""A data set from outside the tree: registered by name, planned for, loaded and listed as the published ones are."""

import json
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from accountant.plans.public_facts import PublicFacts
from privgen.catalogue import DATASETS, Dataset, register_dataset
from privgen.cli import main
from privgen.data import load_data
from privgen.errors import ConfigError, DataError

SOURCE = """
import numpy as np
from privgen.data import DataSet, ImageData
from privgen.data.identity import identities


def stripes(name, data_dir):
    def split(kind, count):
        labels = np.arange(count, dtype=np.int64) % 2
        images = np.zeros((count, 16, 16, 1), dtype=np.uint8)
        images[labels == 1, ::2] = 255
        ids = identities(f"{name}/{kind}/{row}" for row in range(count))
        return ImageData(name=name, split=kind, images=images, labels=labels, class_names=("plain", "striped"), ids=ids)
    return DataSet(name, split("train", 200), split("test", 20), source=name)
"""
FACTS = PublicFacts(name="stripes", classes=("plain", "striped"), shape=(16, 16, 1))


@pytest.fixture
def stripes(tmp_path, monkeypatch):
    (tmp_path / "stripe_shop.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    register_dataset(Dataset(facts=FACTS, size=200, loader="stripe_shop:stripes"))
    yield
    del DATASETS["stripes"]
    sys.modules.pop("stripe_shop", None)


def test_it_is_loaded_by_its_name(stripes):
    data = load_data("stripes")
    assert (data.name, len(data.train.labels), data.train.images.shape[1:]) == ("stripes", 200, FACTS.shape)


def test_a_plan_takes_its_size_and_its_public_facts(stripes):
    ran = CliRunner().invoke(main, ["plan", "--epsilon", "10", "--dataset", "stripes", "--json"])
    assert ran.exit_code == 0, ran.output
    plan = json.loads(ran.stdout)
    assert (plan["dataset"], plan["dataset_size"]) == ("stripes", 200)
    assert plan["public_facts"]["classes"] == ["plain", "striped"]


def test_it_is_listed(stripes):
    assert "stripe_shop:stripes" in CliRunner().invoke(main, ["data"]).output.replace("\n", "")


def test_generated_images_are_measured_against_it(stripes, tmp_path):
    data = load_data("stripes")
    np.savez(tmp_path / "made.npz", images=data.test.images, labels=data.test.labels)
    options = ["--dataset", "stripes", "--metrics", "fid", "--features", "pixels", "--json"]
    ran = CliRunner().invoke(main, ["evaluate", "made.npz", *options])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["fid"]["real"] == 200


@pytest.mark.parametrize(
    ("name", "loader"),
    [("digits", "a:b"), ("npz:mine", "a:b"), ("fresh", "nothing")],
    ids=["known", "a path", "loader"],
)
def test_a_name_is_taken_once_and_says_what_loads_it(name, loader):
    with pytest.raises(ConfigError):
        register_dataset(
            Dataset(facts=PublicFacts(name=name, classes=("a",), shape=(16, 16, 1)), size=1, loader=loader)
        )


def test_an_unknown_name_says_which_are_known(stripes):
    with pytest.raises(DataError, match=r"digits.*stripes"):
        load_data("strypes")
