"""What others claimed, recomputed: `claim("gs-wgan")`, and the same for settings of your own.

A `Claim` puts two figures side by side: what was claimed, and what is proved. The second is certified, the first
is not a bound; where a constructed data set shows that nothing smaller can be true, `lower` says so.

    >>> CLAIMS
    ('gs-wgan', 'dp-gan-dpac', 'dicesgd', 'efsgd-paper')
    >>> found = claim("dicesgd")
    >>> found.claimed, found.certified.epsilon > found.lower > 50
    (2.0, True)
    >>> sorted(found.to_json())
    ['certified', 'claim', 'claimed', 'reason', 'source']
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypedDict

from accountant.budget import EpsilonBounds, Neighbouring, require_delta
from accountant.claims.feedback_lower_bound import steering_epsilon
from accountant.claims.public_code import PUBLIC_CODE, CheckedLate, WithoutEpsilon
from accountant.claims.published import PUBLISHED, ClippedErrorFeedback, SanitisedGenerator
from accountant.claims.worker_selection import Stretch, selected_divergences, selected_epsilon
from accountant.composition.certified import Certified, CertifiedJson, certify
from accountant.composition.conversion import Conversion, epsilon_of
from accountant.composition.prv import PrvAccountant
from accountant.composition.rdp import RdpAccountant
from accountant.composition.renyi import default_orders
from accountant.composition.segments import compose_segments
from accountant.errors import InvalidValue
from accountant.events import BandedGaussian, Event, HiddenFeedbackGaussian, SubsampledGaussian, require_count

CLAIMS: tuple[str, ...] = tuple(PUBLISHED)
# With those that were read in public code, of which some have no ε.
EVERY_CLAIM: tuple[str, ...] = (*CLAIMS, *PUBLIC_CODE)

# Of an ε in the hundreds, half a unit is close enough, and takes half a second instead of five.
_COARSE = 0.5


class ClaimJson(TypedDict):
    """A claim as JSON."""

    claim: str
    claimed: float | None
    certified: CertifiedJson
    reason: str
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A setting with what was claimed of it and what is certified.

    Args:
        name: one of EVERY_CLAIM, or "settings". delta: δ of every figure.
        claimed: published ε; not a bound. None where nobody claimed one.
        certified: upper bounds that are proved.
        lower: no ε below this is true of the setting, where that is known.
        reason: one sentence on why the two differ. source: where the numbers come from.
        assumptions: what the figures rest on, and which numbers are ours.
    """

    name: str
    delta: float
    claimed: float | None
    certified: Certified
    lower: float | None
    reason: str
    source: str
    assumptions: tuple[str, ...] = ()

    def to_json(self) -> ClaimJson:
        """{claim, claimed, certified {rdp, prv}, reason, source}; an infinite bound is null."""
        return {
            "claim": self.name,
            "claimed": self.claimed,
            "certified": self.certified.to_json(),
            "reason": self.reason,
            "source": self.source,
        }


def claim(name: str) -> Claim:
    """Recompute a published setting. Takes a second or two.

    Args:
        name: one of EVERY_CLAIM.

    Raises:
        InvalidValue: another name.
    """
    published = PUBLISHED.get(name) or PUBLIC_CODE.get(name)
    if published is None:
        raise InvalidValue(f"Expected claim={name!r} to be one of: {', '.join(EVERY_CLAIM)}.")
    if isinstance(published, WithoutEpsilon):
        return _without_epsilon(published)
    if isinstance(published, CheckedLate):
        return _checked_late(published)
    if isinstance(published, SanitisedGenerator):
        return _sanitised_generator(published)
    return _clipped_error_feedback(published)


def claim_of_settings(
    *,
    noise_multiplier: float,
    sampling_rate: float,
    iterations: int,
    delta: float = 1e-5,
    bands: int = 1,
    feedback_ratio: float = 0.0,
    neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE,
) -> Claim:
    """Certify settings of your own, as a claim that nobody made.

    Args:
        noise_multiplier: z, > 0. sampling_rate: q, in (0, 1/bands]. iterations: T, integer >= 1.
        delta: in (0, 1). bands: b of banded error feedback, 1 for none.
        feedback_ratio: ρ = 2·C2·qN/C1 of the published error feedback, 0 for none; then `claimed` is what its
            analysis would say.
        neighbouring: adjacency.

    Raises:
        InvalidValue: a value is out of range, or both kinds of feedback are asked for.
    """
    require_count(iterations, "iterations", least=1)
    require_delta(delta)
    event = _event_of(sampling_rate, noise_multiplier, bands, feedback_ratio)
    certified = certify(((event, iterations),), delta=delta, neighbouring=neighbouring)
    claimed = lower = None
    if event.claimed() is not None:
        claimed = claimed_epsilon(event, iterations, delta=delta)
        lower = _steered(event, iterations, delta)
        certified = _with_lower(certified, lower)
    return Claim(
        name="settings",
        delta=delta,
        claimed=claimed,
        certified=certified,
        lower=lower,
        reason=_reason_of(event, iterations),
        source="computed from the settings that were given",
        assumptions=(f"adjacency {neighbouring.value}, δ = {delta:g}", "Poisson sampling, N public"),
    )


def _event_of(sampling_rate: float, noise_multiplier: float, bands: int, feedback_ratio: float) -> Event:
    if bands != 1 and feedback_ratio:
        raise InvalidValue(f"Expected bands={bands!r} or feedback_ratio={feedback_ratio!r}, not both: one feedback.")
    if feedback_ratio:
        return HiddenFeedbackGaussian(
            sampling_rate=sampling_rate, noise_multiplier=noise_multiplier, feedback_ratio=feedback_ratio
        )
    if bands != 1:
        return BandedGaussian(sampling_rate=sampling_rate, noise_multiplier=noise_multiplier, bands=bands)
    return SubsampledGaussian(sampling_rate=sampling_rate, noise_multiplier=noise_multiplier)


def _reason_of(event: Event, iterations: int) -> str:
    if event.claimed() is not None:
        return PUBLISHED["dicesgd"].reason
    if event.bands > 1:
        return f"Banded error feedback: {iterations} steps are charged as {event.charges(iterations)} blocks."
    return "Poisson batches, one joint Gaussian release a step and nothing else."


def claimed_epsilon(event: Event, iterations: int, *, delta: float) -> float:
    """Not a bound: what the published analysis of clipped error feedback would print for these steps.

    It divides the noise by √(1 + 2·C2/C1), C2 on the scale of sums, so by √(1 + ρ), and then charges plain
    subsampled steps, as if the sampling amplified the feedback too. It does not; spend what `RdpAccountant` says.

    Args:
        event: one step. iterations: T, integer >= 1. delta: in (0, 1).

    Source: DiceSGD/optimizers_utils.py of repository 564612540/DiceSGD; docs/privacy.md, theorem 4.
    """
    require_count(iterations, "iterations", least=1)
    return claimed_epsilon_of(((event, iterations),), delta=delta)


def claimed_epsilon_of(composition: Iterable[tuple[Event, int]], *, delta: float) -> float:
    """The same, not a bound either, for steps in phases.

    Args:
        composition: (event, steps) pairs; only the published feedback's are taken at their claimed noise.
        delta: in (0, 1).
    """
    claimed = ((event.claimed() or event, steps) for event, steps in composition)
    return compose_segments(RdpAccountant(), claimed).get_epsilon(delta)


def _sanitised_generator(published: SanitisedGenerator) -> Claim:
    p = 1 / published.workers
    z = published.noise_multiplier or _noise_for(
        epsilon=published.claimed,
        sampling_rate=p,
        iterations=sum(steps for steps, _ in published.stretches),
        delta=published.delta,
    )
    stretches = tuple(Stretch(steps=steps, mu=math.sqrt(n) / z) for steps, n in published.stretches)
    once_a_step = PrvAccountant(eps_error=_COARSE)
    for steps, n in published.as_published:
        once_a_step.compose(SubsampledGaussian(sampling_rate=p, noise_multiplier=z / math.sqrt(n)), steps)
    lower = once_a_step.get_epsilon_bounds(published.delta).lower
    orders = default_orders()
    divergences = selected_divergences(orders, stretches, probability=p)
    upper = selected_epsilon(stretches, probability=p, delta=published.delta)
    certified = Certified(
        rdp=epsilon_of(divergences, Conversion.at(orders, delta=published.delta)),
        prv=EpsilonBounds(lower, upper, upper),
    )
    return _as_claim(published, certified, lower)


def _clipped_error_feedback(published: ClippedErrorFeedback) -> Claim:
    q, rho = published.sampling_rate, published.feedback_ratio
    noise_multiplier = _calibrated_noise(published) * math.sqrt(1 + rho)
    event = HiddenFeedbackGaussian(sampling_rate=q, noise_multiplier=noise_multiplier, feedback_ratio=rho)
    lower = _steered(event, published.iterations, published.delta)
    certified = certify(((event, published.iterations),), delta=published.delta, eps_error=_COARSE)
    return _as_claim(published, _with_lower(certified, lower), lower)


def _steered(event: Event, iterations: int, delta: float) -> float:
    return steering_epsilon(
        sampling_rate=event.sampling_rate,
        noise_multiplier=event.noise_multiplier,
        feedback_ratio=event.feedback_ratio or 0.0,
        iterations=iterations,
        delta=delta,
    )


def _with_lower(certified: Certified, lower: float) -> Certified:
    """The same upper bounds, with what is true of the mechanism instead of what is true of its dominating pairs."""
    prv = certified.prv
    if prv is None or prv.lower <= lower:
        return certified
    return replace(certified, prv=EpsilonBounds(lower, prv.estimate, prv.upper))


def _calibrated_noise(published: ClippedErrorFeedback) -> float:
    """The noise multiplier that the published code computes, before it inflates it."""
    return _noise_for(
        epsilon=published.claimed,
        sampling_rate=published.sampling_rate,
        iterations=published.calibrated_iterations,
        delta=published.delta,
    )


def _noise_for(*, epsilon: float, sampling_rate: float, iterations: int, delta: float) -> float:
    """The noise multiplier at which subsampled RDP says this ε, to 1e-4."""

    def says(z: float) -> float:
        event = SubsampledGaussian(sampling_rate=sampling_rate, noise_multiplier=z)
        return RdpAccountant().compose(event, iterations).get_epsilon(delta)

    low, high = 0.1, 10.0
    while high / low > 1 + 1e-4:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if says(middle) > epsilon else (low, middle)
    return high


def _checked_late(published: CheckedLate) -> Claim:
    """All steps up to the first look at which the target is reached."""
    event = SubsampledGaussian(sampling_rate=published.sampling_rate, noise_multiplier=published.noise_multiplier)

    def reached(looks: int) -> bool:
        return RdpAccountant().compose(event, looks * published.every).get_epsilon(published.delta) >= published.claimed

    low, high = 0, 1
    while not reached(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    ran = high * published.every - 1
    return Claim(
        name=published.name,
        delta=published.delta,
        claimed=published.claimed,
        certified=certify(((event, ran),), delta=published.delta),
        lower=None,
        reason=published.reason,
        source=published.source,
        assumptions=(f"{ran} steps are released", *published.assumptions),
    )


def _without_epsilon(published: WithoutEpsilon) -> Claim:
    return Claim(
        name=published.name,
        delta=published.delta,
        claimed=published.claimed,
        certified=Certified(rdp=math.inf, fallback="no ε follows from what the code does"),
        lower=None,
        reason=published.reason,
        source=published.source,
        assumptions=published.assumptions,
    )


def _as_claim(published: SanitisedGenerator | ClippedErrorFeedback, certified: Certified, lower: float) -> Claim:
    return Claim(
        name=published.name,
        delta=published.delta,
        claimed=published.claimed,
        certified=certified,
        lower=lower,
        reason=published.reason,
        source=published.source,
        assumptions=published.assumptions,
    )
