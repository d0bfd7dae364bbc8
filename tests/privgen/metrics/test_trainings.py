"""Classifiers trained in other processes: the same numbers, and no process outlives an error."""

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from privgen.errors import EvaluationError
from privgen.metrics.trainings import Training, trained


def training(data, recipe, seed=0, count=200):
    train, test = data.train, data.test
    return Training(
        what=f"{recipe} {seed}",
        recipe=recipe,
        seed=seed,
        train=(train.images[:count], train.labels[:count]),
        tests=((test.images, test.labels), (train.images[:count], train.labels[:count])),
    )


def endless(data):
    """A training of an hour or more."""
    train, test = data.train, data.test
    many = np.tile(train.images, (100, 1, 1, 1)), np.tile(train.labels, 100)
    return Training(what="", recipe="dpac-cnn", seed=0, train=many, tests=((test.images, test.labels),))


def test_a_number_is_the_same_wherever_it_is_computed(digits):
    trainings = [training(digits, "privgen-logreg"), training(digits, "dpdm-logreg", seed=3)]
    seen = set()
    with trained(trainings, processes=2, progress=lambda what, done, total: seen.add((what, done == total))) as answers:
        there = list(answers)
    with trained(trainings) as answers:
        assert there == list(answers)
    assert all(len(scores) == 2 and 0.5 < scores[0] < 1 for scores in there)
    assert {("privgen-logreg 0", True), ("dpdm-logreg 3", True), ("dpdm-logreg 3", False)} <= seen


def test_an_error_in_a_process_is_ours_here(digits):
    one_class = Training(
        what="",
        recipe="privgen-logreg",
        seed=0,
        train=(digits.train.images[:5], np.zeros(5, np.int64)),
        tests=((digits.test.images, digits.test.labels),),
    )
    with pytest.raises(EvaluationError, match="two classes"), trained([one_class], processes=1) as answers:
        next(answers)


def test_leaving_by_an_error_waits_for_no_training(digits):
    begun = time.monotonic()
    with pytest.raises(KeyError), trained([endless(digits)], processes=1):
        raise KeyError
    assert time.monotonic() - begun < 60 and not multiprocessing.active_children()


def test_a_killed_process_is_an_error_with_a_remedy(digits):
    with pytest.raises(EvaluationError, match="--threads 1"), trained([endless(digits)], processes=1) as answers:
        (child,) = multiprocessing.active_children()
        os.kill(child.pid, signal.SIGKILL)
        next(answers)
