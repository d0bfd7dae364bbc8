"""A model of one's own, on few and tiny records."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from privgen import PrivateTraining

COUNT = 96


def records(count=COUNT, seed=0):
    x = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    return x, (x[:, 0] > 0).long()


def per_record(model, record):
    return nn.functional.cross_entropy(model(record[0]), record[1])


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))


class Listed(torch.utils.data.Dataset):
    """A map-style data set of records (features, label), a Python number."""

    def __init__(self, count=COUNT, seed=0):
        self.x, self.y = records(count, seed)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], int(self.y[index])


@pytest.fixture
def train(tmp_path):
    """Makes a PrivateTraining of the tiny model."""

    def made(model=None, optimizer=None, dataset=None, **changes):
        model = network() if model is None else model
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05) if optimizer is None else optimizer
        values = {"loss": per_record, "out": tmp_path / "run", "physical_batch": 32}
        if "plan" not in changes:
            values |= {"epsilon": 8.0, "delta": 1e-4, "batch_size": 24, "steps": 6, "bands": 2}
        return PrivateTraining(model, optimizer, records() if dataset is None else dataset, **{**values, **changes})

    return made


@pytest.fixture
def own():
    """The tiny model and its records."""
    return SimpleNamespace(records=records, network=network, Listed=Listed, per_record=per_record)
