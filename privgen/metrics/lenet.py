"""A LeNet-5 (ReLU, max pooling) trained on the real training images: 84 features, and class probabilities.

Its training is fixed (`privgen.metrics.classifiers.FEATURE_LENET`): no epoch is selected.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from privgen.data.mapped import Images
from privgen.errors import EvaluationError
from privgen.metrics.classifiers import BATCH, FEATURE_LENET, lenet_layers

# Small data sets get more epochs.
_LEAST_STEPS = 500
_TOGETHER = 1000  # images in one forward pass


class LeNet:
    """A trained LeNet as an extractor."""

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
        chunks = (FEATURE_LENET.inputs(images[at : at + _TOGETHER]) for at in range(0, len(images), _TOGETHER))
        return torch.cat([network(chunk.to(self._device)).float().cpu() for chunk in chunks])


def lenet_identity(fingerprint: str) -> str:
    """The name of the LeNet that is trained on these data."""
    return f"lenet/1/{fingerprint}"


def train_lenet(
    images: Images,
    labels: NDArray[np.int64],
    *,
    classes: int,
    fingerprint: str,
    seed: int = 0,
    device: torch.device | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> LeNet:
    """Train a LeNet on real images, without privacy.

    Args:
        images: (n, 28, 28, 1) uint8. labels: (n,) from 0. classes: how many, >= 2.
        fingerprint: of these data, for caches. seed: of initialisation and order.
        progress: called with the epochs done and planned.

    Raises:
        EvaluationError: the images are not grey 28×28.
    """
    _require_grey_28(images.shape)
    device = device or torch.device("cpu")
    batches = -(-len(images) // BATCH)
    network = FEATURE_LENET.trained(
        images,
        labels,
        classes=classes,
        seed=seed,
        epochs=max(FEATURE_LENET.epochs, -(-_LEAST_STEPS // batches)),
        device=device,
        progress=progress,
    )
    assert isinstance(network, nn.Sequential)
    return LeNet(network, lenet_identity(fingerprint), device)


def restore_lenet(state: dict[str, Tensor], *, fingerprint: str, device: torch.device | None = None) -> LeNet:
    """The LeNet whose `state()` this is.

    Raises:
        EvaluationError: it is not the state of a LeNet.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            network = lenet_layers((28, 28, 1), len(state["11.bias"]))
            network.load_state_dict(state)
        except (KeyError, RuntimeError, TypeError) as error:
            raise EvaluationError(
                f"Expected the weights of a LeNet, got others ({error}); remove the file from the cache."
            ) from error
    return LeNet(network, lenet_identity(fingerprint), device or torch.device("cpu"))


def _require_grey_28(shape: tuple[int, ...]) -> None:
    if shape[1:] != (28, 28, 1):
        raise EvaluationError(
            f"Expected grey 28×28 images for --features lenet, got {shape[1:]}; give imagenet, pixels or inception."
        )
