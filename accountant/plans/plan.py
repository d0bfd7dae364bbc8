"""`Plan`: everything about a run that its privacy depends on, fixed before the run starts.

Learning rates and network sizes are not here, but for the name of the preset that was planned for; they are recorded
beside it. A plan is a frozen value, saved as JSON with a schema name, and refuses fields that it does not know.

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

import errno
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from accountant.budget import Budget, Neighbouring
from accountant.canonical_json import digest, parse_object
from accountant.errors import InvalidValue, PlanError
from accountant.events import (
    BandedGaussian,
    Event,
    HiddenFeedbackGaussian,
    SubsampledGaussian,
    require_count,
)
from accountant.files import write_durably
from accountant.json_reader import JsonObject
from accountant.plans.caps import Cap, Caps, steps_of_blocks
from accountant.plans.consistency import require_consistent
from accountant.plans.exact_release import feedback_ratio_upwards, raised_to_cover
from accountant.plans.parts import STATISTICS, Feedback, Part, Phase, Verified
from accountant.plans.plan_html import plan_html
from accountant.plans.plan_json import PlanJson
from accountant.plans.planned_method import GAN, require_method_name, require_preset_name
from accountant.plans.public_facts import PublicFacts
from accountant.plans.warm_start import WarmStart
from accountant.scalars import keep_plain

SCHEMA = "privgen.plan/1"
LARGEST_FILE = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Everything privacy-relevant about a run. Units and symbols are those of docs/notation.md.

    Args:
        epsilon: of the promise, > 0. delta: of it, in (0, 1). neighbouring: its adjacency.
        dataset: public name of the data set, or None when only its size was given.
        dataset_size: N, stated and public, integer >= 1; it is not counted when training begins.
        method: what is trained, by name; it decides which parts there are.
        preset: of its settings, by name, or None: the method's default. No ε depends on it.
        public_facts: classes, shape and how images are resized, or None where the plan states none of them.
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
    method: str = GAN.name
    preset: str | None = None
    public_facts: PublicFacts | None = None
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
        keep_plain(self)
        Budget(epsilon=self.epsilon, delta=self.delta, neighbouring=self.neighbouring)
        require_count(self.dataset_size, "dataset_size", least=1)
        require_method_name(self.method)
        require_preset_name(self.preset)
        require_count(self.bands, "bands", least=1)
        require_count(self.spare_blocks, "spare_blocks", least=0)
        Phase(
            iterations=self.iterations,
            sampling_rate=self.sampling_rate,
            noise_multiplier=self.noise_multiplier,
        )
        require_consistent(self)
        if self.accountant not in ("rdp", "prv"):
            raise InvalidValue(f"Expected accountant={self.accountant!r} to be rdp or prv.")
        self.events()

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
        phases = len(self.schedule())
        shared = () if self.warm_start is None else (self.warm_start.spare_releases,)
        pools = [0] * self.warm_steps + [len(shared) + number for number in range(phases)]
        spare = (*shared, *(self.spare_blocks,) * phases)
        caps = [
            Cap(event=event, steps=steps, pool=pool) for (event, steps), pool in zip(self.events(), pools, strict=True)
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

    def to_json(self) -> PlanJson:
        """A JSON object with the schema's name; `from_json` is its inverse."""
        written: PlanJson = {
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
            "phases": [phase.to_json() for phase in self.phases],
            "spare_blocks": self.spare_blocks,
            "caps": self.caps().to_json(),
            "noise_multiplier": self.noise_multiplier,
            "parts": [part.to_json() for part in self.parts],
            "accountant": self.accountant,
            "verified": None if self.verified is None else self.verified.to_json(),
            "defaults": dict(self.defaults),
        }
        if self.method != GAN.name:
            written["method"] = self.method
        if self.preset is not None:
            written["preset"] = self.preset
        if self.warm_start is not None:
            written["warm_start"] = self.warm_start.to_json()
        if self.public_facts is not None:
            written["public_facts"] = self.public_facts.to_json()
        return written

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Plan:
        """The plan that `to_json` wrote.

        Raises:
            PlanError: another schema, missing or unknown fields, a wrong type or a value out of range.
        """
        if data.get("schema") != SCHEMA:
            raise PlanError(f"Expected a plan of schema {SCHEMA}, got {data.get('schema')!r}; plan again.")
        try:
            made = cls._read(JsonObject(data, "the plan"))
        except PlanError:
            raise
        except (InvalidValue, ValueError) as error:
            raise PlanError(f"The plan is inconsistent, plan again: {error}") from error
        if data.get("caps") not in (None, made.caps().to_json()):
            raise PlanError(f"The plan's caps are not those of its phases, {made.caps().to_json()}; plan again.")
        return made

    @classmethod
    def _read(cls, read: JsonObject) -> Plan:
        read.require_fields(PlanJson.__required_keys__, optional=PlanJson.__optional_keys__)
        warm_start, verified = read.optional_child("warm_start"), read.optional_child("verified")
        facts = read.optional_child("public_facts")
        return cls(
            epsilon=read.number("epsilon"),
            delta=read.number("delta"),
            neighbouring=Neighbouring(read.text("neighbouring")),
            dataset=read.optional_text("dataset"),
            dataset_size=read.integer("dataset_size"),
            method=read.text("method") if "method" in read else GAN.name,
            preset=read.text("preset") if "preset" in read else None,
            public_facts=None if facts is None else PublicFacts.from_json(facts),
            feedback=Feedback(read.text("feedback")),
            bands=read.integer("bands"),
            sampling_rate=read.number("sampling_rate"),
            iterations=read.integer("iterations"),
            phases=tuple(Phase.from_json(item) for item in read.children("phases")),
            spare_blocks=read.integer("spare_blocks", least=0) if "spare_blocks" in read else 0,
            warm_start=None if warm_start is None else WarmStart.from_json(warm_start),
            noise_multiplier=read.number("noise_multiplier"),
            parts=tuple(Part.from_json(item) for item in read.children("parts")),
            accountant=read.text("accountant"),
            verified=None if verified is None else Verified.from_json(verified),
            defaults=read.texts("defaults"),
        )

    @classmethod
    def load(cls, path: Path | str) -> Plan:
        """Read a plan file.

        Raises:
            PlanError: the file is missing, damaged, or no plan.
        """
        path = Path(path)
        try:
            if path.stat().st_size > LARGEST_FILE:
                raise PlanError(_no_plan(path, "it is too large"))
            data = parse_object(path.read_bytes())
        except OSError as error:
            if error.errno == errno.ENOENT:
                remedy = f"make one with privgen plan --out {shlex.quote(str(path))}"
            else:
                remedy = "name a file that privgen plan --out wrote"
            raise PlanError(f"Cannot read the plan {path}: {error.strerror}; {remedy}.") from error
        except ValueError as error:
            why = "it is not text" if isinstance(error, UnicodeDecodeError) else str(error)
            raise PlanError(_no_plan(path, why)) from error
        return cls.from_json(data)

    def save(self, path: Path | str) -> None:
        """Write the plan, readable for people, whole or not at all.

        Raises:
            OSError: the place cannot be written to; whatever stood there is untouched.
        """
        write_durably(Path(path), (json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n").encode())

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        return plan_html(self)


def _no_plan(path: Path, why: str) -> str:
    """What is said of a file that is something else: never to write a plan over it."""
    found = f"is damaged ({why})" if path.suffix == ".json" else "is no plan, which would be a .json file"
    return f"{path} {found}; name the file that privgen plan --out wrote, or plan anew into another."
