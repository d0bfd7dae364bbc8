"""What a plan is made of: the parts that a step releases together, and the phases of its steps.

>>> part = Part(name="critic", clip_norm=3.0, residual_clip_norm=4.0, noise_multiplier=1.0)
>>> part.sensitivity(bands=2), Part.from_json(JsonObject(part.to_json(), "part")) == part
(5.0, True)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TypedDict

from accountant.budget import EpsilonBounds
from accountant.composition.certified import BoundsJson
from accountant.errors import InvalidValue
from accountant.events import require_count, require_noise_multiplier, require_sampling_rate
from accountant.json_reader import JsonObject
from accountant.plans.exact_release import (
    LARGEST_NORM,
    SMALLEST_NORM,
    grid_step_for,
    is_power_of_two,
    noise_on_grid,
)
from accountant.scalars import is_number, keep_plain

# What the steps of a phase release.
GRADIENTS, STATISTICS = "gradients", "statistics"


class PartJson(TypedDict):
    """A part as JSON."""

    name: str
    clip_norm: float
    residual_clip_norm: float
    feedback_clip_norm: float
    noise_multiplier: float
    grid_step: float


class PhaseJson(TypedDict):
    """A phase of gradients as JSON."""

    iterations: int
    sampling_rate: float
    noise_multiplier: float


class VerifiedJson(TypedDict):
    """What the accountants said, as JSON."""

    rdp: float
    prv: BoundsJson | None


class Feedback(Enum):
    """Which error feedback a run uses (docs/privacy.md, theorems 3 and 4)."""

    BANDED = "banded"
    PAPER = "paper"
    NONE = "none"


def _require_norm(value: float, name: str, *, positive: bool) -> None:
    inside = is_number(value) and SMALLEST_NORM <= value <= LARGEST_NORM
    if not inside and (positive or value != 0):
        allowed = f"in [{SMALLEST_NORM:g}, {LARGEST_NORM:g}]" + ("" if positive else ", or 0")
        raise InvalidValue(f"Expected {name}={value!r} to be {allowed}; outside it squares leave floating point.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One of the noised sums that a step releases together.

    Args:
        name: "critic", "classifier", "reconstruction" or another short name.
        clip_norm: C1, L2 bound on one record's gradient, > 0.
        residual_clip_norm: R, L2 bound on one record's clipped-away part over all steps (`banded`), >= 0.
        feedback_clip_norm: C2, L2 bound on the fed-back error, on the scale of the mean (`paper`), >= 0.
        noise_multiplier: z_k, noise std ÷ this part's sensitivity, > 0.
        grid_step: h, the unit in which sums are released: a power of two, at most C1/1000; None for about C1 · 2⁻²⁰.
    """

    name: str
    clip_norm: float
    residual_clip_norm: float = 0.0
    feedback_clip_norm: float = 0.0
    noise_multiplier: float
    grid_step: float | None = None

    def __post_init__(self) -> None:
        keep_plain(self)
        if not (isinstance(self.name, str) and self.name.isidentifier()):
            raise InvalidValue(f"Expected part name={self.name!r} to be a short word such as critic.")
        _require_norm(self.clip_norm, f"{self.name}.clip_norm", positive=True)
        _require_norm(self.residual_clip_norm, f"{self.name}.residual_clip_norm", positive=False)
        _require_norm(self.feedback_clip_norm, f"{self.name}.feedback_clip_norm", positive=False)
        require_noise_multiplier(self.noise_multiplier, f"{self.name}.noise_multiplier")
        if self.grid_step is None:
            object.__setattr__(self, "grid_step", grid_step_for(self.clip_norm))
        if not (is_power_of_two(self.step) and self.step <= self.clip_norm / 1000):
            raise InvalidValue(
                f"Expected {self.name}.grid_step={self.grid_step!r} to be a power of two, at most a thousandth of "
                f"clip_norm={self.clip_norm!r}; leave it out for {grid_step_for(self.clip_norm)!r}."
            )

    @property
    def step(self) -> float:
        """h, the grid step."""
        assert self.grid_step is not None  # __post_init__ has seen to it
        return self.grid_step

    def noise_on_grid(self, bands: int) -> float:
        """σ/h, the noise's standard deviation in grid steps: at least z_k · Δ_k / h, rounded up."""
        return noise_on_grid(
            noise_multiplier=self.noise_multiplier,
            clip_norm=self.clip_norm,
            residual_clip_norm=self.residual_clip_norm,
            bands=bands,
            grid_step=self.step,
        )

    def sensitivity(self, bands: int) -> float:
        """Δ = sqrt(C1² + R²/K) with K = bands − 1, and C1 at one band (docs/privacy.md, theorem 3), in sum scale.

        Guarantees: what one draw of a record adds to all releases of a block has an L2 norm of at most Δ.
        """
        require_count(bands, "bands", least=1)
        if bands == 1:
            return self.clip_norm
        return math.hypot(self.clip_norm, self.residual_clip_norm / math.sqrt(bands - 1))

    def to_json(self) -> PartJson:
        """A JSON object; `from_json` is its inverse."""
        return {
            "name": self.name,
            "clip_norm": self.clip_norm,
            "residual_clip_norm": self.residual_clip_norm,
            "feedback_clip_norm": self.feedback_clip_norm,
            "noise_multiplier": self.noise_multiplier,
            "grid_step": self.step,
        }

    @classmethod
    def from_json(cls, read: JsonObject) -> Part:
        """The part that `to_json` wrote; one of before the grid gets the step that new ones have."""
        read.require_fields(PartJson.__annotations__.keys() - {"grid_step"}, optional=("grid_step",))
        return cls(
            name=read.text("name"),
            clip_norm=read.number("clip_norm"),
            residual_clip_norm=read.number("residual_clip_norm"),
            feedback_clip_norm=read.number("feedback_clip_norm"),
            noise_multiplier=read.number("noise_multiplier"),
            grid_step=read.number("grid_step") if "grid_step" in read else None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """A stretch of steps with one sampling rate and one noise multiplier; starts a new segment.

    Args:
        iterations: steps, integer >= 1.
        sampling_rate: q, in (0, 1].
        noise_multiplier: joint z, > 0.
        releases: "gradients", fed back as the plan says; or "statistics" of all records, in a warm start.
    """

    iterations: int
    sampling_rate: float
    noise_multiplier: float
    releases: str = GRADIENTS

    def __post_init__(self) -> None:
        keep_plain(self)
        if self.releases not in (GRADIENTS, STATISTICS):
            raise InvalidValue(f"Expected releases={self.releases!r} to be {GRADIENTS} or {STATISTICS}.")
        if self.releases == STATISTICS and self.sampling_rate != 1:
            raise InvalidValue(f"Expected sampling_rate={self.sampling_rate!r} to be 1 where statistics are released.")
        require_count(self.iterations, "iterations", least=1)
        require_sampling_rate(self.sampling_rate)
        require_noise_multiplier(self.noise_multiplier)

    def to_json(self) -> PhaseJson:
        """A JSON object, of a phase of gradients; `from_json` is its inverse."""
        return {
            "iterations": self.iterations,
            "sampling_rate": self.sampling_rate,
            "noise_multiplier": self.noise_multiplier,
        }

    @classmethod
    def from_json(cls, read: JsonObject) -> Phase:
        """The phase that `to_json` wrote."""
        read.require_fields(PhaseJson.__annotations__)
        return cls(
            iterations=read.integer("iterations"),
            sampling_rate=read.number("sampling_rate"),
            noise_multiplier=read.number("noise_multiplier"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """What the accountants said of the plan when it was made; an audit recomputes it and never echoes it."""

    rdp: float
    prv: EpsilonBounds | None = None

    @property
    def epsilon(self) -> float:
        """The smaller of the upper bounds."""
        return self.rdp if self.prv is None else min(self.rdp, self.prv.upper)

    def to_json(self) -> VerifiedJson:
        """A JSON object; `from_json` is its inverse."""
        prv = self.prv
        bounds = None if prv is None else BoundsJson(lower=prv.lower, estimate=prv.estimate, upper=prv.upper)
        return {"rdp": self.rdp, "prv": bounds}

    @classmethod
    def from_json(cls, read: JsonObject) -> Verified:
        """What `to_json` wrote."""
        read.require_fields(VerifiedJson.__annotations__)
        bounds = read.optional_child("prv")
        if bounds is None:
            return cls(rdp=read.number("rdp"))
        bounds.require_fields(BoundsJson.__annotations__)
        prv = EpsilonBounds(bounds.number("lower"), bounds.number("estimate"), bounds.number("upper"))
        return cls(rdp=read.number("rdp"), prv=prv)
