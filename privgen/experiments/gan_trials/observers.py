"""What an experiment looks at in a run that training shows nobody, because the data are public.

spread: standard deviation of a pixel within a class of generated images, of 255, mean over pixels and classes
sigma: mean of σ_noise over the generator's blocks
owed: L2 norm of the hidden error of the published feedback, in clip norms C1, of the first part
reconstruction: distances of G(E(x)) to held-out images x: `pixels`, root mean square of 255; `imagenet`, mean L2
    distance of EfficientNet-Lite0's features; beside `other`, that of x to another held-out image of its class
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privgen.data import DataSet
from privgen.errors import EvaluationError
from privgen.mechanism.error_feedback import PublishedError
from privgen.methods.gan.learner import GanLearner
from privgen.metrics.imagenet import ImageNet
from privgen.training.session import Session

_OF_A_CLASS, _HELD_OUT = 20, 200


def within_class_spread(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    """Standard deviation of a pixel within a class, mean over pixels and classes; images (n, H, W, C).

    >>> alike = np.zeros((4, 2, 2, 1), np.uint8); alike[2:] = 90
    >>> within_class_spread(alike, np.array([0, 0, 1, 1])), within_class_spread(alike, np.array([0, 1, 0, 1]))
    (0.0, 45.0)
    """
    each = [images[labels == label].astype(np.float64).std(axis=0).mean() for label in np.unique(labels)]
    return float(np.mean(each))


@torch.no_grad()
def _spread(session: Session) -> float:
    """Of the networks as they are, without their average; latent vectors are always the same."""
    networks = cast("GanLearner", session.state.learner).networks
    stream = torch.Generator().manual_seed(0)
    labels = torch.arange(networks.config.classes).repeat(_OF_A_CLASS)
    z = torch.randn(len(labels), networks.config.latent_dim, generator=stream)
    images = networks.generator(z, labels, stream)
    pixels = _pixels(images)
    return within_class_spread(pixels, labels.numpy())


def _sigma(session: Session) -> float:
    return float(np.mean(cast("GanLearner", session.state.learner).networks.generator.noise_levels()))


def _owed(session: Session) -> float:
    part = session.plan.parts[0]
    owed = session.state.owed.get(part.name)
    if not isinstance(owed, PublishedError):
        return 0.0
    return float(sum(e.double().square().sum() for e in owed.tensors().values()) ** 0.5) / part.clip_norm


# Looked at after every so many steps.
CURVES: dict[str, Callable[[Session], float]] = {"spread": _spread, "sigma": _sigma, "owed": _owed}


@torch.no_grad()
def _reconstruction(session: Session, data: DataSet) -> dict[str, float]:
    networks = cast("GanLearner", session.state.learner).networks
    images, labels = np.asarray(data.test.images[:_HELD_OUT]), data.test.labels[:_HELD_OUT]
    x = torch.tensor(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    y = torch.from_numpy(labels)
    mean, _ = networks.encoder(x, y)
    made = _pixels(networks.generator.decode(mean, y, torch.Generator().manual_seed(0)))
    found = {"reconstruction pixels": _root_mean_square(made, images)}
    found["other pixels"] = _root_mean_square(_others(images, labels), images)
    try:
        network = ImageNet()
    except EvaluationError:  # an extra that is not installed: the pixels are there all the same
        return found
    real = network.features(images)
    found["reconstruction imagenet"] = _distance(network.features(made), real)
    found["other imagenet"] = _distance(network.features(_others(images, labels)), real)
    return found


def _others(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """For each image the next of its class: what a reconstruction that keeps the class alone comes to."""
    others = np.empty_like(images)
    for label in np.unique(labels):
        (rows,) = np.nonzero(labels == label)
        others[rows] = images[np.roll(rows, 1)]
    return others


def _root_mean_square(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.sqrt(np.mean((one.astype(np.float64) - other) ** 2)))


def _distance(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(one - other, axis=1).mean())


def _pixels(images: Tensor) -> NDArray[np.uint8]:
    made: NDArray[np.uint8] = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return made


# Looked at when a run has ended.
AT_END: dict[str, Callable[[Session, DataSet], Mapping[str, float]]] = {"reconstruction": _reconstruction}
