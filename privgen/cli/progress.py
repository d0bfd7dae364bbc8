"""The live display of a training: charged and planned steps, ε spent, losses, images a second, time left, samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType

from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from accountant.bound_text import upper_text
from privgen.cli.console import err_console
from privgen.cli.durations import spoken
from privgen.cli.terminal_images import can_show, shown
from privgen.training.loop import StepReport
from privgen.training.session import Session

# Where there is no terminal to redraw, a line now and then does.
_LINES = 20


class _BarAndLines(Progress):
    """A bar, and under it what is charged and the losses on lines of their own: all of it fits 80 columns."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar's table, then a line for each."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            for name in ("spent", "losses"):
                yield Text(f"  {task.fields[name]}", no_wrap=True, overflow="ellipsis")


class TrainingDisplay:
    """Shows `StepReport`s on stderr: a bar on a terminal, some twenty lines otherwise.

    A terminal that can show images is shown each grid of samples that the run writes.
    """

    def __init__(self, session: Session, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._begun, self._first = clock, clock(), session.guard.steps
        self._live = err_console.is_terminal
        # Of the expected batch: how many records a step really drew is private.
        self._batch = session.plan.expected_batch_size
        self._planned = session.plan.steps
        self._every = max(1, self._planned // _LINES)
        self._epsilon, self._by_prv = session.plan.epsilon, session.plan.accountant == "prv"
        self._progress = _BarAndLines(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=err_console,
            disable=not self._live,
        )
        self._task = self._progress.add_task(
            "train",
            total=self._planned,
            completed=session.guard.steps,
            spent=self._spent(session.guard.charged, session.guard.epsilon_spent()),
            losses="",
            pace="",
        )

    def __enter__(self) -> TrainingDisplay:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._progress.stop()

    def _spent(self, charged: int, by_rdp: float) -> str:
        """What is charged, with what stands reserved ahead of the steps; a plan by PRV may pass its ε by RDP."""
        planned = f"ε {self._epsilon:g} planned" + (", by PRV" if self._by_prv else "")
        return f"charged {charged} (ε {upper_text(by_rdp)} by RDP so far, {planned})"

    def _left(self, report: StepReport) -> str:
        """How long the planned steps still take, by those that this display has seen."""
        taken, missing = report.step - self._first, self._planned - report.step
        if taken < 1 or missing < 1:
            return ""
        seconds = (self._clock() - self._begun) * missing / taken
        return f"  {'about ' if round(seconds) else ''}{spoken(seconds)} left"

    def _pace(self, report: StepReport) -> str:
        """Images a second, by the steps that this display has seen and the plan's expected batch."""
        taken, seconds = report.step - self._first, self._clock() - self._begun
        return f"{self._batch * taken / seconds:,.0f} images/s" if taken > 0 and seconds > 0 else ""

    def _preview(self, report: StepReport) -> None:
        """The newest grid of samples, above the bar."""
        if report.samples is None or not can_show(err_console):
            return
        err_console.print(f"Samples after {report.held} steps:", markup=False)
        err_console.file.write(shown(report.samples.read_bytes()))

    def update(self, report: StepReport) -> None:
        """Show one step. Where stderr is closed, nobody sees it and training goes on."""
        with suppress(OSError):
            self._show(report)
            self._preview(report)

    def _show(self, report: StepReport) -> None:
        losses = "  ".join(f"{name} {value:.3f}" for name, value in report.losses.items())
        self._progress.update(
            self._task,
            completed=report.step,
            total=max(self._planned, report.step),
            spent=self._spent(report.charged, report.epsilon_spent),
            losses=losses,
            pace=self._pace(report),
        )
        if not self._live and (report.step % self._every == 0 or report.step == self._planned):
            spent = self._spent(report.charged, report.epsilon_spent)
            err_console.print(
                f"step {report.step}/{report.planned}  {spent}  {losses}  {self._pace(report)}{self._left(report)}",
                markup=False,
                soft_wrap=True,
            )
