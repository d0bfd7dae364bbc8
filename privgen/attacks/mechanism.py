"""`audit_mechanism`: the ε that a plan's release code can be shown to have, and the certified ε of the same steps.

Two things are audited of banded feedback and of none: one block with the record drawn for certain, which watches
noise, clipping and feedback at full strength; and the plan's own sampling rate over many steps. Of the published
feedback a few steps with the record in each, and the plan's own rate, with what its analysis claims of the same steps;
at a small rate the few steps that can be afforded show little, so one demonstration at fixed settings stands beside
them, in which a record with large gradients refutes the claim.

A lower bound above the certified ε means that the code does not do what is charged (or, with probability one minus the
confidence, chance). A bound below it proves no more than it says: attacks that were not tried may do better.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from accountant.claims.claims import claimed_epsilon
from accountant.composition.certified import Certified, certify, finite
from accountant.events import Event, HiddenFeedbackGaussian
from accountant.plans.parts import Part
from accountant.plans.plan import Plan
from privgen.attacks.bound import LowerBound, lower_bound
from privgen.attacks.worlds import Setting, play
from privgen.errors import EvaluationError
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.sampling import Coins

# A δ at which a million trials do not limit the bound: at δ = 1e-5 they show no ε above about ten.
WIDE_DELTA = 0.01
# Releases of one part in each world, for a minute or so on one core.
_WORK, _PAPER_WORK = 200_000_000, 200_000
_MOST_TRIALS, _FEWEST_TRIALS, _PAPER_TRIALS, _PAPER_STEPS = 2_000_000, 30_000, 3_000, 4
# B = 20 and C2 = C1/B, as in the published code, so that ρ = 2; 30 steps are few enough to be run thousands of times.
DEMONSTRATION = Setting(
    event=HiddenFeedbackGaussian(sampling_rate=0.1, noise_multiplier=4.0, feedback_ratio=2.0),
    parts=(Part(name="critic", clip_norm=1.0, feedback_clip_norm=(1 - 2.0**-48) / 20, noise_multiplier=4.0),),
    steps=30,
    batch_size=20.0,
)
DEMONSTRATED = (
    "demonstration at fixed settings, not this plan's (q = 0.1, B = 20, C2 = C1/B, noise multiplier 4): a record with "
    "large gradients"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A lower bound, and the certified ε of the same steps.

    Args:
        what: was attacked. event, steps: what ran.
        lower: the bound. certified: the smaller valid upper bound on ε, at the same δ, of what the guard charged.
        claimed: by the published analysis, or None. seconds: for both worlds together.
        moved: how far the record moved the sums before noise, in units of what is charged; None if not looked at.
    """

    what: str
    event: Event
    steps: int
    lower: LowerBound
    certified: float
    claimed: float | None
    seconds: float
    moved: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the lower bound is at most the certified ε, and the record moved no more than is charged."""
        return self.lower.epsilon <= self.certified and (self.moved is None or self.moved <= 1)

    def to_json(self) -> dict[str, Any]:
        """As JSON; an infinite bound is null."""
        return {
            "what": self.what,
            "steps": self.steps,
            "sampling_rate": self.event.sampling_rate,
            "noise_multiplier": self.event.noise_multiplier,
            "delta": self.lower.delta,
            "lower": self.lower.epsilon,
            "certified": finite(self.certified),
            "claimed": self.claimed,
            "confidence": self.lower.confidence,
            "trials": self.lower.trials,
            "seconds": round(self.seconds, 2),
            "moved": self.moved,
            "holds": self.holds,
        }


def audit_mechanism(
    plan: Plan,
    *,
    trials: int | None = None,
    confidence: float = 0.999,
    noise: ExactGaussian,
    coins: Coins | None = None,
) -> tuple[Finding, ...]:
    """Attack a plan's release code.

    Args:
        plan: its first phase is attacked.
        trials: runs of each world, or None for as many as take a minute or two.
        confidence: of each bound, in (0, 1). noise, coins: where randomness comes from.

    Raises:
        EvaluationError: fewer than 30 trials.
    """
    if trials is not None and trials < 30:
        raise EvaluationError(f"Expected trials={trials!r} >= 30; a hundred thousand are informative.")
    return tuple(
        finding
        for what, setting, count in _settings(plan, trials)
        for finding in attack(what, setting, plan.delta, trials=count, confidence=confidence, noise=noise, coins=coins)
    )


def own_setting(plan: Plan, trials: int) -> Setting:
    """The plan's first phase of steps, as many of them as so many trials can afford."""
    phase = plan.schedule()[0]
    event, parts = plan.event_of(phase), plan.parts_in(phase)
    work = _PAPER_WORK if event.feedback_ratio is not None else _WORK
    return Setting(
        event=event,
        parts=parts,
        steps=min(phase.iterations, max(event.bands, work // len(parts) // trials)),
        batch_size=phase.sampling_rate * plan.dataset_size,
        neighbouring=plan.neighbouring,
    )


def _settings(plan: Plan, trials: int | None) -> Iterator[tuple[str, Setting, int]]:
    phase = plan.schedule()[0]
    event = plan.event_of(phase)
    own = Setting(
        event=event,
        parts=plan.parts_in(phase),
        steps=phase.iterations,
        batch_size=phase.sampling_rate * plan.dataset_size,
        neighbouring=plan.neighbouring,
    )
    if event.feedback_ratio is not None:
        count = trials or _PAPER_TRIALS
        always = replace(event, sampling_rate=1.0)
        yield "the record drawn in every step", replace(own, event=always, steps=_PAPER_STEPS), count
        steps = min(own.steps, max(2, _PAPER_WORK // len(own.parts) // count))
        yield "the plan's own sampling rate", replace(own, steps=steps), count
        yield DEMONSTRATED, replace(DEMONSTRATION, neighbouring=plan.neighbouring), count
        return
    work = _WORK // len(own.parts)
    certain = replace(event, sampling_rate=1 / own.bands)
    yield (
        "one block, the record drawn for certain",
        replace(own, event=certain, steps=own.bands),
        trials or _affordable(work, own.bands),
    )
    count = trials or _affordable(work, own.steps)
    steps = min(own.steps, max(own.bands, work // count))
    yield "the plan's own sampling rate", replace(own, steps=steps), count


def _affordable(work: int, steps: int) -> int:
    return max(_FEWEST_TRIALS, min(_MOST_TRIALS, work // steps))


def attack(
    what: str,
    setting: Setting,
    delta: float,
    *,
    trials: int,
    confidence: float,
    noise: ExactGaussian,
    coins: Coins | None = None,
) -> tuple[Finding, ...]:
    """Run both worlds of a setting and bound ε at `delta` and at WIDE_DELTA, with the given confidence for each bound.

    Args:
        what: a description. delta: in (0, 1). Others as in `audit_mechanism` and `play`.
    """
    begun = time.perf_counter()
    present, charged = play(setting, trials=trials, present=True, noise=noise, coins=coins)
    absent, _ = play(setting, trials=trials, present=False, noise=noise, coins=coins)
    seconds = time.perf_counter() - begun
    found = []
    for at in sorted({delta, WIDE_DELTA}):
        bound = lower_bound(present, absent, delta=at, confidence=confidence)
        certified = certify(charged, delta=at, neighbouring=setting.neighbouring)
        found.append(_finding(what, setting, bound, certified, seconds))
    return tuple(found)


def _finding(what: str, setting: Setting, bound: LowerBound, certified: Certified, seconds: float) -> Finding:
    event, claimed = setting.event, None
    if event.feedback_ratio is not None:
        claimed = claimed_epsilon(event, setting.steps, delta=bound.delta)
    return Finding(
        what=what,
        event=event,
        steps=setting.steps,
        lower=bound,
        certified=certified.epsilon,
        claimed=claimed,
        seconds=seconds,
    )
