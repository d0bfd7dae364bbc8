"""Names that are known before torch is loaded: metrics and which images the networks serve. Each has one registry.

>>> upsamplings(1, 28, 28), upsamplings(3, 64, 64)
(2, 3)
>>> [name for name, metric in METRICS.items() if "test" in metric.reads]
['gen2real', 'real2real', 'copying']
"""

from __future__ import annotations

from dataclasses import dataclass

from privgen.errors import ConfigError

EXPECTED = "1 or 3 channels and equal sides of 28, 32 or 64 (any multiple of 4 from 16 to 32, of 8 from 40 to 128)"


def upsamplings(channels: int, height: int, width: int) -> int | None:
    """How often the generator doubles the height for such images, or None if it cannot make them."""
    doublings = 2 if height <= 32 else 3
    fits = channels in (1, 3) and height == width and 16 <= height <= 128 and height % 2**doublings == 0
    return doublings if fits else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """What is known of a metric before it is measured.

    Args:
        name: by which it is asked for. reads: splits of the real images, train or test or both.
        needs_labels: of the generated images.
        measure: "module:function" of a metric that `register_metric` added; it is called with the generated
            `LabelledImages` and the real `DataSet` and gives numbers by name. None for those of
            `privgen.metrics.evaluation`.
    """

    name: str
    reads: tuple[str, ...] = ("train",)
    needs_labels: bool = False
    measure: str | None = None


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(name="gen2real", reads=("test",), needs_labels=True),
        Metric(name="real2real", reads=("train", "test")),
        Metric(name="real2gen", needs_labels=True),
        Metric(name="fid"),
        Metric(name="kid"),
        Metric(name="is"),
        Metric(name="coverage"),
        Metric(name="copying", reads=("train", "test")),
    )
}
# Of these a classifier is trained.
ACCURACIES = ("gen2real", "real2real", "real2gen")
DEFAULT_METRICS = ("gen2real", "fid", "kid", "is")


def register_metric(metric: Metric) -> None:
    """Have a metric measured by `privgen evaluate --metrics` and `privgen.metrics.evaluation.evaluate`.

    Raises:
        ConfigError: the name is another metric's, or it does not say what measures it.
    """
    if metric.name in METRICS:
        raise ConfigError(f"Expected another name than {metric.name!r}: that metric is known.")
    if metric.measure is None or ":" not in metric.measure:
        raise ConfigError(f"Expected measure={metric.measure!r} to be module:function.")
    METRICS[metric.name] = metric
