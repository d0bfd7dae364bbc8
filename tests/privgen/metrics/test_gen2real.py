"""gen2real on cases whose answer is known."""

import numpy as np
import pytest

from privgen.errors import EvaluationError
from privgen.metrics.gen2real import CLASSIFIERS, gen2real


def test_real_training_images_reach_a_high_accuracy(digits):
    train, test = digits.train, digits.test
    for name in CLASSIFIERS:
        score = gen2real(train.images, train.labels, test.images, test.labels, classifier=name, epochs=4)
        assert score > 0.85, name


def test_shuffled_labels_are_at_chance(digits):
    train, test = digits.train, digits.test
    labels = np.random.default_rng(0).permutation(train.labels)
    assert gen2real(train.images, labels, test.images, test.labels, classifier="logreg") < 0.3


def test_perfectly_separable_images_are_told_apart():
    labels = np.arange(400) % 2
    images = np.where(labels[:, None, None, None] == 1, 255, 0).astype(np.uint8) * np.ones((1, 28, 28, 1), np.uint8)
    assert gen2real(images, labels, images, labels, epochs=2) == 1.0


def test_the_same_seed_gives_the_same_number(digits):
    train, test = digits.train, digits.test
    one, two = (gen2real(train.images[:300], train.labels[:300], test.images, test.labels, epochs=1) for _ in range(2))
    assert one == two


def test_images_of_another_shape_are_refused(digits):
    with pytest.raises(EvaluationError, match="one shape"):
        gen2real(np.zeros((2, 8, 8, 1), np.uint8), np.zeros(2, np.int64), digits.test.images, digits.test.labels)


def test_an_unknown_classifier_is_refused(digits):
    with pytest.raises(EvaluationError, match="cnn, mlp, logreg"):
        gen2real(digits.train.images, digits.train.labels, digits.test.images, digits.test.labels, classifier="svm")
