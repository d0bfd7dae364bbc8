"""A model of one's own, on few and tiny records."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from privgen import PrivateTraining

COUNT = 96


def records(count: int = COUNT, seed: int = 0) -> tuple[Tensor, Tensor]:
    x = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    return x, (x[:, 0] > 0).long()


def per_record(model: nn.Module, record: tuple[Tensor, Tensor]) -> Tensor:
    return nn.functional.cross_entropy(model(record[0]), record[1])


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))


class Listed(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """A map-style data set of records (features, label), a Python number."""

    def __init__(self, count: int = COUNT, seed: int = 0) -> None:
        self.x, self.y = records(count, seed)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.x[index], int(self.y[index])


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., PrivateTraining]:
    """Makes a PrivateTraining of the tiny model."""

    def made(model: Any = None, optimizer: Any = None, dataset: Any = None, **changes: Any) -> PrivateTraining:
        model = network() if model is None else model
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05) if optimizer is None else optimizer
        values: dict[str, Any] = {"loss": per_record, "out": tmp_path / "run", "physical_batch": 32}
        if "plan" not in changes:
            values |= {"epsilon": 8.0, "delta": 1e-4, "batch_size": 24, "steps": 6, "bands": 2}
        return PrivateTraining(model, optimizer, records() if dataset is None else dataset, **{**values, **changes})

    return made


@pytest.fixture
def own() -> SimpleNamespace:
    """The tiny model and its records."""
    return SimpleNamespace(records=records, network=network, Listed=Listed, per_record=per_record)


@pytest.fixture(autouse=True)
def state_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test is told of the runs of another."""
    monkeypatch.setenv("PRIVGEN_STATE", str(tmp_path_factory.mktemp("state")))
