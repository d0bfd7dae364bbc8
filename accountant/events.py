"""What was released: one event per step. What it costs is `accountant.composition.rdp` and
`accountant.composition.prv`.

An event is a frozen value. It names a mechanism by the parameters that its privacy depends on and by
nothing else, goes into the ledger as JSON, and comes back equal.

    >>> SubsampledGaussian(sampling_rate=0.01, noise_multiplier=1.0)
    SubsampledGaussian(sampling_rate=0.01, noise_multiplier=1.0)
    >>> event_from_json(event_to_json(_)) == _
    True
    >>> banded = BandedGaussian(sampling_rate=0.01, noise_multiplier=1.0, bands=4)
    >>> banded.per_block, banded.blocks(9)
    (SubsampledGaussian(sampling_rate=0.04, noise_multiplier=1.0), 3)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from accountant.errors import InvalidValue


def require_sampling_rate(value: float, name: str = "sampling_rate") -> None:
    """Raise InvalidValue unless 0 < value <= 1."""
    if not (isinstance(value, int | float) and 0 < value <= 1):
        raise InvalidValue(f"Expected {name}={value!r} in (0, 1]; pass --batch-size no larger than the data set.")


def require_noise_multiplier(value: float, name: str = "noise_multiplier") -> None:
    """Raise InvalidValue unless value is finite and > 0."""
    if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
        raise InvalidValue(
            f"Expected {name}={value!r} to be finite and > 0 (noise std ÷ L2 sensitivity); "
            "without noise there is no privacy to account for."
        )


def require_count(value: int, name: str = "count", least: int = 0) -> None:
    """Raise InvalidValue unless value is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidValue(f"Expected {name}={value!r} to be an integer >= {least}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class SubsampledGaussian:
    """One Poisson batch, one joint Gaussian release (DESIGN section 3).

    Args:
        sampling_rate: q, probability that one record is in the batch, in (0, 1].
        noise_multiplier: z, noise std ÷ L2 sensitivity of what is released, > 0.
    """

    sampling_rate: float
    noise_multiplier: float

    def __post_init__(self) -> None:
        require_sampling_rate(self.sampling_rate)
        require_noise_multiplier(self.noise_multiplier)


@dataclass(frozen=True, kw_only=True, slots=True)
class BandedGaussian:
    """One step of banded error feedback (DESIGN 3.1, theorem).

    n steps of one segment cost what ceil(n / bands) compositions of the Poisson-subsampled Gaussian at
    sampling rate bands * q cost. bands = 1 is `SubsampledGaussian`.

    Args:
        sampling_rate: q, so that the expected batch is qN; bands * q <= 1.
        noise_multiplier: z = noise std ÷ sqrt(C1² + R²/K), > 0.
        bands: b = K + 1, memory of the feedback plus one, integer >= 1.
    """

    sampling_rate: float
    noise_multiplier: float
    bands: int

    def __post_init__(self) -> None:
        require_sampling_rate(self.sampling_rate)
        require_noise_multiplier(self.noise_multiplier)
        require_count(self.bands, "bands", least=1)
        if self.bands * self.sampling_rate > 1:
            raise InvalidValue(
                f"Expected bands * sampling_rate = {self.bands} * {self.sampling_rate!r} <= 1; a step draws "
                f"from one of {self.bands} groups: lower --bands or --batch-size."
            )

    @property
    def per_block(self) -> SubsampledGaussian:
        """What one block of `bands` steps costs: the subsampled Gaussian at rate bands * q."""
        return SubsampledGaussian(sampling_rate=self.bands * self.sampling_rate, noise_multiplier=self.noise_multiplier)

    def blocks(self, steps: int) -> int:
        """ceil(steps / bands): blocks charged for so many steps of one segment."""
        return -(-steps // self.bands)


@dataclass(frozen=True, kw_only=True, slots=True)
class HiddenFeedbackGaussian:
    """One step of the paper's error feedback, certified (DESIGN 3.2).

    Args:
        sampling_rate: q, in (0, 1].
        noise_multiplier: z, noise std in units of C1/(qN), > 0.
        feedback_ratio: rho = 2·C2·qN/C1, what two hidden errors can differ by in the same unit, >= 0.
            0 is `SubsampledGaussian`.
    """

    sampling_rate: float
    noise_multiplier: float
    feedback_ratio: float

    def __post_init__(self) -> None:
        require_sampling_rate(self.sampling_rate)
        require_noise_multiplier(self.noise_multiplier)
        ratio = self.feedback_ratio
        if not (isinstance(ratio, int | float) and math.isfinite(ratio) and ratio >= 0):
            raise InvalidValue(f"Expected feedback_ratio={ratio!r} to be finite and >= 0 (2·C2·qN/C1).")


Event = SubsampledGaussian | BandedGaussian | HiddenFeedbackGaussian

_KINDS: dict[str, type[Event]] = {
    "subsampled-gaussian": SubsampledGaussian,
    "banded-gaussian": BandedGaussian,
    "hidden-feedback-gaussian": HiddenFeedbackGaussian,
}


def event_to_json(event: Event) -> dict[str, Any]:
    """The event as a JSON object with a `kind` and its parameters."""
    kind = next(name for name, cls in _KINDS.items() if type(event) is cls)
    return {"kind": kind} | {f.name: getattr(event, f.name) for f in fields(event)}


def event_from_json(data: Mapping[str, Any]) -> Event:
    """The event that `event_to_json` wrote.

    Raises:
        InvalidValue: unknown kind, missing or additional fields, or a value out of range.
    """
    kind = data.get("kind")
    cls = _KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise InvalidValue(f"Expected event kind={kind!r} to be one of: {', '.join(_KINDS)}.")
    names = {f.name for f in fields(cls)}
    given = set(data) - {"kind"}
    if names != given:
        raise InvalidValue(f"Expected a {kind} event with fields {sorted(names)}, got {sorted(given)}.")
    return cls(**{name: data[name] for name in names})


def joint_noise_multiplier(*noise_multipliers: float) -> float:
    """The noise multiplier of a tuple released from one draw: 1/z² = Σ 1/z_k² (DESIGN section 3).

    Args:
        noise_multipliers: one z_k for each part, each > 0; at least one.

    Returns:
        z, at most the smallest z_k.

    Raises:
        InvalidValue: no part, or a value out of range.

    >>> joint_noise_multiplier(2.0, 2.0, 2.0, 2.0)
    1.0
    """
    if not noise_multipliers:
        raise InvalidValue("Expected at least one noise_multiplier; a step without a release costs nothing.")
    for value in noise_multipliers:
        require_noise_multiplier(value)
    smallest = min(noise_multipliers)
    # Scaled by the smallest so that neither tiny nor huge values over- or underflow.
    return smallest / math.sqrt(math.fsum((smallest / value) ** 2 for value in noise_multipliers))
