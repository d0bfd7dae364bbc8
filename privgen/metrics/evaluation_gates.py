"""What gates can ask of an evaluation (`privgen evaluate --require`): names, and what was measured for each.

An accuracy of several classifiers is the interval of their means, so that `>=` asks the worst and `<=` the best of
them; `gen2real@cnn` asks one. `copying` is the probability that a generated image is nearer to a training image than a
held-out one is (0.5 for fresh real images); `identical` is how many equal a training image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from accountant.gates import Interval, Measured
from privgen.catalogue import ACCURACIES, METRICS
from privgen.metrics.result import Measurements

_CLASSIFIERS = ("cnn", "mlp", "logreg")
_SINGLE = ("fid", "kid", "is", "precision", "recall", "density", "coverage", "copying", "identical")


def evaluation_gates() -> dict[str, str]:
    """Name and kind of everything that can be asked; a registered metric's numbers are NAME.KEY."""
    names = [
        *ACCURACIES,
        *(f"{accuracy}@{classifier}" for accuracy in ACCURACIES for classifier in _CLASSIFIERS),
        *_SINGLE,
    ]
    # Which numbers a metric from elsewhere gives is known when it has been measured.
    return dict.fromkeys((*names, *(f"{metric}.*" for metric in METRICS)), "number")


def measured(result: Measurements) -> dict[str, Measured]:
    """The numbers of an evaluation, by the names of `evaluation_gates`."""
    return dict(_measured(result))


def _measured(result: Measurements) -> Iterator[tuple[str, Measured]]:
    found = cast(Mapping[str, Mapping[str, Mapping[str, float]]], result)
    for accuracy in ACCURACIES:
        means = {name: one["mean"] for name, one in found.get(accuracy, {}).items()}
        if means:
            yield accuracy, Interval(low=min(means.values()), high=max(means.values()))
        for name, mean in means.items():
            yield f"{accuracy}@{name}", Interval.exactly(mean)
    for name, field in (("fid", "value"), ("kid", "mean"), ("is", "mean")):
        if name in result:
            yield name, Interval.exactly(cast(Mapping[str, Mapping[str, float]], result)[name][field])
    if "coverage" in result:
        by = result["coverage"]
        for name, value in (
            ("precision", by["precision"]),
            ("recall", by["recall"]),
            ("density", by["density"]),
            ("coverage", by["coverage"]),
        ):
            yield name, Interval.exactly(value)
    if "copying" in result:
        yield "copying", Interval.exactly(result["copying"]["nearer_than_held_out"])
        yield "identical", Interval.exactly(float(result["copying"]["identical"]))
    for metric, numbers in result.get("further", {}).items():
        for key, value in numbers.items():
            yield f"{metric}.{key}".lower(), Interval.exactly(value)
