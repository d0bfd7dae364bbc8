"""What is being done, of work in several tasks: bars on a terminal, otherwise a line at each task's beginning and end.

Where a long task is under way and nobody has a bar to watch, a line every half minute says how far it is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from privgen.cli.console import err_console
from privgen.cli.durations import spoken

Update = Callable[[str, int, int], None]
_BETWEEN = 30.0


@contextmanager
def task_bars(clock: Callable[[], float] = time.monotonic) -> Iterator[Update]:
    """Says on stderr how far each task is; called with its name, what is done of it, and its total.

    Args:
        clock: seconds, from any beginning.
    """
    if not err_console.is_terminal:
        yield _Lines(clock).update
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err_console, transient=True) as display:
        tasks: dict[str, TaskID] = {}

        def update(what: str, done: int, total: int) -> None:
            # A classifier in another process reports nothing until it is done: its bar only pulses.
            known = total if done or total > 1 else None
            if what not in tasks:
                tasks[what] = display.add_task(what, total=known)
            display.update(tasks[what], completed=done, total=known)

        yield update


@dataclass
class _Begun:
    at: float
    said: float
    ended: bool = False


class _Lines:
    """The same in lines. Threads may call it at once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tasks: dict[str, _Begun] = {}
        self._lock = threading.Lock()

    def update(self, what: str, done: int, total: int) -> None:
        with self._lock:
            now = self._clock()
            task = self._tasks.get(what)
            if task is None or (task.ended and done < total):
                task = self._tasks[what] = _Begun(now, now)
                if done < total:
                    _say(f"{what} ...")
            if task.ended:
                return
            if done >= total:
                task.ended = True
                _say(f"{what}: done in {spoken(now - task.at)}")
            elif done and now - task.said >= _BETWEEN:
                task.said = now
                left = (now - task.at) * (total - done) / done
                _say(f"{what}: {done} of {total}, about {spoken(left)} left")


def _say(text: str) -> None:
    with suppress(OSError):  # nobody reads any more; the work goes on
        err_console.print(text, markup=False, soft_wrap=True)
