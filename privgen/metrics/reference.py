"""Features of the real training images and their statistics, each computed once and cached."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from privgen.data import DataSet
from privgen.data.mapped import Images
from privgen.errors import EvaluationError
from privgen.metrics.cache import Arrays, Cache
from privgen.metrics.features import EXTRACTORS, Extractor, ImageClassifier, Pixels
from privgen.metrics.fid import GaussianStatistics, gaussian_statistics
from privgen.metrics.imagenet import ImageNet
from privgen.metrics.inception import Inception, find_inception
from privgen.metrics.lenet import LeNet, lenet_identity, restore_lenet, train_lenet
from privgen.metrics.trainings import Progress

_CHUNK = 250


def extract(extractor: Extractor, images: Images, what: str, progress: Progress) -> Iterator[NDArray[np.float32]]:
    """Features in chunks; `progress` is called with `what`, the images done and their total."""
    for at in range(0, len(images), _CHUNK):
        yield extractor.features(images[at : at + _CHUNK])
        progress(what, min(at + _CHUNK, len(images)), len(images))


def has_several_classes(data: DataSet) -> bool:
    """Whether the training images are of two classes or more, as everything that a classifier tells needs."""
    return len(np.unique(data.train.labels)) > 1


def make_extractor(
    name: str,
    data: DataSet,
    *,
    cache: Cache,
    inception_weights: Path | None = None,
    device: torch.device | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Extractor:
    """An extractor by name; a LeNet is trained on the training images unless the cache has it.

    Args:
        name: pixels, lenet, imagenet or inception. data: the real images.
        inception_weights: the file, or None to look in torch-fidelity's cache. device: None is the CPU.

    Raises:
        EvaluationError: unknown, or it is not available for these images; the message says what to do.
    """
    if name == "pixels":
        return Pixels.fitting(data.train.images.shape[1:])
    if name == "imagenet":
        return ImageNet(device)
    if name == "inception":
        return Inception(find_inception(inception_weights), device)
    if name == "lenet":
        return _lenet(data, cache, device, progress)
    raise EvaluationError(f"Expected features={name!r} to be one of: {', '.join(EXTRACTORS)}.")


def make_classifier(
    name: str,
    data: DataSet,
    *,
    cache: Cache,
    inception_weights: Path | None = None,
    device: torch.device | None = None,
    progress: Progress = lambda what, done, total: None,
) -> ImageClassifier:
    """A classifier by name, lenet or inception; arguments and errors as in `make_extractor`."""
    if name == "inception":
        return Inception(find_inception(inception_weights), device)
    return _lenet(data, cache, device, progress)


def _lenet(data: DataSet, cache: Cache, device: torch.device | None, progress: Progress) -> LeNet:
    if not has_several_classes(data):
        raise EvaluationError(
            "Expected training images of two classes or more for a LeNet, which learns to tell them apart; give "
            "--features pixels or inception."
        )
    fingerprint = data.train.digest()

    def train() -> Arrays:
        lenet = train_lenet(
            data.train.images,
            data.train.labels,
            classes=len(data.train.class_names),
            fingerprint=fingerprint,
            device=device,
            progress=lambda done, total: progress("training a LeNet on real images", done, total),
        )
        return {key: tensor.numpy() for key, tensor in lenet.state().items()}

    state = {key: torch.from_numpy(array) for key, array in cache.recall(lenet_identity(fingerprint), train).items()}
    return restore_lenet(state, fingerprint=fingerprint, device=device)


class Reference:
    """The training images in one extractor's features.

    Args:
        extractor: of their features. data: whose training images. cache: where to keep the results.
        progress: called with what is being done, the images done and their total.
    """

    def __init__(
        self,
        extractor: Extractor,
        data: DataSet,
        *,
        cache: Cache,
        progress: Progress = lambda what, done, total: None,
    ) -> None:
        self.extractor = extractor
        self._images = data.train.images
        self._key = f"{extractor.identity}/train/{data.train.digest()}"
        self._cache = cache
        self._progress = progress
        self._features: NDArray[np.float32] | None = None

    def statistics(self) -> GaussianStatistics:
        """Mean and covariance of all training images."""
        stored = self._cache.recall(f"statistics/1/{self._key}", self._make_statistics)
        return GaussianStatistics(count=int(stored["count"]), mean=stored["mean"], covariance=stored["covariance"])

    def features(self) -> NDArray[np.float32]:
        """(N, d) of all training images."""
        if self._features is None:
            if isinstance(self.extractor, Pixels):  # computed as fast as they would be read
                self._features = self.extractor.features(self._images[:])
            else:
                key = f"features/1/{self._key}"
                self._features = self._cache.recall(key, lambda: {"rows": np.concatenate(list(self._run()))})["rows"]
        return self._features

    def choice(self, count: int) -> NDArray[np.float32]:
        """(n, d) of at most `count` training images, always the same ones."""
        chosen = np.sort(np.random.default_rng(0).permutation(len(self._images))[:count])
        if isinstance(self.extractor, Pixels):
            return self.extractor.features(self._images[chosen])
        return self.features()[chosen]

    def _make_statistics(self) -> Arrays:
        # Pixels of a large data set do not fit into memory as features; those of the others do.
        chunks = self._run() if isinstance(self.extractor, Pixels) else [self.features()]
        found = gaussian_statistics(chunks)
        return {"count": np.array(found.count), "mean": found.mean, "covariance": found.covariance}

    def _run(self) -> Iterator[NDArray[np.float32]]:
        return extract(self.extractor, self._images, f"real images by {self.extractor.name}", self._progress)
