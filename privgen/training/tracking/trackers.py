"""Where values of steps go: one class a tool behind `Tracker`, and the registry by which `--log` finds it.

Guarantees: no time of a step is written or sent. How long a step took tells how many records it drew, which is private:
files have step numbers where a format wants a time, and a server is sent everything at the session's end.
"""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from privgen.errors import ConfigError

Values = Mapping[str, float]


class Tracker(ABC):
    """Keeps what is logged of a session; `close` at its end, however it ends."""

    @abstractmethod
    def configure(self, configuration: Mapping[str, Any]) -> None:
        """The run's configuration, once, before the first step; JSON."""

    @abstractmethod
    def log(self, step: int, values: Values) -> None:
        """The values of a step."""

    @abstractmethod
    def picture(self, step: int, png: bytes) -> None:
        """A grid of samples."""

    @abstractmethod
    def close(self) -> None:
        """Write or send what is left."""


class CsvTracker(Tracker):
    """metrics.csv with columns step, name, value; configuration.json; grid-STEP.png. A resume adds to them.

    Args:
        folder: made where it is missing.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.csv"
        new = not path.exists()
        self._file = path.open("a", encoding="utf-8", newline="")
        self._rows = csv.writer(self._file)
        if new:
            self._rows.writerow(("step", "name", "value"))

    def configure(self, configuration: Mapping[str, Any]) -> None:
        text = json.dumps(configuration, indent=2, ensure_ascii=False)
        (self._folder / "configuration.json").write_text(text + "\n", encoding="utf-8")

    def log(self, step: int, values: Values) -> None:
        self._rows.writerows((step, name, value) for name, value in values.items())
        self._file.flush()

    def picture(self, step: int, png: bytes) -> None:
        (self._folder / f"grid-{step:06d}.png").write_bytes(png)

    def close(self) -> None:
        self._file.close()


class TensorBoardTracker(Tracker):
    """Event files with a step's number where its time would stand."""

    def __init__(self, folder: Path, name: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def configure(self, configuration: Mapping[str, Any]) -> None:
        text = "```json\n" + json.dumps(configuration, indent=2, ensure_ascii=False) + "\n```"
        self._writer.add_text("configuration", text, 0, walltime=0.0)

    def log(self, step: int, values: Values) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step, walltime=float(step))

    def picture(self, step: int, png: bytes) -> None:
        self._writer.add_image("samples", _array(png), step, walltime=float(step), dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class _AtTheEnd(Tracker):
    """Keeps all in memory until `close`, and then sends it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.configuration: Mapping[str, Any] = {}
        self.steps: list[tuple[int, Values]] = []
        self.pictures: list[tuple[int, bytes]] = []

    def configure(self, configuration: Mapping[str, Any]) -> None:
        self.configuration = configuration

    def log(self, step: int, values: Values) -> None:
        self.steps.append((step, dict(values)))

    def picture(self, step: int, png: bytes) -> None:
        self.pictures.append((step, png))


class MlflowTracker(_AtTheEnd):
    """A run of MLflow, where MLFLOW_TRACKING_URI says, or in the run's logs."""

    def close(self) -> None:
        import os

        from mlflow.entities import Metric, Param
        from mlflow.tracking import MlflowClient

        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.folder.absolute()}/mlflow.db"
        self.folder.mkdir(parents=True, exist_ok=True)
        client = MlflowClient(tracking_uri=uri)
        known = client.get_experiment_by_name("privgen")
        experiment = known.experiment_id if known else client.create_experiment("privgen")
        run = client.create_run(experiment, run_name=self.name).info.run_id
        flat = [Param(key, str(value)[:500]) for key, value in _flat(self.configuration).items()]
        for first in range(0, len(flat), 100):
            client.log_batch(run, params=flat[first : first + 100])
        metrics = [
            Metric(key, value, timestamp=step, step=step)
            for step, values in self.steps
            for key, value in values.items()
        ]
        for first in range(0, len(metrics), 1000):
            client.log_batch(run, metrics=metrics[first : first + 1000])
        for step, png in self.pictures:
            client.log_image(run, _array(png), artifact_file=f"samples/step-{step:06d}.png")
        client.set_terminated(run)


class WandbTracker(_AtTheEnd):
    """A run of Weights & Biases; WANDB_MODE=offline keeps it here. Nothing of machine, code or command is sent."""

    def close(self) -> None:
        import wandb
        from PIL import Image

        self.folder.mkdir(parents=True, exist_ok=True)
        quiet = wandb.Settings(
            disable_git=True, disable_code=True, console="off", x_disable_stats=True, x_disable_meta=True,
            x_save_requirements=False, program="", silent=True,
        )  # fmt: skip
        run = wandb.init(
            project="privgen", name=self.name, dir=str(self.folder), config=dict(self.configuration), settings=quiet
        )
        pictures = dict(self.pictures)
        for step, values in self.steps:
            shown = {"samples": wandb.Image(Image.open(io.BytesIO(pictures[step])))} if step in pictures else {}
            run.log({**values, **shown}, step=step)
        run.finish()


TRACKERS: dict[str, Callable[[Path, str], Tracker]] = {
    "csv": CsvTracker,
    "tensorboard": TensorBoardTracker,
    "mlflow": MlflowTracker,
    "wandb": WandbTracker,
}
# Those that write files here and send nothing.
LOCAL = ("csv", "tensorboard")


# How to get what each needs; MLflow stands on packages that have no release but pre-releases, and is no extra for that.
_INSTALL = {
    "tensorboard": "pip install 'privgen[tensorboard]'",
    "mlflow": "pip install mlflow-skinny sqlalchemy alembic",
    "wandb": "pip install 'privgen[wandb]'",
}


def require_packages(kinds: Sequence[str]) -> None:
    """Raise ConfigError where a tracker's package is not here: before a run is begun, and not after it."""
    for kind in kinds:
        if kind in _INSTALL and find_spec(kind) is None:
            raise ConfigError(f"--log {kind} needs a package that is not here: {_INSTALL[kind]}.")


def _array(png: bytes) -> Any:
    """(H, W, 3) uint8."""
    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested objects by names with dots."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value
    return found
