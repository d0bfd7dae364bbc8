"""Progress bars on stderr for work in several tasks, each of which says how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import Progress, TaskID

from privgen.cli.console import err_console


@contextmanager
def task_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Progress bars on stderr, one for each task."""
    with Progress(console=err_console, transient=True) as display:
        tasks: dict[str, TaskID] = {}

        def update(what: str, done: int, total: int) -> None:
            # A classifier in another process reports nothing until it is done: its bar only pulses.
            known = total if done or total > 1 else None
            if what not in tasks:
                tasks[what] = display.add_task(what, total=known)
            display.update(tasks[what], completed=done, total=known)

        yield update
