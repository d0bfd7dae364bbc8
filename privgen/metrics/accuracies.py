"""Which classifiers an evaluation trains, and their accuracies by metric, classifier and seed.

| metric | trained on | tested on |
|---|---|---|
| gen2real | generated images | real test images |
| real2real | as many real training images | real test images |
| real2gen | the same classifier as real2real's | generated images |
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privgen.data import DataSet
from privgen.data.mapped import Images
from privgen.metrics.cache import Cache
from privgen.metrics.gen2real import Labelled
from privgen.metrics.request import EvaluationRequest
from privgen.metrics.result import Accuracies, AccuracySummary
from privgen.metrics.sources import LabelledImages
from privgen.metrics.trainings import Training

_CHUNK = 4096


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AskedAccuracy:
    """A classifier, and the metrics that its tests give.

    Args:
        metrics: one for each test. chance: what a guess without looking gets right in each test.
        classifier: cnn, mlp or logreg. training: None if the accuracies are known. known: those in the cache.
    """

    metrics: tuple[str, ...]
    chance: tuple[float, ...]
    classifier: str
    training: Training | None = None
    known: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AccuracyPlan:
    """The trainings that a request asks for.

    Args:
        request: what to measure. data: the real images. samples: generated images for each seed.
        generated: makes the images of a seed. cache: of accuracies, each kept when its classifier is tested.
    """

    request: EvaluationRequest
    data: DataSet
    samples: int
    generated: Callable[[int], LabelledImages]
    cache: Cache

    def asked(self) -> list[AskedAccuracy]:
        """Ordered by seed, then by classifier."""
        if not self.request.asks_for_accuracies:
            return []
        found: list[AskedAccuracy] = []
        for seed in range(self.request.seeds):
            made = self.generated(seed)
            for classifier in self.request.chosen_classifiers:
                found += self._of(classifier, seed, made)
        return found

    def _of(self, classifier: str, seed: int, made: LabelledImages) -> Iterator[AskedAccuracy]:
        metrics = self.request.metrics
        # Read whole where they are on disk: a process that trains a classifier is sent arrays.
        test: Labelled = (self.data.test.images[:], self.data.test.labels)
        generated = None if made.labels is None else (made.images, made.labels)
        if "gen2real" in metrics and generated is not None:
            yield self._asked({"gen2real": test}, classifier, seed, generated)
        if "real2gen" in metrics and generated is not None:
            # One classifier, trained on real images, has two tests.
            tests = {"real2real": test, "real2gen": generated}
            asked = {name: tests[name] for name in tests if name in metrics}
            yield self._asked(asked, classifier, seed, self._real(seed))
        elif "real2real" in metrics:
            yield self._asked({"real2real": test}, classifier, seed, self._real(seed))

    def _asked(self, tests: dict[str, Labelled], classifier: str, seed: int, train: Labelled) -> AskedAccuracy:
        key = self._key(tests, classifier, seed, train)
        kept = self.cache.find(key)
        training = Training(
            what=f"{' and '.join(tests)} {classifier}, seed {seed}",
            recipe=f"{self.request.protocol.recipes}-{classifier}",
            seed=seed,
            train=train,
            tests=tuple(tests.values()),
            keep=lambda scores: self.cache.keep(key, {"accuracies": np.array(scores)}),
        )
        return AskedAccuracy(
            metrics=tuple(tests),
            chance=tuple(float(np.bincount(known).max() / len(known)) for _, known in tests.values()),
            classifier=classifier,
            training=training if kept is None else None,
            known=None if kept is None else tuple(kept["accuracies"].tolist()),
        )

    def _real(self, seed: int) -> Labelled:
        """As many real training images as there are generated ones."""
        train = self.data.train
        chosen = np.random.default_rng(seed).permutation(len(train.labels))[: self.samples]
        return train.images[chosen], train.labels[chosen]

    def _key(self, tests: dict[str, Labelled], classifier: str, seed: int, train: Labelled) -> str:
        recipe = self.request.protocol.recipe(classifier).about
        images = "/".join(images_digest(*one) for one in (train, *tests.values()))
        return f"accuracy/2/{'+'.join(tests)}/{recipe}/{seed}/{images}"


def images_digest(images: Images, labels: NDArray[np.int64]) -> str:
    """By which a cache tells images with labels from others."""
    digest = hashlib.sha256(repr(images.shape).encode())
    for at in range(0, len(images), _CHUNK):
        digest.update(np.ascontiguousarray(images[at : at + _CHUNK]).data)
    digest.update(np.ascontiguousarray(labels, dtype=np.int64).data)
    return digest.hexdigest()[:32]


def summaries(asked: Iterable[AskedAccuracy], answers: Iterator[tuple[float, ...]]) -> Accuracies:
    """The accuracies by metric and classifier, over seeds.

    Args:
        asked: by an `AccuracyPlan`. answers: of their trainings, in that order.
    """
    values: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for one in asked:
        scores = one.known if one.known is not None else next(answers)
        for metric, score, chance in zip(one.metrics, scores, one.chance, strict=True):
            values.setdefault(metric, {}).setdefault(one.classifier, []).append((score, chance))
    found: Accuracies = {}
    if "gen2real" in values:
        found["gen2real"] = _summaries(values["gen2real"])
    if "real2real" in values:
        found["real2real"] = _summaries(values["real2real"])
    if "real2gen" in values:
        found["real2gen"] = _summaries(values["real2gen"])
    return found


def _summaries(values: dict[str, list[tuple[float, float]]]) -> dict[str, AccuracySummary]:
    found: dict[str, AccuracySummary] = {}
    for classifier, pairs in values.items():
        scores = [score for score, _ in pairs]
        chance = float(np.mean([chance for _, chance in pairs]))
        found[classifier] = {
            "mean": float(np.mean(scores)), "std": float(np.std(scores)), "values": scores, "chance": chance,
        }  # fmt: skip
    return found
