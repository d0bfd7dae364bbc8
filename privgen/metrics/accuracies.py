"""Which classifiers an evaluation trains, and their accuracies by metric, classifier and seed.

| metric | trained on | tested on |
|---|---|---|
| gen2real | generated images | real test images |
| real2real | as many real training images | real test images |
| real2gen | the same classifier as real2real's | generated images |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from privgen.data import DataSet
from privgen.metrics.cache import Cache
from privgen.metrics.gen2real import Labelled
from privgen.metrics.request import EvaluationRequest
from privgen.metrics.result import Accuracies, AccuracySummary
from privgen.metrics.sources import LabelledImages
from privgen.metrics.trainings import Training


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AskedAccuracy:
    """A classifier, and the metrics that its tests give.

    Args:
        metrics: one for each test. classifier: cnn, mlp or logreg. training: None if the accuracy is known.
        known: the cached accuracy. key: in the cache, if the accuracy depends on real images alone.
    """

    metrics: tuple[str, ...]
    classifier: str
    training: Training | None = None
    known: float | None = None
    key: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AccuracyPlan:
    """The trainings that a request asks for.

    Args:
        request: what to measure. data: the real images. samples: generated images for each seed.
        generated: makes the images of a seed. cache: of accuracies that depend on real images alone.
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
            yield self._training({"gen2real": test}, classifier, seed, generated)
        if "real2gen" in metrics and generated is not None:
            # One classifier, trained on real images, has two tests.
            tests = {"real2real": test, "real2gen": generated}
            asked = {name: tests[name] for name in tests if name in metrics}
            yield self._training(asked, classifier, seed, self._real(seed))
        elif "real2real" in metrics:
            key = self._key(classifier, seed)
            kept = self.cache.find(key)
            if kept is None:
                yield self._training({"real2real": test}, classifier, seed, self._real(seed), key=key)
            else:
                yield AskedAccuracy(metrics=("real2real",), classifier=classifier, known=float(kept["accuracy"]))

    def _training(
        self, tests: dict[str, Labelled], classifier: str, seed: int, train: Labelled, key: str | None = None
    ) -> AskedAccuracy:
        training = Training(
            what=f"{' and '.join(tests)} {classifier}, seed {seed}",
            recipe=f"{self.request.protocol.recipes}-{classifier}",
            seed=seed,
            train=train,
            tests=tuple(tests.values()),
        )
        return AskedAccuracy(metrics=tuple(tests), classifier=classifier, training=training, key=key)

    def _real(self, seed: int) -> Labelled:
        """As many real training images as there are generated ones."""
        train = self.data.train
        chosen = np.random.default_rng(seed).permutation(len(train.labels))[: self.samples]
        return train.images[chosen], train.labels[chosen]

    def _key(self, classifier: str, seed: int) -> str:
        recipe = self.request.protocol.recipe(classifier).about
        return f"real2real/1/{recipe}/{self.samples}/{seed}/{self.data.train.digest()}/{self.data.test.digest()}"


def summaries(asked: Iterable[AskedAccuracy], answers: Iterator[tuple[float, ...]], cache: Cache) -> Accuracies:
    """The accuracies by metric and classifier, over seeds.

    Args:
        asked: by an `AccuracyPlan`. answers: of their trainings, in that order. cache: keeps real2real.
    """
    values: dict[str, dict[str, list[float]]] = {}
    for one in asked:
        scores = (one.known,) if one.known is not None else next(answers)
        if one.key is not None:
            cache.keep(one.key, {"accuracy": np.array(scores[0])})
        for metric, score in zip(one.metrics, scores, strict=True):
            values.setdefault(metric, {}).setdefault(one.classifier, []).append(score)
    found: Accuracies = {}
    if "gen2real" in values:
        found["gen2real"] = _summaries(values["gen2real"])
    if "real2real" in values:
        found["real2real"] = _summaries(values["real2real"])
    if "real2gen" in values:
        found["real2gen"] = _summaries(values["real2gen"])
    return found


def _summaries(values: dict[str, list[float]]) -> dict[str, AccuracySummary]:
    return {
        classifier: {"mean": float(np.mean(scores)), "std": float(np.std(scores)), "values": scores}
        for classifier, scores in values.items()
    }
