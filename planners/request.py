"""`PlanRequest`: what somebody asks of a plan, from the command line's options to `plan_of`.

Every value that is None is chosen or solved for. A request says nothing that contradicts itself; whether a budget
can be kept is found out by planning.

    >>> PlanRequest(epsilon=10.0, batch_size=256.0, sampling_rate=0.01)
    Traceback (most recent call last):
    ...
    planners.errors.ContradictoryRequest: Give the batch size or the sampling rate, not both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from accountant.budget import Neighbouring, require_delta, require_epsilon
from accountant.errors import InvalidValue
from accountant.events import require_count, require_noise_multiplier, require_sampling_rate
from accountant.plans.parts import Feedback
from accountant.plans.planned_method import GAN, PlannedMethod, require_preset_name
from accountant.plans.public_facts import PublicFacts
from accountant.scalars import is_number, keep_plain
from planners.errors import ContradictoryRequest
from planners.schedule import WHOLE, PhaseShape, require_whole

# Thirds are written 0.333: what is missing of 1 is divided among the parts.
_SHARES_OFF = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanRequest:
    """What is given of a plan.

    Args:
        epsilon: > 0, natural log. delta: in (0, 1).
        dataset: public name, for the record. dataset_size: N, stated and public.
        method: what is trained; it says which parts there are and what is taken of them where nothing is given.
        preset: of its settings, by name, or None: the method's default.
        public_facts: classes, shape and resizing of the data, whose name is then the data set's.
        batch_size: expected, qN; or sampling_rate: q. iterations: T. noise_multiplier: joint z. At most two of
            the last three are free to give: the third is solved for; all three are verified.
        feedback: banded, paper or none.
        bands: b of banded feedback. residual_ratio: R/C1 of it, >= 0; b − 1, at which the noise is least, if None.
        shares: part → share of the privacy cost, 1/z_k² = share_k/z²; 0 drops a part.
        clip_norm: total L2 bound C1 + R on one record's gradient in each part, > 0.
        feedback_ratio: ρ of the published feedback, from which C2 follows.
        phases: the shape of a schedule, such as noise that falls; its factors multiply the noise multiplier and the
            sampling rate that are given, chosen or solved for.
        warm_start: part of ε that statistics of each class cost by themselves, in [0, 1); 0 releases none. None is the
            method's own, and none where rate, steps and noise are all given or the preset is the published one.
        spare_releases: of a warm start, that a crash may waste, within its part of ε; with none such a crash ends the
            run. spare_blocks: the same of each phase of the steps, >= 0.
        accountant: "rdp" or "prv". neighbouring: adjacency.

    Raises:
        InvalidValue: a value is out of range. ContradictoryRequest: two values exclude each other.
    """

    epsilon: float
    delta: float | None = None
    dataset: str | None = None
    dataset_size: int | None = None
    method: PlannedMethod = GAN
    preset: str | None = None
    public_facts: PublicFacts | None = None
    batch_size: float | None = None
    sampling_rate: float | None = None
    iterations: int | None = None
    noise_multiplier: float | None = None
    feedback: Feedback = Feedback.BANDED
    bands: int | None = None
    shares: Mapping[str, float] | None = None
    clip_norm: float = 1.0
    residual_ratio: float | None = None
    feedback_ratio: float | None = None
    phases: tuple[PhaseShape, ...] = WHOLE
    warm_start: float | None = None
    spare_releases: int = 1
    spare_blocks: int = 0
    accountant: str = "rdp"
    neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE

    def __post_init__(self) -> None:
        keep_plain(self)
        require_epsilon(self.epsilon)
        if self.delta is not None:
            require_delta(self.delta)
        if self.dataset_size is not None:
            require_count(self.dataset_size, "dataset_size", least=1)
        if self.iterations is not None:
            require_count(self.iterations, "iterations", least=1)
        require_count(self.spare_releases, "spare_releases", least=0)
        require_count(self.spare_blocks, "spare_blocks", least=0)
        if self.noise_multiplier is not None:
            require_noise_multiplier(self.noise_multiplier)
        if self.sampling_rate is not None:
            require_sampling_rate(self.sampling_rate)
        require_preset_name(self.preset)
        if self.accountant not in ("rdp", "prv"):
            raise InvalidValue(f"Expected accountant={self.accountant!r} to be rdp or prv.")
        require_whole(self.phases)
        self._require_one_batch()
        self._require_shares()
        self._require_one_feedback()

    def _require_one_batch(self) -> None:
        batch = self.batch_size
        if batch is None:
            return
        if self.sampling_rate is not None:
            raise ContradictoryRequest("Give the batch size or the sampling rate, not both.")
        if not (is_number(batch) and math.isfinite(batch) and batch > 0):
            raise InvalidValue(f"Expected batch_size={batch!r} to be finite and > 0; it is the expected batch, qN.")

    def _require_shares(self) -> None:
        if self.shares is None:
            return
        method = self.method
        if unknown := sorted(set(self.shares) - set(method.parts)):
            raise InvalidValue(
                f"Unknown parts {unknown}; a step of {method.name} can release: {', '.join(method.parts)}."
            )
        for name, value in self.shares.items():
            if not (is_number(value) and math.isfinite(value) and value >= 0):
                raise InvalidValue(f"Expected share {name}={value!r} to be finite and >= 0.")
        essential = method.essential or method.parts
        if not any(self.shares.get(name) for name in essential):
            raise InvalidValue(
                f"Expected a share > 0 for {' or '.join(essential)}, got {dict(self.shares)!r}: "
                f"{method.essential_reason}."
            )
        if abs(sum(self.shares.values()) - 1) > _SHARES_OFF:
            raise InvalidValue(
                f"Expected the shares to sum to 1, got {sum(self.shares.values()):g} of {dict(self.shares)!r}; each is "
                "a part's share of the whole privacy cost."
            )

    def _require_one_feedback(self) -> None:
        ratio = self.residual_ratio
        if ratio is not None and not (is_number(ratio) and math.isfinite(ratio) and ratio >= 0):
            raise InvalidValue(f"Expected residual_ratio={ratio!r} to be finite and >= 0 (R/C1).")
        if self.feedback is not Feedback.PAPER and self.feedback_ratio:
            raise ContradictoryRequest("feedback_ratio belongs to the published feedback; use feedback paper.")
        if self.feedback is Feedback.BANDED:
            if self.bands is not None:
                require_count(self.bands, "bands", least=1)
        elif self.bands not in (None, 1):
            raise ContradictoryRequest(f"Bands belong to banded feedback; omit --bands {self.bands}.")
        if ratio and (self.feedback is not Feedback.BANDED or self.bands == 1):
            raise ContradictoryRequest(
                f"R/C1 = {ratio:g} needs banded feedback of at least two bands; omit --residual-ratio."
            )
