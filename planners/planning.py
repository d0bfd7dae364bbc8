"""`plan`: everything a run's privacy depends on, solved for and verified before any training.

>>> made = plan(epsilon=10.0, dataset="digits", dataset_size=1437)
>>> made.verified.rdp <= 10.0
True
>>> made.defaults["delta"]
'min(1e-5, 1/(10 N)) rounded down to one digit'
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from accountant.budget import Neighbouring, require_delta, require_epsilon
from accountant.claims.claims import claimed_epsilon_of
from accountant.composition.prv import PrvAccountant
from accountant.composition.rdp import RdpAccountant
from accountant.plans.exact_release import raised_to_cover
from accountant.plans.plan import Feedback, Part, Phase, Plan, Verified
from accountant.plans.public_facts import PublicFacts
from planners import defaults
from planners import resolve_defaults as chosen
from planners.errors import ImpossiblePlan
from planners.schedule import WHOLE, PhaseShape, split_steps
from planners.solving.cost import EventFamily
from planners.warm_start_budget import warm_start_within


def plan(
    *,
    epsilon: float,
    delta: float | None = None,
    dataset: str | None = None,
    dataset_size: int | None = None,
    public_facts: PublicFacts | None = None,
    batch_size: float | None = None,
    sampling_rate: float | None = None,
    iterations: int | None = None,
    noise_multiplier: float | None = None,
    feedback: Feedback | str = Feedback.BANDED,
    bands: int | None = None,
    shares: Mapping[str, float] | None = None,
    clip_norm: float = 1.0,
    residual_ratio: float | None = None,
    feedback_ratio: float | None = None,
    phases: Sequence[PhaseShape] = WHOLE,
    warm_start: float = 0.0,
    accountant: str = "rdp",
    neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE,
) -> Plan:
    """A verified plan; whatever is not given is chosen, and `Plan.defaults` says how.

    Args:
        epsilon: > 0, natural log. delta: in (0, 1).
        dataset: public name, for the record. dataset_size: N, stated and public.
        public_facts: classes, shape and resizing of the data, whose name is then the data set's.
        batch_size: expected, qN; or sampling_rate: q. iterations: T. noise_multiplier: joint z. At most two of
            the last three are free to give: the third is solved for; all three are verified.
        feedback: banded, paper or none.
        bands: b of banded feedback. residual_ratio: R/C1 of it, >= 0; b − 1, at which the noise is least, if None.
        shares: part → share of the privacy cost, 1/z_k² = share_k/z²; 0 drops a part.
        clip_norm: total L2 bound C1 + R on one record's gradient in each part, > 0.
        feedback_ratio: ρ of the paper's feedback, from which C2 follows.
        phases: the shape of a schedule, such as noise that falls; its factors multiply the noise multiplier and the
            sampling rate that are given, chosen or solved for.
        warm_start: part of ε that statistics of each class cost by themselves, in [0, 1); 0 releases none.
        accountant: "rdp" or "prv". neighbouring: adjacency.

    Raises:
        InvalidValue: a value is out of range. ContradictoryRequest: two values exclude each other.
        ImpossiblePlan: nothing keeps the budget with what was given; the message says what would.

    Guarantees: the accountant's upper bound on the plan's events is at most ε.
    """
    require_epsilon(epsilon)
    reasons: dict[str, str] = {}
    feedback = Feedback(feedback)
    bands = chosen.bands(feedback, bands, reasons)
    size = chosen.dataset_size(dataset_size, reasons)
    if delta is None:
        delta = defaults.default_delta(size)
        reasons["delta"] = "min(1e-5, 1/(10 N)) rounded down to one digit"
    require_delta(delta)
    statistics = warm_start_within(
        epsilon=epsilon, delta=delta, fraction=warm_start, neighbouring=neighbouring, chosen=reasons
    )
    before = () if statistics is None else tuple((release.event, 1) for release in statistics.releases())
    known: dict[str, Any] = {
        "sampling_rate": chosen.given_rate(sampling_rate, batch_size, size), "iterations": iterations,
        "noise_multiplier": noise_multiplier,
    }  # fmt: skip
    solving: dict[str, Any] = {
        "epsilon": epsilon, "delta": delta, "accountant": accountant, "neighbouring": neighbouring,
        "phases": tuple(phases), "before": before,
    }  # fmt: skip
    ratio = chosen.feedback_ratio(feedback, feedback_ratio, reasons, known=known, solving=solving)
    family = EventFamily(bands=bands, feedback_ratio=ratio, phases=tuple(phases))
    solving |= {"bands": bands, "feedback_ratio": ratio}
    q, steps, z = chosen.rate_steps_and_noise(**known, size=size, bands=bands, solving=solving, chosen=reasons)
    schedule = _schedule(family, q, z, steps)
    first = schedule[0]
    one_class = public_facts is not None and len(public_facts.classes) == 1
    kept, owed = chosen.clip_norms(clip_norm, feedback, bands, residual_ratio, reasons)
    made = Plan(
        epsilon=epsilon, delta=delta, neighbouring=neighbouring,
        dataset=dataset if public_facts is None or dataset is not None else public_facts.name,
        dataset_size=size, public_facts=public_facts,
        feedback=feedback, bands=bands, sampling_rate=first.sampling_rate, iterations=steps,
        phases=schedule if len(schedule) > 1 else (), warm_start=statistics, noise_multiplier=first.noise_multiplier,
        parts=_parts(
            chosen.shares(shares, statistics, reasons, one_class=one_class), first.noise_multiplier,
            clip_norm=kept, residual_clip_norm=owed,
            # ρ = 2·C2·qN/C1, the same in each part, is then the joint ratio too (docs/privacy.md, theorem 4). A little
            # less: what is rounded up of it must not pass what was solved for.
            feedback_clip_norm=ratio * kept / (2 * q * size) * (1 - 2.0**-48),
        ),
        accountant=accountant, defaults=reasons,
    )  # fmt: skip
    if feedback is Feedback.PAPER:
        claimed = claimed_epsilon_of(made.events(), delta=delta)
        reasons["claimed"] = f"ε = {claimed:.4f} by the published analysis, no bound and never spent"
    return _verified(made)


def _parts(shares: Mapping[str, float], noise_multiplier: float, **clip_norms: float) -> tuple[Part, ...]:
    """One part for each share, with z_k = z / sqrt(share), raised until all together have noise of at least z."""
    noise = raised_to_cover((noise_multiplier / math.sqrt(share) for share in shares.values()), noise_multiplier)
    return tuple(Part(name=name, noise_multiplier=z, **clip_norms) for name, z in zip(shares, noise, strict=True))


def _schedule(family: EventFamily, q: float, z: float, steps: int) -> tuple[Phase, ...]:
    """The phases of a plan; each must get a step, for a plan that dropped one would not be what was asked for."""
    schedule = family.schedule(sampling_rate=q, noise_multiplier=z, iterations=steps)
    if len(schedule) < len(family.phases):
        counts = ", ".join(map(str, split_steps(family.phases, steps, bands=family.bands)))
        raise ImpossiblePlan(
            f"Of {steps} steps in blocks of {family.bands} the phases get {counts}; a phase needs a block: "
            "take more steps, fewer phases, or larger shares."
        )
    return schedule


def _verified(made: Plan) -> Plan:
    """The same plan with what the accountants say of its own events, which keeps the budget."""
    rdp, prv = RdpAccountant(made.neighbouring), PrvAccountant(made.neighbouring)
    for event, steps in made.events():
        rdp.new_segment().compose(event, steps)
        prv.new_segment().compose(event, steps)
    by_rdp = rdp.get_epsilon(made.delta)
    bounds = prv.get_epsilon_bounds(made.delta) if made.accountant == "prv" else None
    spent = by_rdp if bounds is None else min(by_rdp, bounds.upper)
    if not spent <= made.epsilon:
        raise ImpossiblePlan(
            f"{made.iterations} steps at sampling_rate={made.sampling_rate:.6g} with "
            f"noise_multiplier={made.noise_multiplier:.6g} cost ε = {spent:.4g} at δ = {made.delta:g}, more than "
            f"{made.epsilon:g}; leave one of the three away and it is solved for, or plan for --epsilon {spent:.4g}."
        )
    if bounds is not None and bounds.fallback is not None:
        bounds = None
    fields = {name: getattr(made, name) for name in made.__dataclass_fields__ if name != "verified"}
    return Plan(**fields, verified=Verified(rdp=by_rdp, prv=bounds))
