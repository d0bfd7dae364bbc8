"""`SessionLog`: which values of a session's steps go to which trackers.

    released   ε so far, charged and held steps, losses on generated images, the noise multiplier, grids of samples
    private    batch sizes, norms of gradients, records that were not finite: to files in private/logs, if asked for

Guarantees: a tracker that is not below the run's private folder is given a `StepReport`'s released fields, the plan and
the settings, and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any

from privgen.errors import ConfigError
from privgen.training.loop import StepReport
from privgen.training.session import Session
from privgen.training.tracking.trackers import LOCAL, TRACKERS, Tracker, require_packages

FOLDER = "logs"


class SessionLog:
    """Logs the reports of a session.

    Args:
        kinds: of trackers, as `require_trackers` takes them. private: whether private values are kept too.
        warn: told, once for each, of a tracker that failed. A run does not end by it.
    """

    def __init__(self, session: Session, kinds: Sequence[str], *, private: bool, warn: Callable[[str], object]) -> None:
        self._session, self._warn = session, warn
        folder, name = session.folder.path, session.folder.path.resolve().name
        self._released = [TRACKERS[kind](folder / FOLDER / kind, name) for kind in kinds]
        inside = session.folder.private / FOLDER
        self._private = [TRACKERS[kind](inside / kind, name) for kind in kinds if kind in LOCAL and private]
        # Lines of earlier sessions were logged by them.
        self._metrics = session.folder.private / "metrics.jsonl"
        self._read = self._metrics.stat().st_size if self._metrics.exists() else 0
        configuration = {"plan": session.plan.to_json(), "settings": session.state.learner.settings.to_json()}
        for tracker in list(self._released):
            self._try(tracker, self._released, partial(tracker.configure, configuration))

    def __enter__(self) -> SessionLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for trackers in (self._released, self._private):
            for tracker in list(trackers):
                self._try(tracker, trackers, tracker.close)

    def log(self, report: StepReport) -> None:
        """Log a step."""
        values = released_values(self._session, report)
        for tracker in list(self._released):
            self._try(tracker, self._released, partial(_log_released, tracker, report, values))
        for line in self._new_lines() if self._private else ():
            step, numbers = int(line.pop("step")), _numbers(line)
            for tracker in list(self._private):
                self._try(tracker, self._private, partial(tracker.log, step, numbers))

    def _try(self, tracker: Tracker, trackers: list[Tracker], act: Callable[[], None]) -> None:
        """Do it, or do without this tracker from now on."""
        try:
            act()
        except Exception as error:  # a server's, a full disk's: the steps go on
            trackers.remove(tracker)
            self._warn(f"{type(tracker).__name__} failed ({' '.join(str(error).split())[:200]}); it logs no more.")

    def _new_lines(self) -> Iterator[dict[str, Any]]:
        if not self._metrics.exists():  # before the first step that draws records
            return
        with self._metrics.open("rb") as file:
            file.seek(self._read)
            for line in file:
                yield json.loads(line)
            self._read = file.tell()


def require_trackers(kinds: Sequence[str], *, private: bool) -> None:
    """Raise ConfigError where a package is not here, or where private values would have to be sent somewhere."""
    require_packages(kinds)
    if private and not set(kinds) & set(LOCAL):
        raise ConfigError(f"--log-private goes with --log {' or '.join(LOCAL)}: private values are sent nowhere.")


def _log_released(tracker: Tracker, report: StepReport, values: Mapping[str, float]) -> None:
    tracker.log(report.step, values)
    if report.samples is not None:
        tracker.picture(report.step, report.samples.read_bytes())


def released_values(session: Session, report: StepReport) -> dict[str, float]:
    """What may be told of a step to anyone, by name."""
    plan = session.plan
    place = min(max(report.held - 1, 0), plan.steps - 1)
    values = {
        "privacy/epsilon_rdp": report.epsilon_spent,
        "privacy/steps_charged": float(report.charged),
        "privacy/steps_held": float(report.held),
        "privacy/noise_multiplier": plan.event_of(plan.phase_at(place)).noise_multiplier,
    }
    return values | {f"loss/{name}": value for name, value in report.losses.items()}


def _numbers(values: Mapping[str, Any], before: str = "") -> dict[str, float]:
    """The numbers of a line, those of nested objects by names with slashes."""
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _numbers(value, f"{before}{name}/")
        elif isinstance(value, int | float):
            found[f"{before}{name}"] = float(value)
    return found
