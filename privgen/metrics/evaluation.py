"""All measures of one source of generated images, by one protocol, as one result.

    wanted = Wanted(protocol=PROTOCOLS["privgen-1"], metrics=("gen2real", "fid"), samples=10000)
    found = evaluate(source, load_data("fashion-mnist"), wanted)
    found.result["fid"]["value"]

Everything here reads real images without privacy; `found.result["privacy"]` says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
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
from privgen.metrics.gen2real import Labelled
from privgen.metrics.inception_score import inception_score
from privgen.metrics.neighbours import closest_pairs, copying, manifold, nearest
from privgen.metrics.protocols import EvaluationProtocol
from privgen.metrics.reference import Progress, Reference, extract, has_several_classes, make_extractor
from privgen.metrics.sources import Made, Source
from privgen.metrics.workers import Training, Workers

DEFAULT_METRICS = ("gen2real", "fid", "kid", "is")
METRICS = ("gen2real", "real2real", "real2gen", "fid", "kid", "is", "coverage", "copying")
ACCURACIES = METRICS[:3]
SCHEMA = "privgen.evaluation/1"
PRIVACY = "Computed from real images without differential privacy; no ε covers it."
_MOST_NEIGHBOURS = 10_000  # images of each kind in precision, recall, coverage and copying
_GRID = 100
Scores = list[tuple[str, str, float]]  # metric, classifier, accuracy


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


def possible_metrics(
    shape: tuple[int, ...], *, labelled: bool, inception: bool, several_classes: bool = True
) -> tuple[str, ...]:
    """All that can be measured.

    Args:
        shape: of an image (H, W, C). labelled: the generated images' classes are known.
        inception: Inception's weights are to be used; the IS of other than grey 28×28 images needs them.
        several_classes: the training images are of two classes or more (`has_several_classes`): a classifier of one
            is always right, and tells nothing.
    """
    left_out = set() if labelled else {"gen2real", "real2gen"}
    if not several_classes:
        left_out |= set(ACCURACIES)
    if not inception and not (shape == (28, 28, 1) and several_classes):
        left_out.add("is")
    return tuple(name for name in METRICS if name not in left_out)


def evaluate(
    source: Source,
    data: DataSet,
    wanted: Wanted,
    *,
    cache: Cache | None = None,
    inception_weights: Path | None = None,
    device: torch.device | None = None,
    workers: Workers | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Evaluation:
    """Measure a source's images against real ones.

    Args:
        source: of generated images. data: real ones; classifiers are tested on its test split, all else is compared
            with its training split. cache: of what depends on real images alone; None keeps nothing.
        inception_weights: a file, or None to look in torch-fidelity's cache. device: None is the CPU.
        workers: train the classifiers, while the rest is measured here; None: here as well, one after the other.
        progress: called with what is being done, how much of it is done, and how much it is.

    Raises:
        EvaluationError: the images do not fit the data, or something asked for cannot be had.
    """
    wanted.protocol.require(data.name)
    device = device or torch.device("cpu")
    workers = workers or Workers(0, device=device, progress=progress)
    return _Job(source, data, wanted, cache or Cache(None), inception_weights, device, workers, progress).run()


@dataclass
class _Job:
    """One evaluation; the images of seed 0 and the extractors are made when they are first needed."""

    source: Source
    data: DataSet
    wanted: Wanted
    cache: Cache
    inception_weights: Path | None
    device: torch.device
    workers: Workers
    progress: Progress

    def run(self) -> Evaluation:
        self._require_fit()
        metrics, found = self.wanted.metrics, {}
        answers = self._begin_accuracies()
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
        accuracies = _gathered([answer() for answer in answers])
        return Evaluation(self._about() | accuracies | found, self.first.images[:_GRID], closest)

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
            "deviations": list(
                wanted.protocol.deviations(samples=self.samples, features=features, per_class=self._per_class())
            ),
            "protocol_record": wanted.protocol.to_json(),
            "dataset": self.data.name,
            "samples": self.samples,
            "seeds": wanted.seeds,
            "privacy": PRIVACY,
            "versions": {name: version(name) for name in ("privgen", "torch", "scikit-learn", "numpy", "scipy")},
            "reads": sorted({split for name in wanted.metrics for split in reads.get(name, ["train"])}),
        }

    def _per_class(self) -> tuple[int, int] | None:
        if self.first.labels is None:
            return None
        counts = np.bincount(self.first.labels, minlength=len(self.data.train.class_names))
        return int(counts.min()), int(counts.max())

    @cached_property
    def samples(self) -> int:
        return self.source.count(self.wanted.samples or self.wanted.protocol.samples)

    @cached_property
    def features(self) -> str:
        # A LeNet of one class has learnt to see nothing: it told black images from noise by 0.05.
        lenet = self.data.train.images.shape[1:] == (28, 28, 1) and has_several_classes(self.data)
        return self.wanted.features or self.wanted.protocol.features or ("lenet" if lenet else "pixels")

    @cached_property
    def first(self) -> Made:
        return self._made(0)

    def _made(self, seed: int) -> Made:
        return self.source.make(
            self.samples, seed, progress=lambda done, total: self.progress("generated images", done, total)
        )

    def _begin_accuracies(self) -> list[Callable[[], Scores]]:
        """Begin every training that is asked for; each answer is the accuracies of one."""
        wanted, answers = self.wanted, []
        if set(wanted.metrics) & set(ACCURACIES):
            for seed in range(wanted.seeds):
                made = self.first if seed == 0 else self._made(seed)
                for classifier in wanted.classifiers or wanted.protocol.classifiers:
                    answers += self._begin(classifier, seed, made)
        return answers

    def _begin(self, classifier: str, seed: int, made: Made) -> list[Callable[[], Scores]]:
        metrics, answers = self.wanted.metrics, []
        # A classifier's recipes and the processes that train it take arrays; the held-out fifth fits into memory.
        test = (np.asarray(self.data.test.images), self.data.test.labels)
        generated = None if made.labels is None else (made.images, made.labels)
        if "gen2real" in metrics and generated:
            answers.append(self._training(("gen2real",), classifier, seed, generated, test))
        if "real2gen" in metrics and generated:
            # One classifier, trained on real images, has two tests.
            tests = {"real2real": test, "real2gen": generated}
            names = tuple(name for name in tests if name in metrics)
            answers.append(self._training(names, classifier, seed, self._real(seed), *(tests[name] for name in names)))
        elif "real2real" in metrics:
            answers.append(self._real2real(classifier, seed, test))
        return answers

    def _training(
        self, names: tuple[str, ...], classifier: str, seed: int, train: Labelled, *tests: Labelled
    ) -> Callable[[], Scores]:
        what = f"{' and '.join(names)} {classifier}, seed {seed}"
        recipe = f"{self.wanted.protocol.recipes}-{classifier}"
        answer = self.workers.submit(Training(what=what, recipe=recipe, seed=seed, train=train, tests=tests))
        return lambda: [(name, classifier, score) for name, score in zip(names, answer(), strict=True)]

    def _real(self, seed: int) -> Labelled:
        """As many real training images as there are generated ones."""
        train = self.data.train
        chosen = np.random.default_rng(seed).permutation(len(train.labels))[: self.samples]
        return train.images[chosen], train.labels[chosen]

    def _real2real(self, classifier: str, seed: int, test: Labelled) -> Callable[[], Scores]:
        recipe = self.wanted.protocol.recipe(classifier).about
        key = f"real2real/1/{recipe}/{self.samples}/{seed}/{self.data.train.digest()}/{self.data.test.digest()}"
        kept = self.cache.find(key)
        if kept is not None:
            return lambda: [("real2real", classifier, float(kept["accuracy"]))]
        training = self._training(("real2real",), classifier, seed, self._real(seed), test)

        def answer() -> Scores:
            scores = training()
            self.cache.keep(key, {"accuracy": np.array(scores[0][2])})
            return scores

        return answer

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


def _gathered(answers: list[Scores]) -> dict[str, Any]:
    """By metric and classifier, over seeds."""
    values: dict[str, dict[str, list[float]]] = {}
    for name, classifier, score in (one for scores in answers for one in scores):
        values.setdefault(name, {}).setdefault(classifier, []).append(score)
    return {
        name: {classifier: _summary(scores) for classifier, scores in values[name].items()}
        for name in ACCURACIES
        if name in values
    }


def _summary(values: list[float]) -> dict[str, Any]:
    """Mean, and the standard deviation over seeds."""
    return {"mean": float(np.mean(values)), "std": float(np.std(values)), "values": values}
