"""All measures of one source of generated images, by one protocol, as one result.

    wanted = Wanted(protocol=PROTOCOLS["privgen-1"], metrics=("gen2real", "fid"), samples=10000)
    found = evaluate(source, load_data("fashion-mnist"), wanted)
    found.result["fid"]["value"]

Everything here reads real images without privacy; `found.result["privacy"]` says so.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from privgen.data import DataSet
from privgen.errors import EvaluationError
from privgen.metrics.cache import Cache
from privgen.metrics.features import Extractor
from privgen.metrics.fid import frechet_distance, gaussian_statistics, kernel_distance
from privgen.metrics.gen2real import Labelled, accuracy
from privgen.metrics.inception_score import inception_score
from privgen.metrics.neighbours import closest_pairs, copying, manifold, nearest
from privgen.metrics.protocols import EvaluationProtocol
from privgen.metrics.reference import Progress, Reference, extract, make_extractor
from privgen.metrics.sources import Made, Source

METRICS = ("gen2real", "real2real", "real2gen", "fid", "kid", "is", "coverage", "copying")
ACCURACIES = METRICS[:3]
SCHEMA = "privgen.evaluation/1"
PRIVACY = "Computed from real images without differential privacy; no ε covers it."
_MOST_NEIGHBOURS = 10_000  # images of each kind in precision, recall, coverage and copying
_GRID = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What to measure.

    Args:
        protocol: by which. metrics: among METRICS, >= 1.
        samples: generated images, or None: the protocol's number. seeds: of accuracies, >= 1.
        classifiers: among cnn, mlp, logreg; none: the protocol's.
        features: pixels, lenet or inception, or None: the protocol's.

    Raises:
        EvaluationError: a metric is unknown, or a number out of range.
    """

    protocol: EvaluationProtocol
    metrics: tuple[str, ...]
    samples: int | None = None
    seeds: int = 1
    classifiers: tuple[str, ...] = ()
    features: str | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.metrics if name not in METRICS]
        if unknown or not self.metrics:
            raise EvaluationError(f"Expected metrics={','.join(self.metrics)!r} among: {', '.join(METRICS)}.")
        if self.seeds < 1 or (self.samples is not None and self.samples < 2):
            raise EvaluationError(f"Expected seeds={self.seeds} >= 1 and samples={self.samples} >= 2.")


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """result: for a JSON file. sample: (n, H, W, C) generated images.

    closest: pairs of a generated and its nearest training image, or None. It shows training images: private.
    """

    result: dict[str, Any]
    sample: NDArray[np.uint8]
    closest: NDArray[np.uint8] | None


def default_metrics(shape: tuple[int, ...]) -> tuple[str, ...]:
    """What is measured unless something is asked for: the IS of other than grey 28×28 images needs Inception."""
    return ("gen2real", "fid", "kid", "is") if shape == (28, 28, 1) else ("gen2real", "fid", "kid")


def evaluate(
    source: Source,
    data: DataSet,
    wanted: Wanted,
    *,
    cache: Cache | None = None,
    inception_weights: Path | None = None,
    device: torch.device | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Evaluation:
    """Measure a source's images against real ones.

    Args:
        source: of generated images. data: real ones; classifiers are tested on its test split, all else is compared
            with its training split. cache: of what depends on real images alone; None keeps nothing.
        inception_weights: a file, or None to look in torch-fidelity's cache. device: None is the CPU.
        progress: called with what is being done, how much of it is done, and how much it is.

    Raises:
        EvaluationError: the images do not fit the data, or something asked for cannot be had.
    """
    wanted.protocol.require(data.name)
    job = _Job(source, data, wanted, cache or Cache(None), inception_weights, device or torch.device("cpu"), progress)
    return job.run()


@dataclass
class _Job:
    """One evaluation; the images of seed 0 and the extractors are made when they are first needed."""

    source: Source
    data: DataSet
    wanted: Wanted
    cache: Cache
    inception_weights: Path | None
    device: torch.device
    progress: Progress

    def run(self) -> Evaluation:
        self._require_fit()
        metrics, found = self.wanted.metrics, {}
        if set(metrics) & set(ACCURACIES):
            found |= self._accuracies()
        measures: dict[str, Callable[[], dict[str, Any]]] = {
            "fid": self._fid,
            "kid": self._kid,
            "is": self._inception_score,
            "coverage": self._coverage,
        }
        found |= {name: measure() for name, measure in measures.items() if name in metrics}
        closest = None
        if "copying" in metrics:
            found["copying"], closest = self._copying()
        return Evaluation(self._about() | found, self.first.images[:_GRID], closest)

    def _require_fit(self) -> None:
        ours, theirs = self.first.images.shape[1:], self.data.train.images.shape[1:]
        if ours != theirs:
            raise EvaluationError(
                f"Expected generated images {theirs} as {self.data.name} has them, got {ours}; name the data set that "
                "they imitate by --dataset, or resize them."
            )
        if self.first.labels is None and {"gen2real", "real2gen"} & set(self.wanted.metrics):
            raise EvaluationError("gen2real and real2gen need labels; add an array labels, or leave them out.")

    def _about(self) -> dict[str, Any]:
        wanted, compared = self.wanted, set(self.wanted.metrics) - {*ACCURACIES, "is"}
        features = self.features if compared else None
        reads = {"gen2real": ["test"], "real2gen": ["train"], "real2real": ["train", "test"]}
        reads["copying"] = ["train", "test"]
        return {
            "schema": SCHEMA,
            "protocol": wanted.protocol.name,
            "deviations": list(wanted.protocol.deviations(samples=self.samples, features=features)),
            "protocol_record": wanted.protocol.to_json(),
            "dataset": self.data.name,
            "samples": self.samples,
            "seeds": wanted.seeds,
            "privacy": PRIVACY,
            "reads": sorted({split for name in wanted.metrics for split in reads.get(name, ["train"])}),
        }

    @cached_property
    def samples(self) -> int:
        return self.source.count(self.wanted.samples or self.wanted.protocol.samples)

    @cached_property
    def features(self) -> str:
        grey_28 = self.data.train.images.shape[1:] == (28, 28, 1)
        return self.wanted.features or self.wanted.protocol.features or ("lenet" if grey_28 else "pixels")

    @cached_property
    def first(self) -> Made:
        return self._made(0)

    def _made(self, seed: int) -> Made:
        return self.source.make(
            self.samples, seed, progress=lambda done, total: self.progress("generated images", done, total)
        )

    def _accuracies(self) -> dict[str, Any]:
        wanted = self.wanted
        scores: dict[str, dict[str, list[float]]] = {name: {} for name in ACCURACIES if name in wanted.metrics}
        for seed in range(wanted.seeds):
            made = self.first if seed == 0 else self._made(seed)
            for classifier in wanted.classifiers or wanted.protocol.classifiers:
                for name, score in self._scores(classifier, seed, made).items():
                    scores[name].setdefault(classifier, []).append(score)
        return {
            name: {classifier: _summary(values) for classifier, values in by_classifier.items()}
            for name, by_classifier in scores.items()
        }

    def _scores(self, classifier: str, seed: int, made: Made) -> dict[str, float]:
        test = (self.data.test.images, self.data.test.labels)
        generated = None if made.labels is None else (made.images, made.labels)
        found, metrics = {}, self.wanted.metrics
        if "gen2real" in metrics and generated:
            (found["gen2real"],) = self._accuracy("gen2real", classifier, seed, generated, test)
        if "real2gen" in metrics and generated:
            tests = (test, generated) if "real2real" in metrics else (generated,)
            both = self._accuracy("real2gen", classifier, seed, self._real(seed), *tests)
            found |= dict(zip(("real2real", "real2gen")[-len(tests) :], both, strict=True))
        elif "real2real" in metrics:
            found["real2real"] = self._real2real(classifier, seed, test)
        return found

    def _accuracy(self, what: str, classifier: str, seed: int, train: Labelled, *tests: Labelled) -> tuple[float, ...]:
        return accuracy(
            self.wanted.protocol.recipe(classifier),
            train,
            *tests,
            seed=seed,
            device=self.device,
            progress=lambda done, total: self.progress(f"{what} {classifier}, seed {seed}", done, total),
        )

    def _real(self, seed: int) -> Labelled:
        """As many real training images as there are generated ones."""
        train = self.data.train
        chosen = np.random.default_rng(seed).permutation(len(train.labels))[: self.samples]
        return train.images[chosen], train.labels[chosen]

    def _real2real(self, classifier: str, seed: int, test: Labelled) -> float:
        digest = hashlib.sha256(test[0].tobytes() + test[1].tobytes()).hexdigest()
        recipe = self.wanted.protocol.recipe(classifier).about
        key = f"real2real/1/{recipe}/{self.samples}/{seed}/{self.data.fingerprint()}/{digest}"

        def make() -> dict[str, NDArray[Any]]:
            return {"accuracy": np.array(self._accuracy("real2real", classifier, seed, self._real(seed), test)[0])}

        return float(self.cache.recall(key, make)["accuracy"])

    def _extractor(self, name: str) -> Extractor:
        return make_extractor(
            name,
            self.data,
            cache=self.cache,
            inception_weights=self.inception_weights,
            device=self.device,
            progress=self.progress,
        )

    @cached_property
    def _reference(self) -> Reference:
        return Reference(self._extractor(self.features), self.data, cache=self.cache, progress=self.progress)

    @cached_property
    def _generated(self) -> NDArray[np.float32]:
        return self._rows(self.first.images, "generated images")

    def _rows(self, images: NDArray[np.uint8], what: str) -> NDArray[np.float32]:
        extractor = self._reference.extractor
        return np.concatenate(list(extract(extractor, images, f"{what} by {extractor.name}", self.progress)))

    def _fid(self) -> dict[str, Any]:
        reference = self._reference.statistics()
        value = frechet_distance(reference, gaussian_statistics([self._generated]))
        return {
            "value": value,
            "features": self._reference.extractor.name,
            "generated": self.samples,
            "real": reference.count,
        }

    def _kid(self) -> dict[str, Any]:
        self.progress("KID", 0, 1)
        found = kernel_distance(self._reference.choice(_MOST_NEIGHBOURS), self._generated)
        self.progress("KID", 1, 1)
        return {"features": self._reference.extractor.name} | dataclasses.asdict(found)

    def _inception_score(self) -> dict[str, Any]:
        grey_28 = self.data.train.images.shape[1:] == (28, 28, 1)
        classifier = self._extractor("lenet" if grey_28 else "inception")
        rows = []
        for at in range(0, self.samples, _GRID):
            rows.append(classifier.probabilities(self.first.images[at : at + _GRID]))
            self.progress("Inception Score", min(at + _GRID, self.samples), self.samples)
        name = f"LeNet trained on {self.data.name}" if grey_28 else "Inception-v3"
        return dataclasses.asdict(inception_score(np.concatenate(rows), classifier=name, seed=0))

    def _coverage(self) -> dict[str, Any]:
        found = manifold(
            self._reference.choice(_MOST_NEIGHBOURS),
            self._generated[:_MOST_NEIGHBOURS],
            progress=lambda done, total: self.progress("precision, recall, coverage", done, total),
        )
        return {"features": self._reference.extractor.name} | dataclasses.asdict(found)

    def _copying(self) -> tuple[dict[str, Any], NDArray[np.uint8]]:
        images, held_out = self.first.images[:_MOST_NEIGHBOURS], self.data.test.images[:_MOST_NEIGHBOURS]
        training = self._reference.features()
        ours, theirs = (
            nearest(rows, training, progress=lambda done, total: self.progress("nearest images", done, total))
            for rows in (self._generated[:_MOST_NEIGHBOURS], self._rows(held_out, "held-out images"))
        )
        found = copying(ours, theirs, images=images, others=held_out, training=self.data.train.images)
        pairs = closest_pairs(ours, images, self.data.train.images)
        return {"features": self._reference.extractor.name} | dataclasses.asdict(found), pairs


def _summary(values: list[float]) -> dict[str, Any]:
    """Mean, and the standard deviation over seeds."""
    return {"mean": float(np.mean(values)), "std": float(np.std(values)), "values": values}
