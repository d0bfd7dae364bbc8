"""What an evaluation's result holds, as it stands in its JSON file (`privgen.evaluation/1`)."""

from __future__ import annotations

from typing import NotRequired, TypedDict

SCHEMA = "privgen.evaluation/1"
PRIVACY = "Computed from real images without differential privacy; no ε covers it."


class AccuracySummary(TypedDict):
    """Accuracies in [0, 1] over seeds: their mean, their standard deviation, and each.

    `chance`: the share of the tested images that are of the commonest class, which a guess without looking gets right.
    """

    mean: float
    std: float
    values: list[float]
    chance: float


class Accuracies(TypedDict):
    """Accuracies by classifier; a metric that was not asked for is not there.

    `private_classifier`: of a run that trained nothing else (`privgen baseline dp-classifier`).
    """

    gen2real: NotRequired[dict[str, AccuracySummary]]
    real2real: NotRequired[dict[str, AccuracySummary]]
    real2gen: NotRequired[dict[str, AccuracySummary]]
    private_classifier: NotRequired[dict[str, AccuracySummary]]


class FidResult(TypedDict):
    """A Fréchet distance, by which features, of how many images each.

    held_out: the same of real test images, and how many they were; beside distances whose scale nobody knows.
    """

    value: float
    features: str
    generated: int
    real: int
    held_out: NotRequired[float]
    held_out_images: NotRequired[int]


class KidResult(TypedDict):
    """A kernel distance; see `privgen.metrics.fid.KernelDistance`."""

    features: str
    mean: float
    std: float
    subsets: int
    subset_size: int


class InceptionScoreResult(TypedDict):
    """An Inception Score; see `privgen.metrics.inception_score.InceptionScore`."""

    mean: float
    std: float
    splits: int
    classifier: str
    classes: int


class CoverageResult(TypedDict):
    """Precision, recall, density and coverage; see `privgen.metrics.neighbours.Manifold`."""

    features: str
    precision: float
    recall: float
    density: float
    coverage: float
    k_precision: int
    k_coverage: int
    real: int
    generated: int


class CopyingResult(TypedDict):
    """How near generated images are to training images; see `privgen.metrics.neighbours.Copying`."""

    features: str
    generated_median: float
    held_out_median: float
    nearer_than_held_out: float
    below_first_percent: float
    identical: int
    held_out_identical: int
    generated: int
    held_out: int
    training: int


class ProtocolRecord(TypedDict):
    """Everything that a protocol fixes; see `privgen.metrics.protocols.EvaluationProtocol`."""

    name: str
    samples: int
    labels: str
    classifiers: dict[str, str]
    features: str | None
    inception_score: str
    resize: str
    split: str
    selection: str
    sources: list[str]
    differs: list[str]
    unpublished: list[str]


class PlannedBudget(TypedDict):
    """The plan's (ε, δ); what was spent, an audit says."""

    epsilon: float
    delta: float


# Written as a call, because `is` cannot be the name of a field.
_InceptionScore = TypedDict("_InceptionScore", {"is": NotRequired[InceptionScoreResult]})


class Comparisons(_InceptionScore):
    """Everything but accuracies; a metric that was not asked for is not there.

    `further`: numbers of metrics that were registered from elsewhere.
    """

    fid: NotRequired[FidResult]
    kid: NotRequired[KidResult]
    coverage: NotRequired[CoverageResult]
    copying: NotRequired[CopyingResult]
    further: NotRequired[dict[str, dict[str, float]]]


class Conditions(TypedDict):
    """By which protocol it was measured, and what of the real images was read for it."""

    schema: str
    protocol: str
    deviations: list[str]
    protocol_record: ProtocolRecord
    dataset: str
    samples: int
    seeds: int
    privacy: str
    versions: dict[str, str]
    reads: list[str]


class Measurements(Conditions, Accuracies, Comparisons):
    """What was measured, under its conditions."""


class EvaluationRecord(Measurements):
    """Measurements with whose images they are of: what is written to evaluation.json.

    `private`: it may not leave the house, because the real images were not declared public.
    """

    images: str
    plan: PlannedBudget | None
    private: bool
    test_images: int
