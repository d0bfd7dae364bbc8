"""Training classifiers in separate processes while the caller measures other things.

Several processes with one thread each are faster than one with several threads: the networks are small, and threads
wait for each other at every layer. The accuracy depends on the seed, not on the process.

    with trained(trainings, processes=2) as answers:
        ...                                                      # measure other things
        accuracies = list(answers)
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from loky import ProcessPoolExecutor

from privgen.errors import EvaluationError
from privgen.metrics.classifiers import RECIPES
from privgen.metrics.gen2real import Labelled, accuracy

Progress = Callable[[str, int, int], object]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Training:
    """A classifier to train, and its test sets.

    Args:
        what: for progress. recipe: a name in RECIPES. seed: of initialisation and order.
        train, tests: images (n, H, W, C) uint8 and labels (n,) from 0.
        keep: called with the accuracies as soon as they are known, in the process that asked for them.
    """

    what: str
    recipe: str
    seed: int
    train: Labelled
    tests: tuple[Labelled, ...]
    keep: Callable[[tuple[float, ...]], object] = lambda scores: None

    def run(self, device: torch.device, progress: Progress) -> tuple[float, ...]:
        """Accuracies from 0 to 1, one for each test set; `progress` is called with the epochs done and planned."""
        return accuracy(
            RECIPES[self.recipe],
            self.train,
            *self.tests,
            seed=self.seed,
            device=device,
            progress=lambda done, total: progress(self.what, done, total),
        )


@contextmanager
def trained(
    trainings: Sequence[Training],
    *,
    processes: int = 0,
    threads: int = 1,
    device: torch.device | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Iterator[Iterator[tuple[float, ...]]]:
    """Train in the background; an error inside the context ends every process at once.

    Args:
        trainings: begun when the context is entered, in this order.
        processes: on the CPU; with 0, each classifier is trained in this process when its answer is asked for.
        threads: of torch in each process. device: used with 0 processes only; None means the CPU.
        progress: called when each training begins and, from another thread, when it is done.

    Yields:
        The accuracies of each training, in the given order. Asking for them raises EvaluationError if the images do
        not fit or a process was killed.
    """
    if not processes:
        where = device or torch.device("cpu")
        yield (_kept(training, training.run(where, progress)) for training in trainings)
        return
    executor = ProcessPoolExecutor(processes, initializer=_begin, initargs=(threads,))
    finished = False
    try:
        futures = [_submit(executor, training, progress) for training in trainings]
        yield (_answer(future) for future in futures)
        finished = True
    finally:
        executor.shutdown(kill_workers=not finished)


def _submit(executor: ProcessPoolExecutor, training: Training, progress: Progress) -> Future[tuple[float, ...]]:
    progress(training.what, 0, 1)
    # What keeps the answer stays here: the process is sent the work alone.
    future: Future[tuple[float, ...]] = executor.submit(_train, replace(training, keep=_nothing))

    def done(ended: Future[tuple[float, ...]]) -> None:
        if not ended.cancelled() and ended.exception() is None:
            _kept(training, ended.result())
            progress(training.what, 1, 1)

    future.add_done_callback(done)
    return future


def _kept(training: Training, scores: tuple[float, ...]) -> tuple[float, ...]:
    training.keep(scores)
    return scores


def _nothing(scores: tuple[float, ...]) -> None:
    """What a training keeps by itself."""


def _answer(future: Future[tuple[float, ...]]) -> tuple[float, ...]:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise EvaluationError(
            "A process that trained a classifier was killed, most often because memory ran out; give --threads 1 to "
            "train one classifier at a time, or fewer --samples."
        ) from error


def _begin(threads: int) -> None:
    # Ctrl-C reaches every process of the group; here it ends the process without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    torch.set_num_threads(threads)


def _train(training: Training) -> tuple[float, ...]:
    return training.run(torch.device("cpu"), lambda what, done, total: None)
