"""What a plan takes for each value that was not given: one function a value, and the reason in words.

Each function returns what was given, checked, or chooses and writes its reason into `chosen`, which becomes
`Plan.defaults`.

    >>> reasons: dict[str, str] = {}
    >>> dataset_size(None, reasons), reasons["dataset_size"]
    (60000, '60000, the size of MNIST and Fashion-MNIST; give --dataset or --dataset-size')
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from accountant.errors import InvalidValue
from accountant.events import require_count, require_sampling_rate
from accountant.plans.plan import Feedback
from accountant.plans.warm_start import WarmStart
from planners import defaults
from planners.errors import ContradictoryRequest
from planners.solvers import (
    solve_feedback_ratio,
    solve_iterations,
    solve_noise_multiplier,
    solve_sampling_rate,
)

PARTS = tuple(defaults.SHARES)


def bands(feedback: Feedback, bands: int | None, chosen: dict[str, str]) -> int:
    if feedback is not Feedback.BANDED:
        if bands not in (None, 1):
            raise ContradictoryRequest(f"Bands belong to banded feedback; leave --bands {bands} away.")
        return 1
    if bands is None:
        chosen["bands"] = "4: the best of 1 to 16 for a classifier at ε = 10 and 3 (docs/results/clipping-bias.md)"
        return defaults.BANDS
    require_count(bands, "bands", least=1)
    return bands


def feedback_ratio(
    feedback: Feedback,
    ratio: float | None,
    chosen: dict[str, str],
    *,
    known: Mapping[str, Any],
    solving: Mapping[str, Any],
) -> float:
    """ρ of the published feedback: given, solved for where noise, rate and steps are all given, or a default.

    Args:
        known: sampling_rate, noise_multiplier and iterations, None where not given. solving: what a solver needs too.
    """
    if feedback is not Feedback.PAPER:
        if ratio:
            raise ContradictoryRequest("feedback_ratio belongs to the paper's feedback; use feedback paper.")
        return 0.0
    if ratio is not None:
        return ratio
    if None not in known.values():
        chosen["feedback_ratio"] = "solved for: the largest that keeps the budget"
        # C2 is rounded once more.
        return solve_feedback_ratio(**known, **solving) * (1 - 1e-9)
    chosen["feedback_ratio"] = f"{defaults.FEEDBACK_RATIO}: what a certified budget can afford for little more noise"
    return defaults.FEEDBACK_RATIO


def dataset_size(size: int | None, chosen: dict[str, str]) -> int:
    if size is None:
        chosen["dataset_size"] = "60000, the size of MNIST and Fashion-MNIST; give --dataset or --dataset-size"
        return defaults.DATASET_SIZE
    require_count(size, "dataset_size", least=1)
    return size


def given_rate(rate: float | None, batch: float | None, size: int) -> float | None:
    if rate is not None and batch is not None:
        raise ContradictoryRequest("Give the batch size or the sampling rate, not both.")
    if batch is None:
        if rate is not None:
            require_sampling_rate(rate)
        return rate
    if not (math.isfinite(batch) and 0 < batch <= size):
        raise InvalidValue(f"Expected batch_size={batch!r} in (0, {size}]; it is the expected batch, qN.")
    return batch / size


def shares(
    shares: Mapping[str, float] | None, warm_start: WarmStart | None, chosen: dict[str, str], *, one_class: bool = False
) -> dict[str, float]:
    if shares is None and warm_start is not None:
        chosen["shares"] = "critic 1: a warm start knows the classes, and neither classifier nor encoder adds to it"
        return {"critic": 1.0}
    if shares is None and one_class:
        chosen["shares"] = "the defaults without the classifier, which one class teaches nothing"
        kept = {name: value for name, value in defaults.SHARES.items() if name != "classifier"}
        return {name: value / sum(kept.values()) for name, value in kept.items()}
    if shares is None:
        chosen["shares"] = ", ".join(f"{name} {value:g}" for name, value in defaults.SHARES.items())
        return dict(defaults.SHARES)
    if unknown := sorted(set(shares) - set(PARTS)):
        raise InvalidValue(f"Unknown parts {unknown}; a step can release: {', '.join(PARTS)}.")
    for name, value in shares.items():
        if not (math.isfinite(value) and value >= 0):
            raise InvalidValue(f"Expected share {name}={value!r} to be finite and >= 0.")
    if not (shares.get("critic") or shares.get("reconstruction")):
        raise InvalidValue(
            f"Expected a share > 0 for critic or reconstruction, got {dict(shares)!r}: the generator learns what "
            "images look like from these alone."
        )
    total = sum(shares.values())
    return {name: shares[name] / total for name in PARTS if shares.get(name)}


def clip_norms(
    total: float, feedback: Feedback, bands: int, residual_ratio: float | None, chosen: dict[str, str]
) -> tuple[float, float]:
    """(C1, R) with C1 + R = total: banded feedback divides it by R/C1, b − 1 where that is not given.

    Raises:
        InvalidValue: R/C1 is out of range. ContradictoryRequest: R/C1 without banded feedback of two bands or more.
    """
    if feedback is not Feedback.BANDED or bands == 1:
        if residual_ratio:
            raise ContradictoryRequest(
                f"R/C1 = {residual_ratio:g} needs banded feedback of at least two bands; leave --residual-ratio away."
            )
        return total, 0.0
    if residual_ratio is None:
        chosen["residual_ratio"] = f"R/C1 = {bands - 1}: of all that sum to {total:g}, the least noise"
        return total / bands, total * (bands - 1) / bands
    if not (math.isfinite(residual_ratio) and residual_ratio >= 0):
        raise InvalidValue(f"Expected residual_ratio={residual_ratio!r} to be finite and >= 0 (R/C1).")
    return total / (1 + residual_ratio), total * residual_ratio / (1 + residual_ratio)


def rate_steps_and_noise(
    *,
    sampling_rate: float | None,
    iterations: int | None,
    noise_multiplier: float | None,
    size: int,
    bands: int,
    solving: Mapping[str, Any],
    chosen: dict[str, str],
) -> tuple[float, int, float]:
    """(q, T, z): two given or chosen, the third solved for; all three where they are given.

    Args:
        size: N. bands: b. solving: what the solvers are told besides.
    """
    q, steps, z = sampling_rate, iterations, noise_multiplier
    if q is None and (z is None or steps is None):
        batch = defaults.default_batch_size(size, bands=bands)
        q = batch / size
        chosen["sampling_rate"] = f"expected batch {batch}: 256, or a power of two up to N/10"
    if steps is None and z is None:
        assert q is not None
        steps = defaults.default_iterations(size, q * size, bands=bands)
        chosen["iterations"] = "five expected passes, 300 to 2000 steps, in whole blocks"
    if q is None:
        assert steps is not None and z is not None
        chosen["sampling_rate"] = "solved for: the largest that keeps the budget"
        q = solve_sampling_rate(noise_multiplier=z, iterations=steps, **solving)
    elif steps is None:
        assert z is not None
        chosen["iterations"] = "solved for: the most that keep the budget"
        steps = solve_iterations(sampling_rate=q, noise_multiplier=z, **solving)
    elif z is None:
        chosen["noise_multiplier"] = "solved for: the least that keeps the budget"
        # The parts' noise is rounded once more; a billionth on top keeps the promise through it.
        z = solve_noise_multiplier(sampling_rate=q, iterations=steps, **solving) * (1 + 1e-9)
    assert z is not None
    return q, steps, z
