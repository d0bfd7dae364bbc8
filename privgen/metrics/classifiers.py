"""Classifiers by recipe: how each is built and trained, fixed in advance. No epoch is ever selected.

    classify = RECIPES["privgen-cnn"].train(images, labels, classes=10, seed=0)
    classify(test_images)                                        # (n,) class indices

Each recipe describes itself in words, so that a protocol can state it with its number.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from privgen.data.mapped import Images

Classify = Callable[[Images], NDArray[np.int64]]
BATCH = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkRecipe:
    """A network and its training in batches of 128.

    Args:
        about: a description, in words.
        layers: builds the network from an image's shape (H, W, C) and the number of classes.
        epochs: >= 1. rate: learning rate, > 0.
        schedule: one-cycle: Adam with a one-cycle rate that peaks at `rate`. adam: Adam at `rate`.
            step: SGD with momentum 0.9 and weight decay 1e-4, at a tenth of `rate` after four fifths of the epochs.
        scaled: turns pixels from 0 to 255, as float32, into the network's inputs.
    """

    about: str
    layers: Callable[[tuple[int, ...], int], nn.Module]
    epochs: int
    rate: float
    schedule: Literal["one-cycle", "adam", "step"]
    scaled: Callable[[Tensor], Tensor]

    def train(
        self,
        images: Images,
        labels: NDArray[np.int64],
        *,
        classes: int,
        seed: int,
        epochs: int | None = None,
        device: torch.device | None = None,
        progress: Callable[[int, int], object] = lambda done, total: None,
    ) -> Classify:
        """Train on (n, H, W, C) uint8 images; the caller's random state does not change.

        Args:
            labels: (n,) from 0. seed: of initialisation and order. epochs: None means the recipe's.
            device: None means the CPU. progress: called with the epochs done and planned.
        """
        where = device or torch.device("cpu")
        network = self.trained(
            images, labels, classes=classes, seed=seed, epochs=epochs, device=where, progress=progress
        )
        return lambda others: self._predict(network, others, where)

    def trained(
        self,
        images: Images,
        labels: NDArray[np.int64],
        *,
        classes: int,
        seed: int,
        epochs: int | None = None,
        device: torch.device | None = None,
        progress: Callable[[int, int], object] = lambda done, total: None,
    ) -> nn.Module:
        """The network itself, in evaluation mode; the arguments are those of `train`."""
        device, epochs = device or torch.device("cpu"), epochs or self.epochs
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.layers(images.shape[1:], classes).to(device)
            self._fit(network, images, torch.from_numpy(labels), epochs, device, progress)
        return network

    def _fit(
        self,
        network: nn.Module,
        images: Images,
        labels: Tensor,
        epochs: int,
        device: torch.device,
        progress: Callable[[int, int], object],
    ) -> None:
        optimiser, schedule = self._optimiser(network, epochs, -(-len(images) // BATCH))
        network.train()
        for epoch in range(epochs):
            order = torch.randperm(len(images))
            for at in range(0, len(images), BATCH):
                chosen = order[at : at + BATCH]
                outputs = network(self.inputs(images[chosen.numpy()]).to(device))
                loss = functional.cross_entropy(outputs, labels[chosen].to(device))
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                schedule.step()
            progress(epoch + 1, epochs)
        network.eval()

    def _optimiser(
        self, network: nn.Module, epochs: int, batches: int
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        rates = torch.optim.lr_scheduler
        if self.schedule == "step":
            sgd = torch.optim.SGD(network.parameters(), lr=self.rate, momentum=0.9, weight_decay=1e-4)
            return sgd, rates.MultiStepLR(sgd, [epochs * 4 // 5 * batches], gamma=0.1)
        adam = torch.optim.Adam(network.parameters(), lr=self.rate)
        if self.schedule == "adam":
            return adam, rates.ConstantLR(adam, factor=1.0)
        return adam, rates.OneCycleLR(adam, self.rate, total_steps=epochs * batches)

    @torch.no_grad()
    def _predict(self, network: nn.Module, images: Images, device: torch.device) -> NDArray[np.int64]:
        chunks = (self.inputs(images[at : at + BATCH]) for at in range(0, len(images), BATCH))
        return np.concatenate([network(chunk.to(device)).argmax(1).cpu().numpy() for chunk in chunks])

    def inputs(self, images: NDArray[np.uint8]) -> Tensor:
        """(n, H, W, C) uint8 as the network's inputs, (n, C, H, W)."""
        # A copy: arrays that were read from files may be read-only, and tensors cannot be.
        return self.scaled(torch.tensor(images).permute(0, 3, 1, 2).float())


def standardised(centre: float, spread: float) -> Callable[[Tensor], Tensor]:
    """Pixels in [0, 1] less `centre`, divided by `spread`."""
    return lambda pixels: (pixels / 255 - centre) / spread


def signed(pixels: Tensor) -> Tensor:
    """Pixels in [−1, 1]."""
    return pixels / 127.5 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class ScikitRecipe:
    """A scikit-learn classifier on pixels in [0, 1].

    Args:
        about: a description, in words. make: makes it from a seed.
    """

    about: str
    make: Callable[[int], Any]

    def train(
        self,
        images: Images,
        labels: NDArray[np.int64],
        *,
        classes: int,
        seed: int,
        epochs: int | None = None,
        device: torch.device | None = None,
        progress: Callable[[int, int], object] = lambda done, total: None,
    ) -> Classify:
        """Train on (n, H, W, C) uint8 images; `classes`, `epochs` and `device` have no effect."""
        from sklearn.exceptions import ConvergenceWarning

        model = self.make(seed)
        with warnings.catch_warnings():
            # The protocol fixes the number of iterations, whether or not they converge.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(_rows(images), labels)
        progress(1, 1)
        return lambda others: model.predict(_rows(others)).astype(np.int64)


Recipe = NetworkRecipe | ScikitRecipe


def _rows(images: Images) -> NDArray[np.float64]:
    rows: NDArray[np.float64] = np.asarray(images).reshape(len(images), -1) / 255.0
    return rows


def _two_convolutions(shape: tuple[int, ...], classes: int) -> nn.Module:
    height, width, channels = shape
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * (height // 4) * (width // 4), 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, classes),
    )


def lenet_layers(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """LeNet-5 with ReLU and max pooling, its first convolution padded by 2; 84 units before the last layer."""
    height, width, channels = shape
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * ((height // 2 - 4) // 2) * ((width // 2 - 4) // 2), 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, classes),
    )


def _three_convolutions(shape: tuple[int, ...], classes: int) -> nn.Module:
    height, width, channels = shape
    left = [((side - 2) // 2 - 2) // 2 - 2 for side in (height, width)]
    stages: list[nn.Module] = []
    for before, after in ((channels, 32), (32, 64)):
        stages += [nn.Conv2d(before, after, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(
        *stages,
        nn.Conv2d(64, 128, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128 * left[0] * left[1], 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, classes),
    )


def _hidden_100(shape: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 100), nn.ReLU(), nn.Linear(100, classes))


def _linear(shape: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), classes))


def _mlp(iterations: int) -> Callable[[int], Any]:
    def make(seed: int) -> Any:
        from sklearn.neural_network import MLPClassifier

        return MLPClassifier((100,), max_iter=iterations, random_state=seed)

    return make


def _logreg(iterations: int) -> Callable[[int], Any]:
    def make(seed: int) -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(max_iter=iterations, random_state=seed)

    return make


_ADAM = "50 epochs of Adam 3e-4, batch 128, pixels in [−1, 1]"
RECIPES: dict[str, Recipe] = {
    "privgen-cnn": NetworkRecipe(
        about="convolutions of 32 and 64 channels, 128 hidden, dropout 0.5; "
        "10 epochs of one-cycle Adam 2e-3, batch 128",
        layers=_two_convolutions,
        epochs=10,
        rate=2e-3,
        schedule="one-cycle",
        scaled=standardised(0.5, 0.5),
    ),
    "privgen-mlp": ScikitRecipe(about="scikit-learn MLP(100), 20 iterations", make=_mlp(20)),
    "privgen-logreg": ScikitRecipe(about="scikit-learn logistic regression, 200 iterations", make=_logreg(200)),
    "dpac-cnn": NetworkRecipe(
        about="LeNet-5; 50 epochs of SGD 0.02 (a tenth after 40), momentum 0.9, weight decay 1e-4, batch 128, "
        "pixels less 0.1307 by 0.3081",
        layers=lenet_layers,
        epochs=50,
        rate=0.02,
        schedule="step",
        scaled=standardised(0.1307, 0.3081),
    ),
    "dpac-mlp": ScikitRecipe(about="scikit-learn MLP(100), its defaults (200 iterations)", make=_mlp(200)),
    "dpac-logreg": ScikitRecipe(about="scikit-learn logistic regression, 5000 iterations", make=_logreg(5000)),
    "dpdm-cnn": NetworkRecipe(
        about=f"convolutions of 32, 64 and 128 channels, 128 hidden, dropout 0.5; {_ADAM}",
        layers=_three_convolutions,
        epochs=50,
        rate=3e-4,
        schedule="adam",
        scaled=standardised(0.5, 0.5),
    ),
    "dpdm-mlp": NetworkRecipe(
        about=f"MLP(100); {_ADAM}",
        layers=_hidden_100,
        epochs=50,
        rate=3e-4,
        schedule="adam",
        scaled=standardised(0.5, 0.5),
    ),
    "dpdm-logreg": NetworkRecipe(
        about=f"logistic regression; {_ADAM}",
        layers=_linear,
        epochs=50,
        rate=3e-4,
        schedule="adam",
        scaled=standardised(0.5, 0.5),
    ),
}
# The default features of grey 28×28 images: a classifier of the real training images (`privgen.metrics.lenet`).
FEATURE_LENET = NetworkRecipe(
    about="LeNet-5; 5 epochs of one-cycle Adam 2e-3, or as many as 500 steps take; batch 128",
    layers=lenet_layers,
    epochs=5,
    rate=2e-3,
    schedule="one-cycle",
    scaled=signed,
)
