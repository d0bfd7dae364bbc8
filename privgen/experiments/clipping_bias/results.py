"""The result of a trial as it is stored in results.jsonl, and the check of a line of that file."""

# Without deferred annotations: they would hide NotRequired from __required_keys__.
from collections.abc import Mapping
from typing import Literal, NotRequired, TypedDict, TypeVar, cast

Measured = Literal["bias", "cosine", "ratio", "noise", "clipped", "median_norm"]
Scored = Literal["loss", "accuracy"]
AtEnd = Literal["loss", "accuracy", "noise_multiplier", "noise_std", "certified"]
_Rounded = TypeVar("_Rounded", bound=Mapping[str, object])


class Scores(TypedDict):
    """On held-out records: the loss, and the accuracy (%) of classifiers."""

    loss: float
    accuracy: NotRequired[float]


class Deviation(TypedDict):
    """How far one step's mean update is from the true mean gradient; see `privgen.experiments.clipping_bias.probe`."""

    bias: float
    cosine: float
    ratio: float
    noise: float
    clipped: float
    median_norm: NotRequired[float]


class CurvePoint(Scores):
    """Scores after a step."""

    step: int


class Probe(Deviation):
    """A deviation at a step."""

    step: int


class TrialResult(Scores):
    """What a training of the experiment returns: the last scores, and everything measured on the way.

    `noise_std` is of one step's mean update; `certified` the budget's ε at `delta`; `claimed` the published analysis's.
    """

    step: NotRequired[int]
    curve: list[CurvePoint]
    probes: list[Probe]
    noise_multiplier: float
    noise_std: float
    certified: float
    claimed: float | None
    delta: NotRequired[float]
    cpu_seconds: NotRequired[float]


def parsed_result(data: object) -> TrialResult:
    """The result in a line, after checking its fields.

    Raises:
        TypeError, KeyError: it is not a result.
    """
    if not isinstance(data, dict):
        raise TypeError(f"expected a JSON object as result, got {type(data).__name__}")
    if missing := TrialResult.__required_keys__ - set(data):
        raise KeyError(", ".join(sorted(missing)))
    for kind, point in (("curve", CurvePoint), ("probes", Probe)):
        for one in data[kind]:
            if missing := point.__required_keys__ - set(one):
                raise KeyError(f"{kind}: {', '.join(sorted(missing))}")
    return cast(TrialResult, data)


def rounded(values: _Rounded) -> _Rounded:
    """To four digits, which is more than three seeds can resolve.

    >>> rounded({"loss": 0.123456})
    {'loss': 0.1235}
    """
    return cast(_Rounded, {name: float(f"{value:.4g}") for name, value in values.items()})
