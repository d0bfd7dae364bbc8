"""What an image is compared by: pixels, a LeNet trained on the real training set, or Inception-v3.

Each extractor turns uint8 images into rows of numbers, and some into class probabilities as well. Distances in
different features are not comparable, so each carries a `name` that is printed beside the number.

Nothing is ever downloaded. Inception's weights are a file that is given, or found in torch-fidelity's cache.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from privgen.errors import EvaluationError
from privgen.metrics.classifiers import lenet_layers

EXTRACTORS = ("pixels", "lenet", "inception")
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"
_MOST_PIXELS = 4096
_LENET_BATCH, _LENET_RATE = 128, 2e-3
# A small data set is seen more often.
_LENET_EPOCHS, _LENET_LEAST_STEPS = 5, 500


class Extractor(Protocol):
    """Rows of numbers from images.

    Attributes:
        name: printed beside each number. identity: differs when the rows do; a key for caches.
    """

    name: str
    identity: str

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, d) from (n, H, W, C)."""

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """(n, classes), or None: this extractor knows no classes."""


class Pixels:
    """The pixels themselves in [0, 1], or averages of squares of them where images are large.

    Args:
        square: side of the squares that are averaged; 1 is no averaging. It is part of the name, for distances by
            other squares are not comparable.
    """

    def __init__(self, square: int = 1) -> None:
        self.square = square
        self.name = "pixels" if square == 1 else f"pixels averaged {square}×{square}"
        self.identity = "pixels/1" if square == 1 else f"pixels/1/{square}"

    @classmethod
    def fitting(cls, shape: tuple[int, ...]) -> Pixels:
        """With the smallest squares that leave at most 4096 numbers of an image (H, W, C).

        Raises:
            EvaluationError: no squares of a size that divides the sides do.
        """
        height, width, channels = shape
        for square in range(1, min(height, width) // 4 + 1):
            divides = height % square == 0 and width % square == 0
            if divides and height * width * channels // square**2 <= _MOST_PIXELS:
                return cls(square)
        raise EvaluationError(
            f"Images of {height}×{width} with {channels} channels cannot be averaged to {_MOST_PIXELS} numbers in "
            "squares; give --features inception."
        )

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, H·W·C / square²) from (n, H, W, C).

        Raises:
            EvaluationError: more than 4096 numbers an image, whose covariance would be too large.
        """
        width = int(np.prod(images.shape[1:])) // self.square**2
        if width > _MOST_PIXELS:
            raise EvaluationError(
                f"Expected at most {_MOST_PIXELS} pixels an image, got {width}; give --features inception."
            )
        averaged = _averaged(images, self.square) if self.square > 1 else images
        return averaged.reshape(len(images), width).astype(np.float32) / np.float32(255)

    def probabilities(self, images: NDArray[np.uint8]) -> None:
        """None: pixels know no classes."""


def _averaged(images: NDArray[np.uint8], square: int) -> NDArray[np.float32]:
    n, height, width, channels = images.shape
    squares = images.reshape(n, height // square, square, width // square, square, channels)
    return squares.mean((2, 4), dtype=np.float32)


class LeNet:
    """A LeNet-5 (ReLU, max pooling) trained on real images: 84 features, and class probabilities.

    Its layers, epochs (5, and so many more that there are 500 steps), batch (128) and one-cycle Adam (peak 2e-3) are
    fixed; no epoch is selected.
    """

    name = "lenet"

    def __init__(self, network: nn.Sequential, identity: str, device: torch.device) -> None:
        self.identity = identity
        self._network = network.to(device).eval()
        self._device = device

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, 84) activations before the last layer."""
        return self._run(self._network[:-1], images).numpy()

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(n, classes)."""
        return self._run(self._network, images).double().softmax(1).numpy()

    def state(self) -> dict[str, Tensor]:
        """Weights, for a cache."""
        return {name: tensor.cpu().contiguous() for name, tensor in self._network.state_dict().items()}

    @torch.no_grad()
    def _run(self, network: nn.Module, images: NDArray[np.uint8]) -> Tensor:
        _require_grey_28(images.shape)
        return torch.cat([network(chunk.to(self._device)).float().cpu() for chunk in _batches(images, 1000)])


def lenet_identity(fingerprint: str) -> str:
    """Names the LeNet that these training data give."""
    return f"lenet/1/{fingerprint}"


def train_lenet(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    classes: int,
    fingerprint: str,
    seed: int = 0,
    device: torch.device | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> LeNet:
    """Train it on real images, without privacy.

    Args:
        images: (n, 28, 28, 1) uint8. labels: (n,) from 0. classes: how many, >= 2.
        fingerprint: of these data, for caches. seed: of initialisation and order.
        progress: called with epochs done and planned.

    Raises:
        EvaluationError: images are not grey 28×28.
    """
    _require_grey_28(images.shape)
    device = device or torch.device("cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = lenet_layers((28, 28, 1), classes).to(device)
        optimiser = torch.optim.Adam(network.parameters(), lr=_LENET_RATE)
        batches = -(-len(images) // _LENET_BATCH)
        epochs = max(_LENET_EPOCHS, -(-_LENET_LEAST_STEPS // batches))
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _LENET_RATE, total_steps=epochs * batches)
        for epoch in range(epochs):
            order = torch.randperm(len(images)).numpy()
            for at in range(0, len(images), _LENET_BATCH):
                chosen = order[at : at + _LENET_BATCH]
                outputs = network(_scaled(images[chosen]).to(device))
                loss = functional.cross_entropy(outputs, torch.from_numpy(labels[chosen]).to(device))
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                schedule.step()
            progress(epoch + 1, epochs)
    return LeNet(network, lenet_identity(fingerprint), device)


def restore_lenet(state: dict[str, Tensor], *, fingerprint: str, device: torch.device | None = None) -> LeNet:
    """The LeNet of a `state()`.

    Raises:
        EvaluationError: it is not a LeNet's.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            network = lenet_layers((28, 28, 1), len(state["11.bias"]))
            network.load_state_dict(state)
        except (KeyError, RuntimeError, TypeError) as error:
            raise EvaluationError(f"Expected a LeNet's weights, got others ({error}); remove them.") from error
    return LeNet(network, lenet_identity(fingerprint), device or torch.device("cpu"))


def _require_grey_28(shape: tuple[int, ...]) -> None:
    if shape[1:] != (28, 28, 1):
        raise EvaluationError(
            f"Expected grey 28×28 images for --features lenet, got {shape[1:]}; give pixels or inception."
        )


class Inception:
    """torch-fidelity's Inception-v3 (weights of 2015-12-05): 2048 features, and 1 008 outputs for the IS.

    Args:
        weights: the file; see `find_inception`. device: None is the CPU.

    Raises:
        EvaluationError: torch-fidelity is not installed, or the file is not Inception's weights.
    """

    name = "inception"

    def __init__(self, weights: Path, device: torch.device | None = None) -> None:
        self._device = device or torch.device("cpu")
        self._network = _load_inception(weights).to(self._device)
        self.identity = f"inception/{hashlib.sha256(weights.read_bytes()).hexdigest()}"

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, 2048): the last average pooling, on images resized to 299×299 as TensorFlow 1 did."""
        return self._run(images)[0].numpy()

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(n, 1008): outputs without the last bias, as in the published score."""
        return self._run(images)[1].double().softmax(1).numpy()

    @torch.no_grad()
    def _run(self, images: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        rows = []
        for at in range(0, len(images), 50):
            chunk = torch.tensor(images[at : at + 50]).permute(0, 3, 1, 2)  # (n, C, H, W)
            pooled, outputs = self._network(chunk.expand(-1, 3, -1, -1).to(self._device))
            rows.append((pooled.float().cpu(), outputs.float().cpu()))
        return torch.cat([row[0] for row in rows]), torch.cat([row[1] for row in rows])


def find_inception(given: Path | None) -> Path:
    """Inception's weight file: the one given, or the one in torch-fidelity's cache.

    Raises:
        EvaluationError: there is none; the message names the file and how to give it.
    """
    cached = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    path = given or cached
    if not path.is_file():
        raise EvaluationError(
            f"Inception's weights were not found at {path}, and nothing is downloaded. Get {INCEPTION_FILE} from "
            f"{INCEPTION_URL} and give it by --inception-weights FILE, or put it at {cached}; or compare by other "
            "features: --features lenet (grey 28×28) or pixels."
        )
    return path


def _load_inception(weights: Path) -> Any:
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise EvaluationError(
            "--features inception needs torch-fidelity; install it by: pip install 'privgen[inception]'."
        ) from error
    try:
        # torch-fidelity unpickles whatever the file holds; this refuses everything but tensors before it does.
        torch.load(weights, weights_only=True, map_location="cpu")
        return FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(weights)
        )
    except (OSError, RuntimeError, EOFError, KeyError, AttributeError, TypeError, pickle.UnpicklingError) as error:
        raise EvaluationError(
            f"{weights} does not hold Inception's weights ({' '.join(str(error).split())[:120]}); expected "
            f"{INCEPTION_FILE} from {INCEPTION_URL}."
        ) from error


def _batches(images: NDArray[np.uint8], size: int) -> Iterator[Tensor]:
    for at in range(0, len(images), size):
        yield _scaled(images[at : at + size])


def _scaled(images: NDArray[np.uint8]) -> Tensor:
    """(n, H, W, C) uint8 as (n, C, H, W) in [−1, 1]."""
    return torch.tensor(images).permute(0, 3, 1, 2).float() / 127.5 - 1
