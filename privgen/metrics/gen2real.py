"""gen2real: train a classifier on generated images alone, test it on real ones.

    accuracy = share of real test images that are classified correctly

real2real, the same classifier trained on real images, is its ceiling. real2gen, trained on real and tested on
generated images, shows how recognisable they are but not how diverse. All three are `accuracy` with different
arguments. Classifiers are fixed recipes: nothing is chosen by looking at the real test set.

Testing on real images reads private data without privacy: the number must stay private unless the test set is
public.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from privgen.data.mapped import Images
from privgen.errors import EvaluationError
from privgen.metrics.classifiers import RECIPES, Recipe

CLASSIFIERS = ("cnn", "mlp", "logreg")


def gen2real(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    test_images: NDArray[np.uint8],
    test_labels: NDArray[np.int64],
    *,
    classifier: str = "cnn",
    seed: int = 0,
    epochs: int = 10,
    device: torch.device | None = None,
    progress: Callable[[int], object] = lambda epoch: None,
) -> float:
    """Accuracy on the test images, of a classifier of protocol privgen-1 that is trained on `images`.

    Args:
        images, test_images: (n, H, W, C) uint8. labels, test_labels: (n,) from 0.
        classifier: cnn, mlp or logreg. seed: of initialisation and order.
        epochs: of the CNN, >= 1. device: of the CNN; None means the CPU. progress: called after each epoch.

    Returns:
        From 0 to 1.

    Raises:
        EvaluationError: shapes do not fit, or the classifier is unknown.
    """
    if classifier not in CLASSIFIERS:
        raise EvaluationError(f"Expected classifier={classifier!r} to be one of: {', '.join(CLASSIFIERS)}.")
    return accuracy(
        RECIPES[f"privgen-{classifier}"],
        (images, labels),
        (test_images, test_labels),
        seed=seed,
        epochs=epochs,
        device=device,
        progress=lambda done, total: progress(done),
    )[0]


Labelled = tuple[Images, NDArray[np.int64]]


def accuracy(
    recipe: Recipe,
    train: Labelled,
    *tests: Labelled,
    seed: int,
    epochs: int | None = None,
    device: torch.device | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> tuple[float, ...]:
    """The share of each test set that a classifier trained on `train` gets right.

    Args:
        recipe: of the classifier. train, tests: images (n, H, W, C) uint8 and labels (n,) from 0.
        seed: of initialisation and order. epochs: None means the recipe's. progress: called with the epochs done and
            planned.

    Returns:
        Accuracies from 0 to 1, one for each test set.

    Raises:
        EvaluationError: the shapes do not fit, or all training images are of one class.
    """
    images, labels = train
    for others, _ in tests:
        if images.shape[1:] != others.shape[1:] or not len(images) or not len(others):
            raise EvaluationError(
                f"Expected images of one shape, at least one each, got {images.shape} and {others.shape}; "
                "resize the generated images to the real ones' size."
            )
    if len(np.unique(labels)) < 2:
        raise EvaluationError(f"Expected training images of two classes or more, all are of class {labels[0]}.")
    classes = max(int(known.max()) for known in (labels, *(known for _, known in tests))) + 1
    classify = recipe.train(images, labels, classes=classes, seed=seed, epochs=epochs, device=device, progress=progress)
    return tuple(float((classify(others) == known).mean()) for others, known in tests)
