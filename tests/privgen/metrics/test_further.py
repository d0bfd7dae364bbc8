"""A metric from outside the tree: registered by name, measured, printed and kept beside the others."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from privgen.catalogue import METRICS, Metric, register_metric
from privgen.cli import main
from privgen.data import load_data
from privgen.errors import ConfigError
from privgen.metrics.request import possible_metrics

SOURCE = """
def brightness(generated, data):
    return {"generated": generated.images.mean(), "real": data.train.images.mean()}
"""


@pytest.fixture
def brightness(tmp_path, monkeypatch):
    (tmp_path / "shop_metrics.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    register_metric(Metric(name="brightness", measure="shop_metrics:brightness"))
    yield
    del METRICS["brightness"]


def test_a_metric_from_elsewhere_is_measured_by_its_name(brightness, tmp_path):
    data = load_data("digits")
    np.savez(tmp_path / "made.npz", images=data.test.images, labels=data.test.labels)
    ran = CliRunner().invoke(main, ["evaluate", "made.npz", "--dataset", "digits", "--metrics", "brightness", "--json"])
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert found["further"] == {"brightness": {"generated": data.test.images.mean(), "real": data.train.images.mean()}}
    assert found["reads"] == ["train"]
    assert "brightness: real" in next(tmp_path.rglob("*.md")).read_text()


def test_it_is_among_all_that_can_be_measured(brightness):
    assert "brightness" in possible_metrics((28, 28, 1), labelled=False, inception=False)


def test_an_unknown_metric_names_those_that_are_known(brightness):
    ran = CliRunner().invoke(main, ["evaluate", "made.npz", "--metrics", "beauty"])
    assert ran.exit_code == 2 and "brightness" in ran.output


@pytest.mark.parametrize("metric", [Metric(name="fid", measure="a:b"), Metric(name="x"), Metric(name="x", measure="a")])
def test_a_name_is_taken_once_and_says_what_measures_it(metric):
    with pytest.raises(ConfigError):
        register_metric(metric)
