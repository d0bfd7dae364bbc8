"""Classifiers trained in other processes: the same numbers, and no process outlives an error."""

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from privgen.data import load_data
from privgen.errors import EvaluationError
from privgen.metrics.workers import Training, Workers


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", None)


def training(data, recipe, seed=0, count=200):
    train, test = data.train, data.test
    return Training(
        what=f"{recipe} {seed}",
        recipe=recipe,
        seed=seed,
        train=(train.images[:count], train.labels[:count]),
        tests=((test.images, test.labels), (train.images[:count], train.labels[:count])),
    )


def test_a_number_is_the_same_wherever_it_is_computed(digits):
    trainings = [training(digits, "privgen-logreg"), training(digits, "dpdm-logreg", seed=3)]
    here = Workers(0)
    seen = set()
    with Workers(2, progress=lambda what, done, total: seen.add((what, done == total))) as workers:
        answers = [workers.submit(one) for one in trainings]
        there = [answer() for answer in answers]
    assert there == [here.submit(one)() for one in trainings]
    assert all(len(scores) == 2 and 0.5 < scores[0] < 1 for scores in there)
    assert {("privgen-logreg 0", True), ("dpdm-logreg 3", True), ("dpdm-logreg 3", False)} <= seen


def test_an_error_in_a_process_is_ours_here(digits):
    with Workers(1) as workers, pytest.raises(EvaluationError, match="two classes"):
        one_class = Training(
            what="",
            recipe="privgen-logreg",
            seed=0,
            train=(digits.train.images[:5], np.zeros(5, np.int64)),
            tests=((digits.test.images, digits.test.labels),),
        )
        workers.submit(one_class)()


def test_leaving_by_an_error_waits_for_no_training(digits):
    begun = time.monotonic()
    with pytest.raises(KeyError), Workers(1) as workers:
        workers.submit(training(digits, "dpac-cnn", count=1400))  # minutes
        raise KeyError
    assert time.monotonic() - begun < 60 and not multiprocessing.active_children()


def test_a_killed_process_is_an_error_with_a_remedy(digits):
    with pytest.raises(EvaluationError, match="--threads 1"), Workers(1) as workers:
        answer = workers.submit(training(digits, "dpac-cnn", count=1400))
        (child,) = multiprocessing.active_children()
        os.kill(child.pid, signal.SIGKILL)
        answer()
