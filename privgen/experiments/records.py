"""Finished trials as JSON lines, one for each trial, appended and flushed so that an experiment can be interrupted.

>>> import tempfile
>>> form = TrialForm(schema="privgen.example/1", to_json=dict, from_json=dict, result=dict)
>>> log = TrialLog(Path(tempfile.mkdtemp()) / "results.jsonl", form)
>>> log.add(Finished("first", {"seed": 0}, {"loss": 0.5}))
>>> TrialLog(log.path, form).find({"seed": 0})["loss"]
0.5
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from privgen.errors import ConfigError

Trial = TypeVar("Trial")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialForm(Generic[Trial]):
    """How trials and their results stand in a file.

    Args:
        schema: of a line; it ends with a version. to_json, from_json: of a trial, inverse to each other.
        result: checks the result in a line and gives it back; raises KeyError, TypeError or ValueError.
    """

    schema: str
    to_json: Callable[[Trial], Mapping[str, Any]]
    from_json: Callable[[Mapping[str, Any]], Trial]
    result: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Finished(Generic[Trial]):
    """A trial that was trained.

    Args:
        stage: of the experiment, the first that needed it. trial: its settings. result: what was measured.
    """

    stage: str
    trial: Trial
    result: Any


class TrialLog(Generic[Trial]):
    """A file of finished trials, read once and appended to.

    Args:
        path: need not exist yet. A last line that a crash cut off does not count, and is overwritten by the next.
        form: of its lines.

    Raises:
        ConfigError: a line does not hold a finished trial. The file stays as it is.
    """

    def __init__(self, path: Path, form: TrialForm[Trial]) -> None:
        self.path, self._form = path, form
        self._finished: dict[str, Finished[Trial]] = {}
        if path.exists():
            for number, line in enumerate(_whole_lines(path).splitlines(), 1):
                finished = self._parsed(line, f"{path}, line {number}")
                self._finished[self._key(finished.trial)] = finished

    def _key(self, trial: Trial) -> str:
        return json.dumps(self._form.to_json(trial), sort_keys=True)

    def find(self, trial: Trial) -> Any:
        """The result of this trial, or None if it was not trained."""
        finished = self._finished.get(self._key(trial))
        return None if finished is None else finished.result

    def add(self, finished: Finished[Trial]) -> None:
        """Append a trial and flush the file.

        Raises:
            OSError: it cannot be written.
        """
        line = {
            "schema": self._form.schema,
            "stage": finished.stage,
            "trial": self._form.to_json(finished.trial),
            "result": dict(finished.result),
        }
        written = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            # As it is now: another process may have added lines, which stay.
            file.truncate(len(_whole_lines(self.path)))
            file.write(written)
            file.flush()
            os.fsync(file.fileno())
        self._finished[self._key(finished.trial)] = finished

    def all(self) -> tuple[Finished[Trial], ...]:
        """Every finished trial, in the order in which they were trained."""
        return tuple(self._finished.values())

    def _parsed(self, line: bytes, where: str) -> Finished[Trial]:
        try:
            data = json.loads(line)
            found = data.get("schema")
        except (ValueError, AttributeError) as error:
            raise ConfigError(f"{where} is damaged ({error}); remove the line: its trial is trained again.") from error
        if found != self._form.schema:
            raise ConfigError(
                f"Expected schema {self._form.schema} in {where}, got {found!r}: it is of another experiment or of "
                "another version of privgen; give another --out or --from."
            )
        try:
            trial, result = self._form.from_json(data["trial"]), self._form.result(data["result"])
            return Finished(str(data["stage"]), trial, result)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{where} does not hold a finished trial ({error}); remove the line: its trial is trained again."
            ) from error


def _whole_lines(path: Path) -> bytes:
    """The file without a last line that has no end."""
    text = path.read_bytes()
    return text[: text.rfind(b"\n") + 1]
