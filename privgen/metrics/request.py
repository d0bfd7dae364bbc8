"""`EvaluationRequest`: what to measure and by which protocol, checked before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass

from privgen.catalogue import ACCURACIES, METRICS
from privgen.errors import EvaluationError
from privgen.metrics.protocols import EvaluationProtocol


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationRequest:
    """What to measure.

    Args:
        protocol: by which. metrics: among METRICS, >= 1.
        samples: generated images, or None for the protocol's number. seeds: of accuracies, >= 1.
        classifiers: among cnn, mlp and logreg, or () for the protocol's.
        features: pixels, lenet, imagenet or inception, or None for the protocol's.

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

    @property
    def asks_for_accuracies(self) -> bool:
        """Whether a classifier is to be trained."""
        return bool(set(self.metrics) & set(ACCURACIES))

    @property
    def chosen_classifiers(self) -> tuple[str, ...]:
        """The given classifiers, or the protocol's."""
        return self.classifiers or self.protocol.classifiers

    @property
    def trainings(self) -> int:
        """Classifiers to train, counted before the cache is asked; real2real and real2gen are two tests of one."""
        kinds = ("gen2real" in self.metrics) + bool({"real2real", "real2gen"} & set(self.metrics))
        return kinds * self.seeds * len(self.chosen_classifiers)


def possible_metrics(
    shape: tuple[int, ...], *, labelled: bool, inception: bool, several_classes: bool = True
) -> tuple[str, ...]:
    """Everything that can be measured.

    Args:
        shape: of an image (H, W, C). labelled: whether the classes of the generated images are known.
        inception: whether Inception's weights will be used; the IS needs them unless images are grey 28×28.
        several_classes: whether the training images are of two classes or more: with one class a classifier is
            always right, which means nothing.
    """
    left_out = set() if labelled else {name for name, metric in METRICS.items() if metric.needs_labels}
    if not several_classes:
        left_out |= set(ACCURACIES)
    if not inception and not (shape == (28, 28, 1) and several_classes):
        left_out.add("is")
    return tuple(name for name in METRICS if name not in left_out)
