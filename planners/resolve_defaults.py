"""What a plan takes for each value that was not given: one function a value, and the reason in words.

Each function returns what was given, or chooses and writes its reason into `chosen`, which becomes `Plan.defaults`.
Everything here is public: nothing is chosen by looking at a record.

    >>> reasons: dict[str, str] = {}
    >>> dataset_size(PlanRequest(epsilon=1.0), reasons), reasons["dataset_size"]
    (60000, '60000, the size of MNIST and Fashion-MNIST; give --dataset or --dataset-size')
    >>> default_delta(60000), default_delta(1437)
    (1e-06, 1e-05)
    >>> default_batch_size(60000, bands=4), default_batch_size(1437, bands=4)
    (256, 128)
    >>> default_iterations(60000, 256.0, bands=4), default_iterations(1437, 128.0, bands=4)
    (1172, 300)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from accountant.errors import InvalidValue
from accountant.plans.parts import Feedback
from accountant.plans.planned_method import PlannedMethod
from accountant.plans.warm_start import WarmStart
from planners.request import PlanRequest
from planners.solving.cost import EventFamily
from planners.solving.solutions import Target, largest_feedback, largest_rate, least_noise, most_iterations

DATASET_SIZE = 60000
BANDS = 4
FEEDBACK_RATIO = 0.006

_LARGEST_DELTA = 1e-5
_BATCH_SIZE = 256
_PASSES, _FEWEST, _MOST = 5, 300, 2000


def default_delta(dataset_size: int) -> float:
    """min(1e-5, 1/(10 N)), rounded down to one digit."""
    exact = Decimal(1) / (10 * Decimal(dataset_size))
    digit = Decimal(1).scaleb(exact.adjusted())
    return min(_LARGEST_DELTA, float(exact.quantize(digit, rounding=ROUND_FLOOR)))


def default_batch_size(dataset_size: int, *, bands: int) -> int:
    """256, or for small data sets the largest power of two up to a tenth of N that `bands` groups can give."""
    most = min(max(1, dataset_size // 10), max(1, dataset_size // bands))
    return int(min(_BATCH_SIZE, 2 ** math.floor(math.log2(most))))


def default_iterations(dataset_size: int, batch_size: float, *, bands: int, most: int = _MOST) -> int:
    """Five expected passes over the data, at least 300 and at most `most` steps, in whole blocks."""
    steps = min(most, max(_FEWEST, round(_PASSES * dataset_size / batch_size)))
    return -(-steps // bands) * bands


def bands(request: PlanRequest, chosen: dict[str, str]) -> int:
    """b: 1 without banded feedback."""
    if request.feedback is not Feedback.BANDED:
        return 1
    if request.bands is None:
        chosen["bands"] = "4: the best of 1 to 16 for a classifier at ε = 10 and 3 (docs/results/clipping-bias.md)"
        return BANDS
    return request.bands


def dataset(request: PlanRequest) -> str | None:
    """The public name: that of the public facts, where they are stated."""
    return request.dataset if request.public_facts is None else request.public_facts.name


def dataset_size(request: PlanRequest, chosen: dict[str, str]) -> int:
    """N."""
    if request.dataset_size is None:
        chosen["dataset_size"] = "60000, the size of MNIST and Fashion-MNIST; give --dataset or --dataset-size"
        return DATASET_SIZE
    return request.dataset_size


def delta(request: PlanRequest, size: int, chosen: dict[str, str]) -> float:
    """δ, well below 1/N."""
    if request.delta is None:
        chosen["delta"] = "min(1e-5, 1/(10 N)) rounded down to one digit"
        return default_delta(size)
    return request.delta


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """Rate, steps and noise as far as they were given.

    Args:
        sampling_rate: q. iterations: T. noise_multiplier: z. Each None where it is to be chosen or solved for.
    """

    sampling_rate: float | None
    iterations: int | None
    noise_multiplier: float | None

    @classmethod
    def of(cls, request: PlanRequest, size: int) -> Given:
        """What a request gives, its batch size as a rate.

        Args:
            size: N.

        Raises:
            InvalidValue: the batch is larger than the data set.
        """
        rate, batch = request.sampling_rate, request.batch_size
        if batch is not None:
            if batch > size:
                raise InvalidValue(f"Expected batch_size={batch!r} in (0, {size}]; it is the expected batch, qN.")
            rate = batch / size
        return cls(sampling_rate=rate, iterations=request.iterations, noise_multiplier=request.noise_multiplier)


def feedback_ratio(
    request: PlanRequest, given: Given, target: Target, family: EventFamily, chosen: dict[str, str]
) -> float:
    """ρ of the published feedback: given, solved for where noise, rate and steps are all given, or a default.

    Args:
        family: what the run is made of, but for feedback.
    """
    if request.feedback is not Feedback.PAPER:
        return 0.0
    if request.feedback_ratio is not None:
        return request.feedback_ratio
    q, steps, z = given.sampling_rate, given.iterations, given.noise_multiplier
    if q is None or steps is None or z is None:
        chosen["feedback_ratio"] = f"{FEEDBACK_RATIO}: what a certified budget can afford for little more noise"
        return FEEDBACK_RATIO
    chosen["feedback_ratio"] = "solved for: the largest that keeps the budget"
    # C2 is rounded once more.
    return largest_feedback(target, family, sampling_rate=q, iterations=steps, noise_multiplier=z) * (1 - 1e-9)


def warm_start(request: PlanRequest, chosen: dict[str, str]) -> float:
    """Part of ε that a warm start costs by itself; 0 is none.

    Raises:
        InvalidValue: the method trains nothing without one.
    """
    method, fraction = request.method, request.warm_start
    if fraction is None:
        if not method.warm_start:
            return 0.0
        if not method.needs_warm_start and (why := _without_warm_start(request)):
            chosen["warm_start"] = f"none: {why}"
            return 0.0
        begins = f", which {method.name} begins from" if method.needs_warm_start else ""
        chosen["warm_start"] = f"on by default{begins}"
        return method.warm_start
    if method.needs_warm_start and fraction == 0:
        raise InvalidValue(
            f"Method {method.name} begins from a warm start: give --warm-start above 0, or omit it for "
            f"{method.warm_start:g}."
        )
    return fraction


def _without_warm_start(request: PlanRequest) -> str:
    """Why nobody who asks for this expects a warm start; empty where one is planned by default."""
    if request.preset is not None and request.preset == request.method.published:
        return "the published method has none"
    rate = request.batch_size if request.sampling_rate is None else request.sampling_rate
    if None not in (rate, request.iterations, request.noise_multiplier):
        return "rate, steps and noise are given, and verified as they are; --warm-start F adds one"
    return ""


def shares(request: PlanRequest, warm_start: WarmStart | None, chosen: dict[str, str]) -> dict[str, float]:
    """Part → share of the cost, > 0; they sum to 1."""
    method, given = request.method, request.shares
    if given is not None:
        return _normalised(method, given)
    if warm_start is not None and method.warm_shares is not None:
        kept = _in_words(method.warm_shares)
        chosen["shares"] = f"{kept}: {method.warm_reason}" if method.warm_reason else kept
        return {name: share for name, share in method.warm_shares.items() if share}
    one_class = request.public_facts is not None and len(request.public_facts.classes) == 1
    if one_class and method.between_classes:
        dropped = " and ".join(method.between_classes)
        chosen["shares"] = f"the defaults without the {dropped}, which one class teaches nothing"
        return _normalised(method, {n: s for n, s in method.shares.items() if n not in method.between_classes})
    chosen["shares"] = _in_words(method.shares)
    return {name: share for name, share in method.shares.items() if share}


def _normalised(method: PlannedMethod, given: Mapping[str, float]) -> dict[str, float]:
    total = sum(given.values())
    return {name: given[name] / total for name in method.parts if given.get(name)}


def _in_words(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in shares.items())


def clip_norms(request: PlanRequest, bands: int, chosen: dict[str, str]) -> tuple[float, float]:
    """(C1, R) with C1 + R the total: banded feedback divides it by R/C1, b − 1 where that is not given."""
    total, ratio = request.clip_norm, request.residual_ratio
    if bands == 1:
        return total, 0.0
    if ratio is None:
        chosen["residual_ratio"] = f"R/C1 = {bands - 1}: of all that sum to {total:g}, the least noise"
        return total / bands, total * (bands - 1) / bands
    return total / (1 + ratio), total * ratio / (1 + ratio)


def rate_steps_and_noise(
    given: Given, target: Target, family: EventFamily, size: int, chosen: dict[str, str], *, most: int | None = None
) -> tuple[float, int, float]:
    """(q, T, z): two given or chosen, the third solved for; all three where they are given.

    Args:
        size: N. most: steps that are chosen, or None for those of every method.
    """
    q, steps, z = given.sampling_rate, given.iterations, given.noise_multiplier
    if q is None and (z is None or steps is None):
        batch = default_batch_size(size, bands=family.bands)
        q = batch / size
        chosen["sampling_rate"] = f"expected batch {batch}: 256, or a power of two up to N/10"
    if q is not None and steps is None and z is None:
        most = _MOST if most is None else most
        steps = default_iterations(size, q * size, bands=family.bands, most=most)
        after = " after a warm start" if most < _MOST else ""
        chosen["iterations"] = f"five expected passes, {_FEWEST} to {most} steps{after}, in whole blocks"
    if q is None and steps is not None and z is not None:
        chosen["sampling_rate"] = "solved for: the largest that keeps the budget"
        q = largest_rate(target, family, noise_multiplier=z, iterations=steps)
    elif q is not None and steps is None and z is not None:
        chosen["iterations"] = "solved for: the most that keep the budget"
        steps = most_iterations(target, family, sampling_rate=q, noise_multiplier=z)
    elif q is not None and steps is not None and z is None:
        chosen["noise_multiplier"] = "solved for: the least that keeps the budget"
        # The parts' noise is rounded once more; a billionth on top keeps the promise through it.
        z = least_noise(target, family, sampling_rate=q, iterations=steps) * (1 + 1e-9)
    assert q is not None and steps is not None and z is not None
    return q, steps, z
