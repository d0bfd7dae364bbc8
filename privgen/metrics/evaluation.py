"""All measurements of one source of generated images, by one protocol, as one result.

    request = EvaluationRequest(protocol=PROTOCOLS["privgen-1"], metrics=("gen2real", "fid"), samples=10000)
    found = evaluate(source, load_data("fashion-mnist"), request)
    found.result["fid"]["value"]

Everything here reads real images without privacy; `found.result["privacy"]` says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from privgen.catalogue import ACCURACIES, METRICS, imported
from privgen.data import DataSet
from privgen.errors import EvaluationError
from privgen.metrics.accuracies import AccuracyPlan, images_digest, summaries
from privgen.metrics.cache import Arrays, Cache, as_array, from_array
from privgen.metrics.features import Extractor, ImageClassifier
from privgen.metrics.fid import frechet_distance, gaussian_statistics, kernel_distance
from privgen.metrics.inception_score import inception_score
from privgen.metrics.neighbours import closest_pairs, copying, manifold, nearest
from privgen.metrics.reference import Reference, extract, has_several_classes, make_classifier, make_extractor
from privgen.metrics.request import EvaluationRequest
from privgen.metrics.result import (
    PRIVACY,
    SCHEMA,
    Comparisons,
    Conditions,
    CopyingResult,
    CoverageResult,
    FidResult,
    InceptionScoreResult,
    KidResult,
    Measurements,
)
from privgen.metrics.sources import LabelledImages, Source
from privgen.metrics.trainings import Progress, trained

_MOST_NEIGHBOURS = 10_000  # images of each kind in precision, recall, coverage and copying
_GRID = 100
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """result: for a JSON file. sample: (n, H, W, C) generated images.

    closest: pairs of a generated image and its nearest training image, or None. Private: it shows training images.
    """

    result: Measurements
    sample: NDArray[np.uint8]
    closest: NDArray[np.uint8] | None


def evaluate(
    source: Source,
    data: DataSet,
    request: EvaluationRequest,
    *,
    cache: Cache | None = None,
    inception_weights: Path | None = None,
    device: torch.device | None = None,
    processes: int = 0,
    threads: int = 1,
    progress: Progress = lambda what, done, total: None,
) -> Evaluation:
    """Measure a source's images against real ones.

    Args:
        source: of generated images. data: real ones; classifiers are tested on its test split, and everything else is
            compared with its training split. cache: of what depends on real images alone; None keeps nothing.
        inception_weights: a file, or None to look in torch-fidelity's cache. device: None means the CPU.
        processes: that train classifiers on the CPU while the rest is measured here; with 0, they are trained here
            one after another. threads: of torch in each of these processes.
        progress: called with what is being done, how much of it is done, and its total.

    Raises:
        EvaluationError: the images do not fit the data, or something asked for is not available.
    """
    request.protocol.require(data.name)
    where = device or torch.device("cpu")
    job = _Job(source, data, request, cache or Cache(None), inception_weights, where, progress)
    return job.run(processes=processes, threads=threads)


@dataclass
class _Job:
    """One evaluation; the images of seed 0 and the extractors are made when they are first needed."""

    source: Source
    data: DataSet
    request: EvaluationRequest
    cache: Cache
    inception_weights: Path | None
    device: torch.device
    progress: Progress

    def run(self, *, processes: int, threads: int) -> Evaluation:
        self._require_fit()
        asked = AccuracyPlan(
            request=self.request, data=self.data, samples=self.samples, generated=self._made, cache=self.cache
        ).asked()
        trainings = [one.training for one in asked if one.training is not None]
        count = min(processes, len(trainings))
        with trained(
            trainings, processes=count, threads=threads, device=self.device, progress=self.progress
        ) as answers:
            comparisons, closest = self._compared()
            accuracies = summaries(asked, answers)
        return Evaluation({**self._conditions(), **accuracies, **comparisons}, self.first.images[:_GRID], closest)

    def _compared(self) -> tuple[Comparisons, NDArray[np.uint8] | None]:
        """What is measured in this process, and the closest pairs if copying is measured."""
        metrics, closest = self.request.metrics, None
        found: Comparisons = {}
        if "fid" in metrics:
            found["fid"] = self._recalled("fid", self._fid)
        if "kid" in metrics:
            found["kid"] = self._recalled("kid", self._kid)
        if "is" in metrics:
            found["is"] = self._inception_score()
        if "coverage" in metrics:
            found["coverage"] = self._recalled("coverage", self._coverage)
        if "copying" in metrics:
            kept = self.cache.recall(self._key("copying", self._extractor.identity), self._copying)
            found["copying"], closest = from_array(kept["result"]), kept["closest"]
        further = {name: measure for name in metrics if (measure := METRICS[name].measure) is not None}
        if further:
            found["further"] = {name: self._further(name, measure) for name, measure in further.items()}
        return found, closest

    def _recalled(self, name: str, make: Callable[[], Result], by: str | None = None) -> Result:
        """A measurement, or what is kept of the same one: an interrupted evaluation goes on. `by`: see `_key`."""
        key = self._key(name, by or self._extractor.identity)
        found: Result = from_array(self.cache.recall(key, lambda: {"result": as_array(make())})["result"])
        return found

    def _key(self, name: str, by: str) -> str:
        """Everything that a measurement depends on; `by`: the identity of the features or the classifier."""
        made, data = self._digest, self.data
        versions = "/".join(version(package) for package in ("privgen", "torch", "numpy"))
        return f"{name}/1/{versions}/{by}/{made}/{data.train.digest()}/{data.test.digest()}"

    @cached_property
    def _digest(self) -> str:
        labels = self.first.labels
        return images_digest(self.first.images, np.zeros(0, np.int64) if labels is None else labels)

    def _further(self, name: str, measure: str) -> dict[str, float]:
        """Numbers of a metric that was registered from elsewhere."""
        self.progress(name, 0, 1)
        found = imported(measure)(self.first, self.data)
        self.progress(name, 1, 1)
        return {str(key): float(value) for key, value in found.items()}

    def _require_fit(self) -> None:
        ours, theirs = self.first.images.shape[1:], self.data.train.images.shape[1:]
        if ours != theirs:
            raise EvaluationError(
                f"Expected generated images {theirs} as {self.data.name} has them, got {ours}; name the data set that "
                "they imitate by --dataset, or resize them."
            )
        needing = [name for name in self.request.metrics if METRICS[name].needs_labels]
        if self.first.labels is None and needing:
            raise EvaluationError(
                f"These need labels, and the images have none: {', '.join(needing)}; add an array labels, or omit them."
            )

    def _conditions(self) -> Conditions:
        request, compared = self.request, set(self.request.metrics) - {*ACCURACIES, "is"}
        features = self.features if compared else None
        deviations = request.protocol.deviations(samples=self.samples, features=features, per_class=self._per_class())
        return {
            "schema": SCHEMA,
            "protocol": request.protocol.name,
            "deviations": list(deviations),
            "protocol_record": request.protocol.to_json(),
            "dataset": self.data.name,
            "samples": self.samples,
            "seeds": request.seeds,
            "privacy": PRIVACY,
            "versions": {name: version(name) for name in ("privgen", "torch", "scikit-learn", "numpy", "scipy")},
            "reads": sorted(
                {split for name in request.metrics for split in METRICS[name].reads}
                | ({"test"} if self._beside_held_out else set())
            ),
        }

    def _per_class(self) -> tuple[int, int] | None:
        if self.first.labels is None:
            return None
        counts = np.bincount(self.first.labels, minlength=len(self.data.train.class_names))
        return int(counts.min()), int(counts.max())

    @cached_property
    def samples(self) -> int:
        return self.source.count(self.request.samples or self.request.protocol.enough(len(self.data.train.labels)))

    @property
    def _grey_28(self) -> bool:
        return self.data.train.images.shape[1:] == (28, 28, 1)

    @cached_property
    def features(self) -> str:
        # A LeNet of one class has learnt to see nothing: it told black images from noise by 0.05.
        default = "lenet" if self._grey_28 and has_several_classes(self.data) else "pixels"
        return self.request.features or self.request.protocol.features or default

    @property
    def _beside_held_out(self) -> bool:
        """Whether the distance of as many real test images stands beside that of the generated ones."""
        return "fid" in self.request.metrics and self.features == "imagenet"

    @cached_property
    def first(self) -> LabelledImages:
        return self._make(0)

    def _made(self, seed: int) -> LabelledImages:
        return self.first if seed == 0 else self._make(seed)

    def _make(self, seed: int) -> LabelledImages:
        return self.source.make(
            self.samples, seed, progress=lambda done, total: self.progress("generated images", done, total)
        )

    @cached_property
    def _reference(self) -> Reference:
        extractor = make_extractor(
            self.features,
            self.data,
            cache=self.cache,
            inception_weights=self.inception_weights,
            device=self.device,
            progress=self.progress,
        )
        return Reference(extractor, self.data, cache=self.cache, progress=self.progress)

    @property
    def _extractor(self) -> Extractor:
        return self._reference.extractor

    @cached_property
    def _generated(self) -> NDArray[np.float32]:
        return self._rows(self.first.images, "generated images")

    @cached_property
    def _held_out(self) -> NDArray[np.float32]:
        return self._rows(self.data.test.images[:_MOST_NEIGHBOURS], "held-out images")

    def _rows(self, images: NDArray[np.uint8], what: str) -> NDArray[np.float32]:
        chunks = extract(self._extractor, images, f"{what} by {self._extractor.name}", self.progress)
        return np.concatenate(list(chunks))

    def _fid(self) -> FidResult:
        reference = self._reference.statistics()
        found: FidResult = {
            "value": frechet_distance(reference, gaussian_statistics([self._generated])),
            "features": self._extractor.name,
            "generated": self.samples,
            "real": reference.count,
        }
        if self._beside_held_out:
            rows = self._held_out[: self.samples]
            found["held_out"] = frechet_distance(reference, gaussian_statistics([rows]))
            found["held_out_images"] = len(rows)
        return found

    def _kid(self) -> KidResult:
        self.progress("KID", 0, 1)
        found = kernel_distance(self._reference.choice(_MOST_NEIGHBOURS), self._generated)
        self.progress("KID", 1, 1)
        return {
            "features": self._extractor.name,
            "mean": found.mean,
            "std": found.std,
            "subsets": found.subsets,
            "subset_size": found.subset_size,
        }

    def _classifier(self) -> tuple[ImageClassifier, str]:
        """The classifier whose probabilities the Inception Score uses, and its name."""
        kind, name = ("lenet", f"LeNet trained on {self.data.name}") if self._grey_28 else ("inception", "Inception-v3")
        classifier = make_classifier(
            kind,
            self.data,
            cache=self.cache,
            inception_weights=self.inception_weights,
            device=self.device,
            progress=self.progress,
        )
        return classifier, name

    def _inception_score(self) -> InceptionScoreResult:
        classifier, name = self._classifier()
        return self._recalled("is", lambda: self._scored(classifier, name), by=classifier.identity)

    def _scored(self, classifier: ImageClassifier, name: str) -> InceptionScoreResult:
        rows = []
        for at in range(0, self.samples, _GRID):
            rows.append(classifier.probabilities(self.first.images[at : at + _GRID]))
            self.progress("Inception Score", min(at + _GRID, self.samples), self.samples)
        found = inception_score(np.concatenate(rows), classifier=name, seed=0)
        return {
            "mean": found.mean,
            "std": found.std,
            "splits": found.splits,
            "classifier": found.classifier,
            "classes": found.classes,
        }

    def _coverage(self) -> CoverageResult:
        found = manifold(
            self._reference.choice(_MOST_NEIGHBOURS),
            self._generated[:_MOST_NEIGHBOURS],
            progress=lambda done, total: self.progress("precision, recall, coverage", done, total),
        )
        return {
            "features": self._extractor.name,
            "precision": found.precision,
            "recall": found.recall,
            "density": found.density,
            "coverage": found.coverage,
            "k_precision": found.k_precision,
            "k_coverage": found.k_coverage,
            "real": found.real,
            "generated": found.generated,
        }

    def _copying(self) -> Arrays:
        images, held_out = self.first.images[:_MOST_NEIGHBOURS], self.data.test.images[:_MOST_NEIGHBOURS]
        training = self._reference.features()
        ours, theirs = (
            nearest(rows, training, progress=lambda done, total: self.progress("nearest images", done, total))
            for rows in (self._generated[:_MOST_NEIGHBOURS], self._held_out)
        )
        found = copying(ours, theirs, images=images, others=held_out, training=self.data.train.images)
        result: CopyingResult = {
            "features": self._extractor.name,
            "generated_median": found.generated_median,
            "held_out_median": found.held_out_median,
            "nearer_than_held_out": found.nearer_than_held_out,
            "below_first_percent": found.below_first_percent,
            "identical": found.identical,
            "held_out_identical": found.held_out_identical,
            "generated": found.generated,
            "held_out": found.held_out,
            "training": found.training,
        }
        return {"result": as_array(result), "closest": closest_pairs(ours, images, self.data.train.images)}
