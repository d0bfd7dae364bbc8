"""Names that are known before torch is loaded: methods and their parts, data sets, metrics, and which images fit.

Each has one registry. What an entry names as "module:function" is imported when it is used.

    >>> upsamplings(1, 28, 28), upsamplings(3, 64, 64)
    (2, 3)
    >>> DATASETS["celeba"].size, DATASETS["celeba"].facts.shape
    (162770, (32, 32, 3))
    >>> METHODS["gan"].planned.parts
    ('critic', 'classifier', 'reconstruction')
    >>> [name for name, metric in METRICS.items() if "test" in metric.reads]
    ['gen2real', 'real2real', 'copying']
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accountant.plans.planned_method import GAN, LIBRARY, PlannedMethod
from accountant.plans.public_facts import PublicFacts
from privgen.errors import ConfigError

if TYPE_CHECKING:
    from privgen.training.method import Method

EXPECTED = "1 or 3 channels and equal sides of 28, 32 or 64 (any multiple of 4 from 16 to 32, of 8 from 40 to 128)"


def upsamplings(channels: int, height: int, width: int) -> int | None:
    """How often the generator doubles the height for such images, or None if it cannot make them."""
    doublings = 2 if height <= 32 else 3
    fits = channels in (1, 3) and height == width and 16 <= height <= 128 and height % 2**doublings == 0
    return doublings if fits else None


def imported(place: str) -> Any:
    """What stands at "module:name": a function, or a value.

    Raises:
        ConfigError: it is not of that form.
    """
    module, colon, function = place.partition(":")
    if not (module and colon and function):
        raise ConfigError(f"Expected {place!r} to be module:function.")
    return getattr(importlib.import_module(module), function)


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """A data set that has a name of its own, and what is publicly known of it.

    Args:
        facts: name, classes and shape. size: N of what is trained on.
        loader: "module:function", called with the name and the folder to look in first (or None); gives a
            `privgen.data.DataSet`, whose records' identities no other record may move.
    """

    facts: PublicFacts
    size: int
    loader: str


_DIGITS = tuple(str(digit) for digit in range(10))
_FASHION = (
    "T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_CELEBA = ("not male", "male")

DATASETS: dict[str, Dataset] = {
    name: Dataset(
        facts=PublicFacts(name=name, classes=classes, shape=shape), size=size, loader=f"privgen.data.{loader}"
    )
    for name, classes, shape, size, loader in (
        ("digits", _DIGITS, (28, 28, 1), 1437, "embedded:digits"),
        ("mnist-5k", _DIGITS, (28, 28, 1), 4000, "embedded:mnist_5k"),
        ("mnist", _DIGITS, (28, 28, 1), 60000, "load:idx_set"),
        ("fashion-mnist", _FASHION, (28, 28, 1), 60000, "load:idx_set"),
        ("celeba", _CELEBA, (32, 32, 3), 162770, "load:celeba_set"),
        ("celeba-resized", _CELEBA, (32, 32, 3), 162770, "load:celeba_set"),
    )
}


def register_dataset(dataset: Dataset) -> None:
    """Have a data set planned for, trained on and evaluated against by its name.

    Raises:
        ConfigError: the name is another's, or it does not say what loads it.
    """
    name = dataset.facts.name
    if name in DATASETS or is_own(name):
        raise ConfigError(f"Expected another name than {name!r}: that data set is known, or is a path.")
    if ":" not in dataset.loader:
        raise ConfigError(f"Expected loader={dataset.loader!r} to be module:function.")
    DATASETS[name] = dataset


# In which forms generated images are written; `privgen.cli.export.data_sets` has what writes each.
DATA_SET_FORMS = ("imagefolder", "npz", "parquet", "webdataset", "hf")

# What a training is logged by; `privgen.training.tracking.trackers` has a class for each.
TRACKERS = ("csv", "tensorboard", "mlflow", "wandb")

# How one's own data are named.
OWN = ("image-folder:PATH", "npz:PATH", "manifest:FILE", "torchvision:NAME")
_KINDS = tuple(form.partition(":")[0] for form in OWN)


def is_own(name: str) -> bool:
    """Whether a name, as `source_name` gives it, is of one's own data."""
    return name.partition(":")[0] in _KINDS and ":" in name


def source_name(name: str) -> str:
    """The name by which a data set is loaded: as it is, or for a path with its kind before it.

    >>> source_name("digits"), source_name("npz:scans.npz")
    ('digits', 'npz:scans.npz')
    """
    if name in DATASETS or is_own(name):
        return name
    path = Path(name).expanduser()
    if path.is_dir():
        return f"image-folder:{name}"
    kinds = {".npz": "npz", ".csv": "manifest", ".parquet": "manifest"}
    return f"{kinds[path.suffix.lower()]}:{name}" if path.suffix.lower() in kinds else name


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


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainableMethod:
    """A method that has a name of its own.

    Args:
        planned: its name and parts, and how they share the cost. summary: for people, a few words.
        presets: sizes of its networks, by name; the method's settings take one as `preset`.
        place: "module:attribute" of its `privgen.training.method.Method`.
    """

    planned: PlannedMethod
    summary: str
    presets: tuple[str, ...] = ()
    place: str


METHODS: dict[str, TrainableMethod] = {
    method.planned.name: method
    for method in (
        TrainableMethod(
            planned=GAN,
            summary="the paper's class-conditional GAN",
            presets=("tiny", "small", "paper"),
            place="privgen.methods.gan.method:METHOD",
        ),
        TrainableMethod(
            planned=PlannedMethod(
                name="diffusion",
                shares={"denoiser": 1.0},
                essential_reason="nothing else is trained",
                warm_start=0.5,
                needs_warm_start=True,
            ),
            summary="a denoiser over the class mixture of a warm start",
            presets=("tiny", "small", "large"),
            place="privgen.methods.diffusion.method:METHOD",
        ),
    )
}


# Rivals and ceilings: planned for by `privgen baseline` alone, found by name wherever a run or a release is loaded.
BASELINE_METHODS: dict[str, str] = {
    "privacy_free": "privgen.methods.privacy_free.method:METHOD",
    "dp_classifier": "privgen.methods.dp_classifier.method:METHOD",
    "gs_wgan": "privgen.methods.gs_wgan.method:METHOD",
    "dp_merf": "privgen.methods.dp_merf.method:METHOD",
}


def register_method(method: TrainableMethod) -> None:
    """Have a method planned for, trained and sampled by its name.

    Raises:
        ConfigError: the name is another method's, or it does not say where it is.
    """
    name = method.planned.name
    if name in (*METHODS, *BASELINE_METHODS) or name == LIBRARY.name:
        raise ConfigError(f"Expected another name than {name!r}: that method is known.")
    if ":" not in method.place:
        raise ConfigError(f"Expected place={method.place!r} to be module:attribute.")
    METHODS[name] = method


def method_named(name: str) -> Method:
    """The method of that name; loads torch, and the method's own modules.

    Raises:
        ConfigError: there is none.
    """
    if name == LIBRARY.name:
        raise ConfigError(
            "The run is of a model of somebody's own, which only its script can build: go on by "
            "privgen.PrivateTraining(..., resume=True)."
        )
    places = {known: method.place for known, method in METHODS.items()} | BASELINE_METHODS
    if name not in places:
        raise ConfigError(f"Unknown method {name!r}; known are: {', '.join(places)}.")
    found: Method = imported(places[name])
    return found
