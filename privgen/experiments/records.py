"""Finished trials as JSON lines, one for each trial, appended and flushed so that a grid can be interrupted.

>>> import tempfile
>>> log = TrialLog(Path(tempfile.mkdtemp()) / "results.jsonl")
>>> one = Trial(task="mlp", feedback="none", epsilon=1.0, total_clip=1.0, learning_rate=0.1)
>>> result = {"loss": 0.5, "accuracy": 80.0, "curve": [], "probes": [], "noise_multiplier": 1.0, "noise_std": 0.1}
>>> log.add(Finished("tune", one, result | {"certified": 1.0, "claimed": None}))
>>> TrialLog(log.path).find(one)["accuracy"]
80.0
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from privgen.errors import ConfigError
from privgen.experiments.results import TrialResult, parsed_result
from privgen.experiments.settings import Trial

SCHEMA = "privgen.clipping-bias/1"


@dataclass(frozen=True, slots=True)
class Finished:
    """A trial that was trained.

    Args:
        stage: of the grid, the first that needed it. trial: its settings. result: what `train` returned.
    """

    stage: str
    trial: Trial
    result: TrialResult


class TrialLog:
    """A file of finished trials, read once and appended to.

    Args:
        path: need not exist yet. A last line that a crash cut off is dropped.

    Raises:
        ConfigError: a line does not hold a finished trial.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._finished: dict[Trial, Finished] = {}
        if path.exists():
            whole, _, cut = path.read_bytes().rpartition(b"\n")
            if cut:
                path.write_bytes(whole + b"\n" if whole else b"")
            for number, line in enumerate(whole.splitlines(), 1):
                finished = _parsed(line, f"{path}, line {number}")
                self._finished[finished.trial] = finished

    def find(self, trial: Trial) -> TrialResult | None:
        """The result of this trial, or None if it was not trained."""
        finished = self._finished.get(trial)
        return None if finished is None else finished.result

    def add(self, finished: Finished) -> None:
        """Append a trial and flush the file.

        Raises:
            OSError: it cannot be written.
        """
        self._finished[finished.trial] = finished
        line = {
            "schema": SCHEMA,
            "stage": finished.stage,
            "trial": finished.trial.to_json(),
            "result": dict(finished.result),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")

    def all(self) -> tuple[Finished, ...]:
        """Every finished trial, in the order in which they were trained."""
        return tuple(self._finished.values())


def _parsed(line: bytes, where: str) -> Finished:
    try:
        data = json.loads(line)
        if data.get("schema") != SCHEMA:
            raise ConfigError(f"Expected schema {SCHEMA} in {where}, got {data.get('schema')!r}.")
        return Finished(str(data["stage"]), Trial.from_json(data["trial"]), parsed_result(data["result"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{where} does not hold a finished trial ({error}); remove the line.") from error
