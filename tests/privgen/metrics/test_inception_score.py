"""Inception Score on cases whose answer is known."""

import numpy as np
import pytest
import torch

from privgen.errors import EvaluationError
from privgen.metrics.inception_score import inception_score


def test_one_class_collapse_is_one():
    assert inception_score(np.eye(10)[np.full(500, 3)], classifier="perfect").mean == pytest.approx(1)


def test_perfect_and_balanced_is_the_number_of_classes():
    score = inception_score(np.eye(10)[np.arange(500) % 10], classifier="perfect")
    assert (score.mean, score.std, score.classes) == (pytest.approx(10), pytest.approx(0, abs=1e-9), 10)


def test_always_unsure_is_one():
    assert inception_score(np.full((100, 10), 0.1), classifier="unsure").mean == pytest.approx(1)


def test_two_of_ten_classes_are_two():
    assert inception_score(np.eye(10)[np.arange(500) % 2], classifier="perfect").mean == pytest.approx(2)


def test_images_sorted_by_class_need_a_seed():
    rows = np.eye(10)[np.repeat(np.arange(10), 100)]
    assert inception_score(rows, classifier="perfect").mean == pytest.approx(1)
    assert inception_score(rows, classifier="perfect", seed=0).mean > 9


def test_it_equals_torch_fidelity():
    fidelity = pytest.importorskip("torch_fidelity.metric_isc")
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(1000, 10)) * 3)
    theirs = fidelity.isc_features_to_metric(logits, splits=10, shuffle=False)
    ours = inception_score(logits.softmax(1).numpy(), classifier="random")
    assert ours.mean == pytest.approx(theirs["inception_score_mean"], rel=1e-6)
    assert ours.std == pytest.approx(theirs["inception_score_std"], rel=1e-6)


def test_rows_that_are_no_probabilities_are_refused():
    for rows in (np.ones((20, 3)), np.full((20, 3), np.nan), np.array([[2.0, -1.0]] * 20)):
        with pytest.raises(EvaluationError, match="sum to 1"):
            inception_score(rows, classifier="none")
    with pytest.raises(EvaluationError, match="splits=10"):
        inception_score(np.eye(3), classifier="few")
