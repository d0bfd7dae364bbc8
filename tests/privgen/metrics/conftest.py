"""The digits, and one LeNet trained on them for all tests of the metrics that run in a process."""

from pathlib import Path

import pytest

from privgen.data import DataSet, load_data
from privgen.metrics.cache import Cache
from privgen.metrics.lenet import LeNet, lenet_identity, train_lenet


@pytest.fixture(scope="session")
def digits() -> DataSet:
    return load_data("digits", None)


@pytest.fixture(scope="session")
def lenet(digits: DataSet) -> LeNet:
    return train_lenet(digits.train.images, digits.train.labels, classes=10, fingerprint=digits.fingerprint())


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory, digits: DataSet, lenet: LeNet) -> Path:
    """XDG_CACHE_HOME of a user who has evaluated images of the digits before."""
    home = tmp_path_factory.mktemp("cache")
    weights = {name: tensor.numpy() for name, tensor in lenet.state().items()}
    Cache(home / "privgen" / "evaluation").keep(lenet_identity(digits.fingerprint()), weights)
    return home
