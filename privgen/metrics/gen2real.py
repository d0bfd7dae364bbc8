"""gen2real: train a classifier on generated images alone, test it on real ones.

    accuracy = share of real test images that are classified right

The classifier, its number of epochs and its learning rates are fixed here: nothing is chosen on the real
test set. The CNN is two convolutions (32 and 64 channels, 3×3, each with 2×2 max pooling), 128 hidden units,
dropout 0.5, trained by Adam with a one-cycle rate; the others are scikit-learn's MLP(100) and logistic
regression on pixels in [0, 1].

Testing on real images reads private data without privacy: the number may not leave the house unless the test
set is public.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from privgen.errors import EvaluationError

CLASSIFIERS = ("cnn", "mlp", "logreg")
_BATCH, _PEAK_RATE = 128, 2e-3


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
    """Accuracy on the test images of a classifier that was trained on `images`.

    Args:
        images, test_images: (n, H, W, C) uint8. labels, test_labels: (n,) from 0.
        classifier: cnn, mlp or logreg. seed: of initialisation and order.
        epochs: of the CNN, >= 1. device: for the CNN; None is the CPU. progress: called after each epoch.

    Returns:
        From 0 to 1.

    Raises:
        EvaluationError: shapes do not fit, or the classifier is unknown.
    """
    if classifier not in CLASSIFIERS:
        raise EvaluationError(f"Expected classifier={classifier!r} to be one of: {', '.join(CLASSIFIERS)}.")
    if images.shape[1:] != test_images.shape[1:] or not len(images) or not len(test_images):
        raise EvaluationError(f"Expected images of one shape, got {images.shape} and {test_images.shape}.")
    if classifier != "cnn":
        return _scikit_learn(classifier, images, labels, test_images, test_labels, seed)
    device = device or torch.device("cpu")
    classes = int(max(labels.max(), test_labels.max())) + 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _cnn(images.shape[3], images.shape[1], classes).to(device)
        _train(network, _pixels(images), torch.from_numpy(labels), epochs, device, progress)
    predicted = predict(network, test_images, device)
    return float((predicted == test_labels).mean())


def train_cnn(
    images: NDArray[np.uint8], labels: NDArray[np.int64], *, classes: int, seed: int, epochs: int, device: torch.device
) -> nn.Module:
    """The CNN, trained; for the other metrics that need one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _cnn(images.shape[3], images.shape[1], classes).to(device)
        _train(network, _pixels(images), torch.from_numpy(labels), epochs, device, lambda epoch: None)
    return network


def _cnn(channels: int, height: int, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * (height // 4) ** 2, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, classes),
    )


def _pixels(images: NDArray[np.uint8]) -> Tensor:
    """(n, H, W, C) uint8 as (n, C, H, W) in [−1, 1]."""
    # Copied: arrays read from files are read-only, which torch cannot say of a tensor.
    return torch.tensor(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def _train(
    network: nn.Module,
    pixels: Tensor,
    labels: Tensor,
    epochs: int,
    device: torch.device,
    progress: Callable[[int], object],
) -> None:
    optimiser = torch.optim.Adam(network.parameters(), lr=_PEAK_RATE)
    batches = -(-len(pixels) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _PEAK_RATE, total_steps=epochs * batches)
    network.train()
    for epoch in range(epochs):
        order = torch.randperm(len(pixels))
        for at in range(0, len(pixels), _BATCH):
            chosen = order[at : at + _BATCH]
            loss = functional.cross_entropy(network(pixels[chosen].to(device)), labels[chosen].to(device))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
        progress(epoch + 1)


@torch.no_grad()
def predict(network: nn.Module, images: NDArray[np.uint8], device: torch.device) -> NDArray[np.int64]:
    """The class of each image by a trained CNN."""
    return probabilities(network, images, device).argmax(1)


@torch.no_grad()
def probabilities(network: nn.Module, images: NDArray[np.uint8], device: torch.device) -> NDArray[np.float64]:
    """(n, classes) class probabilities by a trained CNN."""
    network.eval()
    chunks = (images[at : at + 1000] for at in range(0, len(images), 1000))
    return np.concatenate([network(_pixels(c).to(device)).softmax(1).double().cpu().numpy() for c in chunks])


def _scikit_learn(
    classifier: str,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    test_images: NDArray[np.uint8],
    test_labels: NDArray[np.int64],
    seed: int,
) -> float:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    model = (
        MLPClassifier((100,), max_iter=20, random_state=seed)
        if classifier == "mlp"
        else LogisticRegression(max_iter=200, random_state=seed)
    )
    with warnings.catch_warnings():
        # The number of iterations is part of the protocol, converged or not.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(images.reshape(len(images), -1) / 255.0, labels)
    return float(model.score(test_images.reshape(len(test_images), -1) / 255.0, test_labels))
