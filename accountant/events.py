"""What was released: one event per step, and all that anybody may ask of one.

An event is a frozen value. It names a mechanism by the parameters that its privacy depends on and by nothing else,
goes into the ledger as JSON, and comes back equal. `Event` is what accountants, guard, ledger, planner, audit and
report ask of it; none of them knows its class. One that is defined elsewhere joins by `register_event`.

What one charge costs is the event's dominating pair (docs/privacy.md, lemma 1 and theorems 2, 3, 4 and 8):

| event | adjacency | P | Q |
|---|---|---|---|
| subsampled, a banded block (q is then b·q) | add or remove | (1−q) N(0) + q N(1) | N(0) |
| the same | replace | (1−q) N(0) + q N(1) | (1−q) N(0) + q N(−1) |
| hidden feedback | add or remove | (1−q) N(ρ) + q N(ρ+1) | N(0) |
| hidden feedback | replace | (1−q) N(ρ/2) + q N(ρ/2+1) | P mirrored |

For a group of k records, q N(· + 1) becomes Σ_j Binom(k, q)(j) N(· + j); a banded event of more than one band
is charged k blocks of one record at noise multiplier z/√k instead (theorem 8).

    >>> SubsampledGaussian(sampling_rate=0.01, noise_multiplier=1.0)
    SubsampledGaussian(sampling_rate=0.01, noise_multiplier=1.0)
    >>> event_from_json(event_to_json(_)) == _
    True
    >>> banded = BandedGaussian(sampling_rate=0.01, noise_multiplier=1.0, bands=4)
    >>> banded.per_block, banded.charges(9)
    (SubsampledGaussian(sampling_rate=0.04, noise_multiplier=1.0), 3)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from accountant.budget import Neighbouring
from accountant.errors import InvalidValue
from accountant.event_registry import event_from_json as event_from_json
from accountant.event_registry import event_to_json as event_to_json
from accountant.event_registry import register_event as register_event
from accountant.event_registry import require_event as require_event
from accountant.mixtures import AT_ZERO, MixturePair, drawn
from accountant.scalars import is_integer, is_number, keep_plain, plain


def require_sampling_rate(value: float, name: str = "sampling_rate") -> None:
    """Raise InvalidValue unless 0 < value <= 1."""
    if not (is_number(value) and 0 < value <= 1):
        raise InvalidValue(f"Expected {name}={value!r} in (0, 1]; pass --batch-size no larger than the data set.")


def require_noise_multiplier(value: float, name: str = "noise_multiplier") -> None:
    """Raise InvalidValue unless value is finite and > 0."""
    if not (is_number(value) and math.isfinite(value) and value > 0):
        raise InvalidValue(
            f"Expected {name}={value!r} to be finite and > 0 (noise std ÷ L2 sensitivity); "
            "without noise there is no privacy to account for."
        )


def require_count(value: int, name: str = "count", least: int = 0) -> None:
    """Raise InvalidValue unless value is an integer of at least `least`."""
    if not is_integer(value) or value < least:
        raise InvalidValue(f"Expected {name}={value!r} to be an integer >= {least}.")


class Event(Protocol):
    """What one step released: everything that the rest of the project asks of it.

    An implementation is a frozen dataclass of numbers and text, registered by `register_event`.
    """

    kind: ClassVar[str]
    """Its name in JSON, for good."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def sampling_rate(self) -> float:
        """q, so that the expected batch is qN; in (0, 1]."""

    @property
    def noise_multiplier(self) -> float:
        """z, noise std ÷ L2 sensitivity of what is released, > 0."""

    @property
    def bands(self) -> int:
        """Of how many groups a step draws from one, and after how many steps nothing of a record is owed; 1 for all."""

    @property
    def feedback_ratio(self) -> float | None:
        """ρ = 2·C2·qN/C1 where the published feedback is at work, None where it is not."""

    def charges(self, steps: int, *, group_size: int = 1) -> int:
        """How many times so many steps of one segment are charged the dominating pair.

        Args:
            steps: consecutive ones, from the segment's beginning, >= 0. group_size: k records together, >= 1.
        """

    def dominating_pair(self, neighbouring: Neighbouring, group_size: int = 1) -> MixturePair:
        """The pair of one charge.

        Args:
            neighbouring: adjacency. group_size: k, records that are added, removed or replaced together, >= 1.

        Guarantees: the privacy profile of the charge is at most the pair's, in both directions.
        """

    def claimed(self) -> Event | None:
        """What a published analysis charges in its place, which is no bound; None where nobody claims less."""

    def describe(self) -> str:
        """In a clause, for people: who can enter a step, and what is charged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SubsampledGaussian:
    """One Poisson batch, one joint Gaussian release (docs/privacy.md, theorem 2).

    Args:
        sampling_rate: q, probability that one record is in the batch, in (0, 1].
        noise_multiplier: z, noise std ÷ L2 sensitivity of what is released, > 0.
    """

    kind: ClassVar[str] = "subsampled-gaussian"

    sampling_rate: float
    noise_multiplier: float

    def __post_init__(self) -> None:
        keep_plain(self)
        require_sampling_rate(self.sampling_rate)
        require_noise_multiplier(self.noise_multiplier)

    @property
    def bands(self) -> int:
        """1: nothing is fed back."""
        return 1

    @property
    def feedback_ratio(self) -> None:
        """None: nothing is fed back."""
        return None

    def charges(self, steps: int, *, group_size: int = 1) -> int:
        """Every step once, whatever the group."""
        return steps

    def dominating_pair(self, neighbouring: Neighbouring, group_size: int = 1) -> MixturePair:
        """Theorem 2, and theorem 8 for a group."""
        return _pair(self.sampling_rate, self.noise_multiplier, 0.0, neighbouring, group_size)

    def claimed(self) -> Event | None:
        """None: the published analysis is right."""
        return None

    def describe(self) -> str:
        """DP-SGD."""
        return "each step is a subsampled Gaussian release (DP-SGD)"


@dataclass(frozen=True, kw_only=True, slots=True)
class BandedGaussian:
    """One step of banded error feedback (docs/privacy.md, theorem 3).

    n steps of one segment cost what ceil(n / bands) compositions of the Poisson-subsampled Gaussian at
    sampling rate bands * q cost. bands = 1 is `SubsampledGaussian`.

    Args:
        sampling_rate: q, so that the expected batch is qN; bands * q <= 1.
        noise_multiplier: z = noise std ÷ sqrt(C1² + R²/K), > 0.
        bands: b = K + 1, memory of the feedback plus one, integer >= 1.
    """

    kind: ClassVar[str] = "banded-gaussian"

    sampling_rate: float
    noise_multiplier: float
    bands: int

    def __post_init__(self) -> None:
        keep_plain(self)
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

    @property
    def feedback_ratio(self) -> None:
        """None: what is fed back belongs to the block."""
        return None

    def charges(self, steps: int, *, group_size: int = 1) -> int:
        """ceil(steps / bands) blocks; k times as many for k records, which may sit in k groups (theorem 8)."""
        return -(-steps // self.bands) * self._blocks_of_a_group(group_size)

    def dominating_pair(self, neighbouring: Neighbouring, group_size: int = 1) -> MixturePair:
        """Of one block: theorem 3, and theorem 8 for a group, whose blocks overlap where there are several bands."""
        noise = self.noise_multiplier / math.sqrt(self._blocks_of_a_group(group_size))
        return _pair(self.bands * self.sampling_rate, noise, 0.0, neighbouring, group_size if self.bands == 1 else 1)

    def _blocks_of_a_group(self, group_size: int) -> int:
        require_count(group_size, "group_size", least=1)
        return group_size if self.bands > 1 else 1

    def claimed(self) -> Event | None:
        """None: nobody claims less."""
        return None

    def describe(self) -> str:
        """Whose turn it is, and what a block costs."""
        b = self.bands
        return (
            f"a record can enter one step in {b}, with probability {b * self.sampling_rate:.6g} there, and each block "
            f"of {b} steps is charged once"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class HiddenFeedbackGaussian:
    """One step of the published error feedback, certified (docs/privacy.md, theorem 4).

    Args:
        sampling_rate: q, in (0, 1].
        noise_multiplier: z, noise std in units of C1/(qN), > 0.
        feedback_ratio: rho = 2·C2·qN/C1, what two hidden errors can differ by in the same unit, >= 0.
            0 is `SubsampledGaussian`.
    """

    kind: ClassVar[str] = "hidden-feedback-gaussian"

    sampling_rate: float
    noise_multiplier: float
    feedback_ratio: float

    def __post_init__(self) -> None:
        keep_plain(self)
        require_sampling_rate(self.sampling_rate)
        require_noise_multiplier(self.noise_multiplier)
        ratio = self.feedback_ratio
        if not (is_number(ratio) and math.isfinite(ratio) and ratio >= 0):
            raise InvalidValue(f"Expected feedback_ratio={ratio!r} to be finite and >= 0 (2·C2·qN/C1).")

    @property
    def bands(self) -> int:
        """1: every step draws from all records."""
        return 1

    def charges(self, steps: int, *, group_size: int = 1) -> int:
        """Every step once, whatever the group."""
        return steps

    def dominating_pair(self, neighbouring: Neighbouring, group_size: int = 1) -> MixturePair:
        """Theorem 4, and theorem 8 for a group."""
        return _pair(self.sampling_rate, self.noise_multiplier, self.feedback_ratio, neighbouring, group_size)

    def claimed(self) -> SubsampledGaussian:
        """Noise divided by √(1 + ρ), then a plain subsampled step: as if the sampling amplified what is fed back."""
        amplified = self.noise_multiplier / math.sqrt(1 + self.feedback_ratio)
        return SubsampledGaussian(sampling_rate=self.sampling_rate, noise_multiplier=amplified)

    def describe(self) -> str:
        """What the sampling does not do."""
        return "the fed-back error is not amplified by sampling and is charged in full"


def _pair(rate: float, noise: float, shift: float, neighbouring: Neighbouring, group_size: int) -> MixturePair:
    """What every record feeds back by `shift` at most, and by one more where it is drawn."""
    require_count(group_size, "group_size", least=1)
    replace_one = neighbouring is Neighbouring.REPLACE_ONE
    p = drawn(group_size, rate=rate, shift=shift / 2 if replace_one else shift)
    q = p.mirrored() if replace_one else AT_ZERO
    return MixturePair(p=p, q=q, sigma=noise)


for _own in (SubsampledGaussian, BandedGaussian, HiddenFeedbackGaussian):
    register_event(_own)


def joint_noise_multiplier(*noise_multipliers: float) -> float:
    """The noise multiplier of a tuple released from one draw: 1/z² = Σ 1/z_k².

    Args:
        noise_multipliers: one z_k for each part, each > 0; at least one.

    Returns:
        z, at most the smallest z_k.

    Source: docs/privacy.md, theorem 1.

    Raises:
        InvalidValue: no part, or a value out of range.

    >>> joint_noise_multiplier(2.0, 2.0, 2.0, 2.0)
    1.0
    """
    if not noise_multipliers:
        raise InvalidValue("Expected at least one noise_multiplier; a step without a release costs nothing.")
    for value in noise_multipliers:
        require_noise_multiplier(value)
    noise_multipliers = tuple(plain(value) for value in noise_multipliers)
    smallest = min(noise_multipliers)
    # Scaled by the smallest so that neither tiny nor huge values over- or underflow.
    return smallest / math.sqrt(math.fsum((smallest / value) ** 2 for value in noise_multipliers))
