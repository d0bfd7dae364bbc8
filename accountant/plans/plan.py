"""`Plan`: everything about a run that its privacy depends on, fixed before the run starts.

Learning rates, network sizes and presets are not here; they are recorded beside it. A plan is a frozen
value, saved as JSON with a schema name, and refuses fields that it does not know.

    >>> plan = Plan(
    ...     epsilon=10.0, delta=1e-5, dataset="digits", dataset_size=1437, feedback=Feedback.BANDED, bands=2,
    ...     sampling_rate=0.1, iterations=100, noise_multiplier=1.0,
    ...     parts=(Part(name="critic", clip_norm=0.5, residual_clip_norm=0.5, noise_multiplier=1.0),))
    >>> plan.events()
    ((BandedGaussian(sampling_rate=0.1, noise_multiplier=1.0, bands=2), 100),)
    >>> Plan.from_json(plan.to_json()) == plan
    True
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

from accountant.budget import Budget, EpsilonBounds, Neighbouring
from accountant.canonical_json import digest, parse_object
from accountant.errors import InvalidValue, PlanError
from accountant.events import (
    BandedGaussian,
    Event,
    HiddenFeedbackGaussian,
    SubsampledGaussian,
    joint_noise_multiplier,
    require_count,
    require_noise_multiplier,
    require_sampling_rate,
)
from accountant.files import write_durably
from accountant.plans.caps import Cap, Caps, steps_of_blocks
from accountant.plans.exact_release import (
    LARGEST_NORM,
    LARGEST_SUM,
    SMALLEST_NORM,
    feedback_ratio_upwards,
    grid_step_for,
    is_power_of_two,
    joint_covers,
    noise_on_grid,
    raised_to_cover,
)
from accountant.plans.warm_start import WarmStart

SCHEMA = "privgen.plan/1"
LARGEST_FILE = 1_000_000
# What the steps of a phase release.
GRADIENTS, STATISTICS = "gradients", "statistics"


class Feedback(Enum):
    """Which error feedback a run uses (DESIGN 3.1 and 3.2)."""

    BANDED = "banded"
    PAPER = "paper"
    NONE = "none"


def _require_norm(value: float, name: str, *, positive: bool) -> None:
    inside = isinstance(value, int | float) and SMALLEST_NORM <= value <= LARGEST_NORM
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
        """Δ = sqrt(C1² + R²/K) with K = bands − 1, and C1 at one band (DESIGN 3.1), in sum scale.

        Guarantees: what one draw of a record adds to all releases of a block has an L2 norm of at most Δ.
        """
        require_count(bands, "bands", least=1)
        if bands == 1:
            return self.clip_norm
        return math.hypot(self.clip_norm, self.residual_clip_norm / math.sqrt(bands - 1))


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
        if self.releases not in (GRADIENTS, STATISTICS):
            raise InvalidValue(f"Expected releases={self.releases!r} to be {GRADIENTS} or {STATISTICS}.")
        if self.releases == STATISTICS and self.sampling_rate != 1:
            raise InvalidValue(f"Expected sampling_rate={self.sampling_rate!r} to be 1 where statistics are released.")
        require_count(self.iterations, "iterations", least=1)
        require_sampling_rate(self.sampling_rate)
        require_noise_multiplier(self.noise_multiplier)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """What the accountants said of the plan when it was made; an audit recomputes it and never echoes it."""

    rdp: float
    prv: EpsilonBounds | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Everything privacy-relevant about a run. Units and symbols are those of DESIGN section 2.

    Args:
        epsilon: of the promise, > 0. delta: of it, in (0, 1). neighbouring: its adjacency.
        dataset: name of the data set, or None when only its size was given.
        dataset_size: N, treated as public, integer >= 1.
        feedback: which error feedback.
        bands: b; 1 unless feedback is banded.
        sampling_rate: q of the first phase. noise_multiplier: joint z of it. iterations: all steps.
        phases: empty for a homogeneous plan; else at least two, whose first has the values above.
        spare_blocks: blocks of each of its phases that a crash may waste beside those of its steps, charged in ε; >= 0.
        warm_start: statistics that are released before the first of the iterations, or None.
        parts: what a step releases together; their joint noise multiplier is at least `noise_multiplier`.
        accountant: "rdp" or "prv": which bound the plan was solved for and the guard spends.
        verified: what the accountants said when the plan was made.
        defaults: for each value that was not given, how it was chosen.

    Raises:
        InvalidValue: a value is out of range. PlanError: two values contradict each other.
    """

    epsilon: float
    delta: float
    neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE
    dataset: str | None = None
    dataset_size: int
    feedback: Feedback = Feedback.BANDED
    bands: int = 1
    sampling_rate: float
    iterations: int
    phases: tuple[Phase, ...] = ()
    spare_blocks: int = 0
    warm_start: WarmStart | None = None
    noise_multiplier: float
    parts: tuple[Part, ...]
    accountant: str = "rdp"
    verified: Verified | None = None
    defaults: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        Budget(epsilon=self.epsilon, delta=self.delta, neighbouring=self.neighbouring)
        require_count(self.dataset_size, "dataset_size", least=1)
        require_count(self.bands, "bands", least=1)
        require_count(self.spare_blocks, "spare_blocks", least=0)
        Phase(
            iterations=self.iterations,
            sampling_rate=self.sampling_rate,
            noise_multiplier=self.noise_multiplier,
        )
        self._require_consistent_feedback()
        self._require_consistent_phases()
        self._require_consistent_parts()
        if self.accountant not in ("rdp", "prv"):
            raise InvalidValue(f"Expected accountant={self.accountant!r} to be rdp or prv.")
        self.events()

    def _require_consistent_feedback(self) -> None:
        if self.feedback is not Feedback.BANDED and self.bands != 1:
            raise PlanError(f"Expected bands=1 with feedback {self.feedback.value}, got bands={self.bands}.")
        for part in self.parts:
            if part.residual_clip_norm and (self.feedback is not Feedback.BANDED or self.bands == 1):
                raise PlanError(
                    f"Part {part.name} has residual_clip_norm={part.residual_clip_norm}, which only banded "
                    "feedback with at least two bands pays back; set it to 0 or plan with --bands 2."
                )
            if part.feedback_clip_norm and self.feedback is not Feedback.PAPER:
                raise PlanError(f"Part {part.name} has a feedback_clip_norm, which only --feedback paper uses.")

    def _require_consistent_phases(self) -> None:
        if not self.phases:
            return
        if any(phase.releases != GRADIENTS for phase in self.phases):
            raise PlanError("Expected the phases to release gradients; statistics belong to warm_start.")
        first = self.phases[0]
        total = sum(phase.iterations for phase in self.phases)
        given = (self.sampling_rate, self.noise_multiplier, self.iterations)
        if len(self.phases) < 2 or given != (first.sampling_rate, first.noise_multiplier, total):
            raise PlanError(
                f"Expected at least two phases whose first has sampling_rate={self.sampling_rate!r} and "
                f"noise_multiplier={self.noise_multiplier!r} and whose iterations sum to {self.iterations}."
            )

    def _require_consistent_parts(self) -> None:
        names = [part.name for part in self.parts]
        if not names or len(set(names)) != len(names):
            raise PlanError(f"Expected one part or more, each name once, got {names}.")
        if not joint_covers((part.noise_multiplier for part in self.parts), self.noise_multiplier):
            joint = joint_noise_multiplier(*(part.noise_multiplier for part in self.parts))
            raise PlanError(
                f"The parts' joint noise multiplier is {joint!r}, less than the plan's "
                f"{self.noise_multiplier!r}: the run would be charged for more noise than it adds."
            )
        for part in self.parts:
            batch = max(phase.sampling_rate for phase in self.schedule()) * self.dataset_size
            longest = max(part.clip_norm, part.residual_clip_norm) * self.dataset_size
            if max(longest, part.feedback_clip_norm * batch) >= LARGEST_SUM * part.step:
                raise PlanError(
                    f"Part {part.name}: sums over {self.dataset_size} records in steps of {part.step!r} may pass 2^52, "
                    "where they are no longer exact; lower the clip norms' ratio R/C1 or C2, or raise grid_step."
                )

    @property
    def budget(self) -> Budget:
        """The promise as a `Budget`."""
        return Budget(epsilon=self.epsilon, delta=self.delta, neighbouring=self.neighbouring)

    @property
    def expected_batch_size(self) -> float:
        """B = qN of the first phase."""
        return self.sampling_rate * self.dataset_size

    @property
    def steps(self) -> int:
        """All releases: the warm start's and the iterations."""
        return self.warm_steps + self.iterations

    @property
    def warm_steps(self) -> int:
        """The warm start's releases, which come first."""
        return 0 if self.warm_start is None else self.warm_start.steps

    def warm_events(self) -> tuple[tuple[Event, int], ...]:
        """What the warm start is charged for, spare releases included; empty without one."""
        return () if self.warm_start is None else self.warm_start.charges()

    def releases(self) -> tuple[Phase, ...]:
        """Everything that is released, in order: the warm start, then the schedule."""
        warm = () if self.warm_start is None else self.warm_start.releases()
        statistics = (
            Phase(iterations=1, sampling_rate=1.0, noise_multiplier=release.noise_multiplier, releases=STATISTICS)
            for release in warm
        )
        return (*statistics, *self.schedule())

    def schedule(self) -> tuple[Phase, ...]:
        """The phases of the iterations, also when there is only one."""
        whole = Phase(
            iterations=self.iterations,
            sampling_rate=self.sampling_rate,
            noise_multiplier=self.noise_multiplier,
        )
        return self.phases or (whole,)

    def parts_in(self, phase: Phase) -> tuple[Part, ...]:
        """The parts with the noise of that phase: each z_k scaled as the joint z is."""
        if phase.noise_multiplier == self.noise_multiplier:
            return self.parts
        scale = phase.noise_multiplier / self.noise_multiplier
        scaled = raised_to_cover((part.noise_multiplier * scale for part in self.parts), phase.noise_multiplier)
        return tuple(replace(part, noise_multiplier=z) for part, z in zip(self.parts, scaled, strict=True))

    def event_of(self, phase: Phase) -> Event:
        """What one step of that phase releases."""
        q, z = phase.sampling_rate, phase.noise_multiplier
        if phase.releases == STATISTICS:
            return SubsampledGaussian(sampling_rate=q, noise_multiplier=z)
        if self.feedback is Feedback.BANDED:
            return BandedGaussian(sampling_rate=q, noise_multiplier=z, bands=self.bands)
        if self.feedback is Feedback.PAPER:
            return HiddenFeedbackGaussian(
                sampling_rate=q, noise_multiplier=z, feedback_ratio=self._feedback_ratio(phase)
            )
        return SubsampledGaussian(sampling_rate=q, noise_multiplier=z)

    def _feedback_ratio(self, phase: Phase) -> float:
        """ρ = z · sqrt(Σ (ρ_k / z_k)²) with ρ_k = 2·C2·qN/C1 (docs/privacy.md, theorem 4), rounded up."""
        return feedback_ratio_upwards(
            ((part.clip_norm, part.feedback_clip_norm, part.noise_multiplier) for part in self.parts_in(phase)),
            noise_multiplier=phase.noise_multiplier,
            batch_size=phase.sampling_rate * self.dataset_size,
        )

    def events(self) -> tuple[tuple[Event, int], ...]:
        """(event, steps), one pair a phase, the warm start's first; each pair is a segment of its own."""
        return tuple((self.event_of(phase), phase.iterations) for phase in self.releases())

    def caps(self, *, extra_blocks: int = 0) -> Caps:
        """How many blocks each phase may charge; ε is that of their composition.

        Args:
            extra_blocks: of the last phase's event, that an extension adds as a phase of its own.
        """
        warm = 0 if self.warm_start is None else 1
        pools = [0] * self.warm_steps + [warm + number for number in range(len(self.schedule()))]
        spare = (*((self.warm_start.spare_releases,) if self.warm_start else ()), *(self.spare_blocks,) * len(self.schedule()))
        caps = [
            Cap(event=event, steps=steps, pool=pool)
            for (event, steps), pool in zip(self.events(), pools, strict=True)
        ]
        if extra_blocks:
            last = caps[-1].event
            caps.append(Cap(event=last, steps=steps_of_blocks(last, extra_blocks), pool=len(spare)))
            spare = (*spare, 0)
        return Caps(phases=tuple(caps), spare=spare)

    def phase_number(self, step: int) -> int:
        """Which phase, from 0, release number `step` is of; that of an extension from the plan's end on."""
        for number, phase in enumerate(self.releases()):
            if step < phase.iterations:
                return number
            step -= phase.iterations
        return len(self.releases())

    def phase_at(self, step: int) -> Phase:
        """The phase of release number `step` (from 0, the warm start's too); the last one from the plan's end on."""
        for phase in self.releases():
            if step < phase.iterations:
                return phase
            step -= phase.iterations
        return self.schedule()[-1]

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON."""
        return digest(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the schema's name; `from_json` is its inverse."""
        return {
            "schema": SCHEMA,
            "epsilon": self.epsilon,
            "delta": self.delta,
            "neighbouring": self.neighbouring.value,
            "dataset": self.dataset,
            "dataset_size": self.dataset_size,
            "feedback": self.feedback.value,
            "bands": self.bands,
            "sampling_rate": self.sampling_rate,
            "iterations": self.iterations,
            "phases": [_phase_to_json(phase) for phase in self.phases],
            "spare_blocks": self.spare_blocks,
            "caps": self.caps().to_json(),
            # Left out where there is none: plans that were made before it keep their digest.
            **({} if self.warm_start is None else {"warm_start": _as_dict(self.warm_start)}),
            "noise_multiplier": self.noise_multiplier,
            "parts": [_as_dict(part) for part in self.parts],
            "accountant": self.accountant,
            "verified": _verified_to_json(self.verified),
            "defaults": dict(self.defaults),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """The plan that `to_json` wrote.

        Raises:
            PlanError: another schema, missing or unknown fields, a wrong type or a value out of range.
        """
        if data.get("schema") != SCHEMA:
            raise PlanError(f"Expected a plan of schema {SCHEMA}, got {data.get('schema')!r}; plan again.")
        data = {"warm_start": None, "spare_blocks": 0, **data}
        stated = data.pop("caps", None)
        names = {f.name for f in fields(cls)}
        if set(data) - {"schema"} != names:
            raise PlanError(_field_difference(set(data) - {"schema"}, names))
        try:
            made = cls(
                **{name: data[name] for name in names - _CONVERTED.keys()},
                **{name: convert(data[name]) for name, convert in _CONVERTED.items()},
            )
        except PlanError:
            raise
        except (InvalidValue, TypeError, ValueError, KeyError, AttributeError) as error:
            raise PlanError(f"The plan does not hold together: {error}") from error
        if stated not in (None, made.caps().to_json()):
            raise PlanError(f"The plan's caps are not those of its phases, {made.caps().to_json()}; plan again.")
        return made

    @classmethod
    def load(cls, path: Path | str) -> Plan:
        """Read a plan file.

        Raises:
            PlanError: the file is missing, damaged, or no plan.
        """
        path = Path(path)
        try:
            if path.stat().st_size > LARGEST_FILE:
                raise PlanError(f"{path} is too large to be a plan; make one with privgen plan --out {path}.")
            data = parse_object(path.read_bytes())
        except OSError as error:
            raise PlanError(
                f"Cannot read the plan {path}: {error.strerror}; make one with privgen plan --out {path}."
            ) from error
        except ValueError as error:
            raise PlanError(f"{path} is damaged ({error}); make a new one with privgen plan --out {path}.") from error
        return cls.from_json(data)

    def save(self, path: Path | str) -> None:
        """Write the plan, readable for people, whole or not at all.

        Raises:
            OSError: the place cannot be written to; whatever stood there is untouched.
        """
        write_durably(Path(path), (json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n").encode())


def _as_dict(value: Part | WarmStart) -> dict[str, Any]:
    return {f.name: getattr(value, f.name) for f in fields(value)}


def _phase_to_json(phase: Phase) -> dict[str, Any]:
    return {name: getattr(phase, name) for name in _PHASE_FIELDS}


def _phase_from_json(item: Mapping[str, Any]) -> Phase:
    if set(item) != set(_PHASE_FIELDS):
        raise PlanError(_field_difference(set(item), set(_PHASE_FIELDS)))
    return Phase(**item)


def _verified_to_json(verified: Verified | None) -> dict[str, Any] | None:
    if verified is None:
        return None
    prv = verified.prv
    bounds = None if prv is None else {"lower": prv.lower, "estimate": prv.estimate, "upper": prv.upper}
    return {"rdp": verified.rdp, "prv": bounds}


def _verified_from_json(data: Any) -> Verified | None:
    if data is None:
        return None
    if set(data) != {"rdp", "prv"}:
        raise PlanError(_field_difference(set(data), {"rdp", "prv"}))
    prv = data["prv"]
    return Verified(rdp=data["rdp"], prv=None if prv is None else EpsilonBounds(**prv))


_PHASE_FIELDS = ("iterations", "sampling_rate", "noise_multiplier")
_CONVERTED: dict[str, Any] = {
    "neighbouring": Neighbouring,
    "feedback": Feedback,
    "phases": lambda items: tuple(_phase_from_json(item) for item in items),
    "warm_start": lambda item: None if item is None else WarmStart(**item),
    "parts": lambda items: tuple(Part(**item) for item in items),
    "verified": _verified_from_json,
    "defaults": lambda items: {str(name): str(text) for name, text in items.items()},
}


def _field_difference(given: set[str], expected: set[str]) -> str:
    unknown, missing = sorted(given - expected), sorted(expected - given)
    return f"Expected exactly the plan's fields: unknown {unknown}, missing {missing}; plan again."
