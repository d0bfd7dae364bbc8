"""Classifiers trained in processes of their own, while the caller measures the rest.

Several processes of one thread are faster than one of several threads: the networks are small, and threads wait for
each other at every layer. A classifier's seed fixes its number, wherever it is trained.

    with Workers(2, threads=1) as workers:
        answers = [workers.submit(training) for training in trainings]
        ...                                                      # measure other things
        accuracies = [answer() for answer in answers]
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType

import torch

from privgen.errors import EvaluationError
from privgen.metrics.classifiers import RECIPES
from privgen.metrics.gen2real import Labelled, accuracy

Progress = Callable[[str, int, int], object]
Answer = Callable[[], tuple[float, ...]]
_SECONDS = 0.2  # between two looks for reports


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Training:
    """One classifier to train, and what it is tested on.

    Args:
        what: for progress. recipe: a name in RECIPES. seed: of initialisation and order.
        train, tests: images (n, H, W, C) uint8 and labels (n,) from 0.
    """

    what: str
    recipe: str
    seed: int
    train: Labelled
    tests: tuple[Labelled, ...]

    def run(self, device: torch.device, progress: Progress) -> tuple[float, ...]:
        """Accuracies from 0 to 1, one a test."""
        return accuracy(
            RECIPES[self.recipe],
            self.train,
            *self.tests,
            seed=self.seed,
            device=device,
            progress=lambda done, total: progress(self.what, done, total),
        )


class Workers:
    """Processes that train classifiers on the CPU; leaving the context ends them, also where an error leaves it.

    Args:
        count: processes; 0 trains in this one, when an answer is asked for.
        threads: of torch in each process. device: used with count 0 alone. progress: called from another thread.
    """

    def __init__(
        self,
        count: int,
        *,
        threads: int = 1,
        device: torch.device | None = None,
        progress: Progress = lambda what, done, total: None,
    ) -> None:
        self._device, self._progress = device or torch.device("cpu"), progress
        self._pool: ProcessPoolExecutor | None = None
        if count:
            # A fork would copy torch's threads in a state that they cannot be used in.
            context = get_context("spawn")
            # Without a lock, which a process that is ended could hold: a write as short as these is never split.
            self._reports, end = context.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(count, context, initializer=_begin, initargs=(end, threads))
            self._processes: set[BaseProcess] = set()
            self._left = threading.Event()
            self._listener = threading.Thread(target=self._listen, daemon=True)
            self._listener.start()

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is None:
            return
        if kind is not None:
            for process in self._processes:
                process.terminate()
        self._pool.shutdown(cancel_futures=True)
        self._left.set()
        self._listener.join()

    def submit(self, training: Training) -> Answer:
        """Begin a training.

        Returns:
            A function that waits for its accuracies. It raises EvaluationError where the images do not fit, or the
            process was killed.
        """
        if self._pool is None:
            return lambda: training.run(self._device, self._progress)
        self._progress(training.what, 0, 1)
        before = set(active_children())
        future = self._pool.submit(_train, training)
        self._processes |= set(active_children()) - before

        def answer() -> tuple[float, ...]:
            try:
                return future.result()
            except BrokenProcessPool as error:
                raise EvaluationError(
                    "A process that trained a classifier was killed, most often for want of memory; give --threads 1 "
                    "to train one classifier at a time, or fewer --samples."
                ) from error

        return answer

    def _listen(self) -> None:
        left = False
        while not left:
            left = self._left.is_set()  # asked before the last look: nothing is reported later
            while self._reports.poll(_SECONDS):
                self._progress(*self._reports.recv())


# What a process is given when it begins; only there.
_reports: Connection | None = None


def _begin(reports: Connection, threads: int) -> None:
    global _reports
    _reports = reports
    # Ctrl-C reaches the whole group; here it should end the process without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    torch.set_num_threads(threads)


def _train(training: Training) -> tuple[float, ...]:
    assert _reports is not None
    return training.run(torch.device("cpu"), lambda *report: _reports.send(report))
