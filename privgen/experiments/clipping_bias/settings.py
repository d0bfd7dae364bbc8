"""`Trial`: one training of the clipping-bias experiment, and the mechanism that its settings define.

For every feedback alike, `planners` solves for the noise and the guard spends the budget:

| feedback | C1 | R or C2 | z is the least that keeps |
|---|---|---|---|
| none | total | – | ε, certified |
| banded | now · total | R = (1 − now) · total | ε, certified |
| correlated | total | – | ε, certified |
| paper, certified | total | C2 = ρ·C1/(2B) | ε, certified |
| paper, claimed | total | C2 = ρ·C1/(2B) | ε by the published analysis; its certified cost is the guard's budget |

What was clipped away may be paid back in unequal parts: w_k ∝ decay^k, Σ w_k = 1. Theorem 3 of docs/privacy.md does not
need equal ones: what one draw of a record adds to a block has a norm of at most Δ with Δ² = C1² + R² Σ w_k².

`correlated` has no feedback, but the same bands and the same charge: banded matrix factorisation (Choquette-Choo et
al. 2023, arXiv 2306.08153). What is released is Σ_k c_k A_{t−k}, k = 0 … b − 1, so a record's block has a norm of at
most Δ = C1·√(Σ c_k²); from it y_t = released_t − Σ_{k≥1} c_k y_{t−k} = A_t + noise, correlated over the steps, is
post-processing. c_k = binom(2k, k)/4^k is the square root of the sums' matrix (Fichtenberger, Henzinger & Upadhyay
2023, arXiv 2202.11205), cut at b (Kalinin & Lampert 2024, arXiv 2405.13763). In a sum over
many steps the noise is that of independent noise with 1/Σ c_k of the standard deviation.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from accountant.budget import Budget
from accountant.composition.rdp import RdpAccountant
from accountant.events import BandedGaussian, Event, HiddenFeedbackGaussian, SubsampledGaussian
from accountant.plans.parts import Part
from planners import solve_noise_multiplier
from privgen.errors import ConfigError

DELTA = 1e-5
FEEDBACKS = ("none", "banded", "correlated", "paper", "paper-claimed")
TASKS = ("mlp", "cnn", "critic")


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """The settings of one training. Equal trials are the same training, including noise and batches.

    Args:
        task: mlp or cnn (classifiers) or critic (the discriminator of a GAN).
        feedback: none, banded, correlated (noise without feedback), paper (certified budget) or paper-claimed (budget
            by the published analysis).
        epsilon: > 0, at δ = 1e-5; certified, except for paper-claimed.
        total_clip: C1 + R, or C1 if there is no feedback, > 0.
        learning_rate: > 0. momentum: of SGD, or Adam's first (critic), in [0, 1).
        bands: b of banded feedback or correlated noise; otherwise 1.
        now: C1 / total, in (0, 1]; None means 1/b.
        decay: of the parts that are paid back, > 0; 1 means equal parts.
        lookahead: steps by which gradients are taken ahead of the weights, along the last update, >= 0.
        feedback_ratio: ρ of the paper's feedback, >= 0.
        iterations: T. batch_size: expected, B. seed: of everything random.

    Raises:
        ConfigError: a value is out of range.
    """

    task: str
    feedback: str
    epsilon: float
    total_clip: float
    learning_rate: float
    momentum: float = 0.9
    bands: int = 1
    now: float | None = None
    decay: float = 1.0
    lookahead: float = 0.0
    feedback_ratio: float = 0.0
    iterations: int = 2000
    batch_size: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        self._require("task", self.task in TASKS, f"one of {', '.join(TASKS)}")
        self._require("feedback", self.feedback in FEEDBACKS, f"one of {', '.join(FEEDBACKS)}")
        for name in ("epsilon", "total_clip", "learning_rate", "decay"):
            self._require(name, getattr(self, name) > 0, "> 0")
        self._require("momentum", 0 <= self.momentum < 1, "in [0, 1)")
        self._require("now", self.now is None or 0 < self.now <= 1, "in (0, 1]")
        banded = self.feedback in ("banded", "correlated")
        self._require("bands", (self.bands > 1) == banded, "> 1 for banded and correlated, 1 for others")
        self._require("feedback_ratio", self.feedback_ratio >= 0, ">= 0")
        self._require("lookahead", self.lookahead >= 0, ">= 0")

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ConfigError(f"Expected {name}={getattr(self, name)!r} to be {expected}.")

    @property
    def clip_norm(self) -> float:
        """C1."""
        if self.feedback != "banded":
            return self.total_clip
        return self.total_clip * (1 / self.bands if self.now is None else self.now)

    @property
    def residual_clip_norm(self) -> float:
        """R."""
        return self.total_clip - self.clip_norm if self.feedback == "banded" else 0.0

    @property
    def payments(self) -> tuple[float, ...]:
        """(w_1, …, w_K), the parts that are paid back; they sum to 1."""
        raw = [self.decay**k for k in range(self.bands - 1)]
        return tuple(w / sum(raw) for w in raw)

    @property
    def mixing(self) -> tuple[float, ...]:
        """(c_0, …, c_K) of correlated noise; c_0 = 1."""
        return tuple(math.comb(2 * k, k) / 4**k for k in range(self.bands))

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; `from_json` is its inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trial:
        """The trial that `to_json` wrote.

        Raises:
            ConfigError: unknown fields, or a value out of range.
        """
        if unknown := set(data) - {f.name for f in fields(cls)}:
            raise ConfigError(f"Unknown settings of a trial: {', '.join(sorted(unknown))}.")
        try:
            return cls(**data)
        except TypeError as error:
            raise ConfigError(f"The settings of a trial are inconsistent: {error}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Mechanism:
    """What a trial releases, and what it may cost.

    Args:
        event: one step. budget: of the guard; certified.
        part: with C1, R or C2, and z. released: the part as the release sees it: with unequal payments or mixed sums
            its clip norm is Δ, so that the noise is z·Δ.
        claimed: ε by the published analysis; of the published feedback only.
    """

    event: Event
    budget: Budget
    part: Part
    released: Part
    claimed: float | None

    def noise_of_mean(self, trial: Trial) -> float:
        """Standard deviation of the noise in one step's mean update, as it accumulates over many steps."""
        std = self.part.noise_multiplier * self.released.sensitivity(trial.bands) / trial.batch_size
        return std / sum(trial.mixing) if trial.feedback == "correlated" else std


def mechanism(trial: Trial, *, part: str, dataset_size: int) -> Mechanism:
    """The mechanism of a trial, its noise solved for.

    Args:
        part: name of the one part. dataset_size: N, public.

    Guarantees: `trial.iterations` steps of the event cost at most the budget, by RDP, as the guard charges it.
    """
    q = trial.batch_size / dataset_size
    event, budget, claimed = _event(
        trial.feedback, trial.epsilon, q, trial.iterations, trial.bands, trial.feedback_ratio
    )
    z = event.noise_multiplier
    own = Part(
        name=part,
        clip_norm=trial.clip_norm,
        residual_clip_norm=trial.residual_clip_norm,
        # ρ = 2·C2·B/C1 with C2 on the scale of the mean (docs/privacy.md, theorem 4); less by a rounding.
        feedback_clip_norm=trial.feedback_ratio * trial.clip_norm / (2 * trial.batch_size) * (1 - 2.0**-48),
        noise_multiplier=z,
    )
    released = own
    if trial.decay != 1.0 or trial.feedback == "correlated":
        released = Part(name=part, clip_norm=_block_norm(trial), noise_multiplier=z, grid_step=own.step)
    return Mechanism(event=event, budget=budget, part=own, released=released, claimed=claimed)


def _block_norm(trial: Trial) -> float:
    """Δ of unequal payments or of mixed sums, rounded up."""
    if trial.feedback == "correlated":
        return trial.clip_norm * math.hypot(*trial.mixing) * (1 + 1e-12)
    return math.hypot(trial.clip_norm, trial.residual_clip_norm * math.hypot(*trial.payments)) * (1 + 1e-12)


@functools.lru_cache(maxsize=256)
def _event(
    feedback: str, epsilon: float, q: float, steps: int, bands: int, ratio: float
) -> tuple[Event, Budget, float | None]:
    known = {"epsilon": epsilon, "delta": DELTA, "sampling_rate": q, "iterations": steps}
    budget = Budget(epsilon=epsilon, delta=DELTA)
    if feedback == "none":
        return SubsampledGaussian(sampling_rate=q, noise_multiplier=_solved(known)), budget, None
    if bands > 1:
        z = _solved(known | {"bands": bands})
        return BandedGaussian(sampling_rate=q, noise_multiplier=z, bands=bands), budget, None
    if feedback == "paper":
        z = _solved(known | {"feedback_ratio": ratio})
        return HiddenFeedbackGaussian(sampling_rate=q, noise_multiplier=z, feedback_ratio=ratio), budget, None
    # The published analysis: √(1 + ρ) times the noise of plain steps, charged as plain steps.
    z = _solved(known) * math.sqrt(1 + ratio)
    event = HiddenFeedbackGaussian(sampling_rate=q, noise_multiplier=z, feedback_ratio=ratio)
    certified = RdpAccountant().compose(event, steps).get_epsilon(DELTA)
    return event, Budget(epsilon=certified * (1 + 1e-9), delta=DELTA), epsilon


def _solved(known: Mapping[str, Any]) -> float:
    return solve_noise_multiplier(**known) * (1 + 1e-9)
