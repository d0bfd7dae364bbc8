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
from dataclasses import replace

from accountant.bound_text import upper_text
from accountant.budget import Budget, Neighbouring
from accountant.claims.claims import claimed_epsilon_of
from accountant.plans.exact_release import raised_to_cover
from accountant.plans.parts import Feedback, Part, Phase, Verified
from accountant.plans.plan import Plan
from accountant.plans.planned_method import GAN, PlannedMethod
from accountant.plans.public_facts import PublicFacts
from planners import resolve_defaults as chosen
from planners.errors import ImpossiblePlan
from planners.request import PlanRequest
from planners.schedule import WHOLE, PhaseShape, split_steps
from planners.solving.cost import EventFamily, bounds_by_prv, epsilon_by_rdp
from planners.solving.solutions import Target
from planners.warm_start_budget import warm_start_within


def plan(
    *,
    epsilon: float,
    delta: float | None = None,
    dataset: str | None = None,
    dataset_size: int | None = None,
    method: PlannedMethod = GAN,
    preset: str | None = None,
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
    warm_start: float | None = None,
    spare_releases: int = 1,
    spare_blocks: int = 0,
    accountant: str = "rdp",
    neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE,
) -> Plan:
    """`plan_of` a `PlanRequest` with these values, which says what each is."""
    return plan_of(
        PlanRequest(
            epsilon=epsilon, delta=delta, dataset=dataset, dataset_size=dataset_size, method=method, preset=preset,
            public_facts=public_facts, batch_size=batch_size, sampling_rate=sampling_rate, iterations=iterations,
            noise_multiplier=noise_multiplier, feedback=Feedback(feedback), bands=bands, shares=shares,
            clip_norm=clip_norm, residual_ratio=residual_ratio, feedback_ratio=feedback_ratio, phases=tuple(phases),
            warm_start=warm_start, spare_releases=spare_releases, spare_blocks=spare_blocks, accountant=accountant,
            neighbouring=neighbouring,
        )
    )  # fmt: skip


def plan_of(request: PlanRequest) -> Plan:
    """A verified plan; whatever is not given is chosen, and `Plan.defaults` says how.

    Raises:
        InvalidValue: a value is out of range. ContradictoryRequest: two values exclude each other.
        ImpossiblePlan: nothing keeps the budget with what was given; the message says what would.

    Guarantees: the accountant's upper bound on all that the plan's caps allow, the warm start's releases and spare ones
        included, is at most ε.
    """
    method = request.method
    if request.warm_start is not None or method.needs_warm_start or not method.warm_start:
        return _planned(request)
    try:
        return _planned(request)
    except ImpossiblePlan:
        # What nobody asked for makes no plan impossible.
        made = _planned(replace(request, warm_start=0.0))
    why = "none: it would leave too little of ε for the values that are given"
    return replace(made, defaults={**made.defaults, "warm_start": why})


def _planned(request: PlanRequest) -> Plan:
    """`plan_of`, with the method's warm start where none is given."""
    reasons: dict[str, str] = {}
    bands, size = chosen.bands(request, reasons), chosen.dataset_size(request, reasons)
    delta = chosen.delta(request, size, reasons)
    budget = Budget(epsilon=request.epsilon, delta=delta, neighbouring=request.neighbouring)
    target = Target(budget=budget, accountant=request.accountant)
    statistics = warm_start_within(
        budget, fraction=chosen.warm_start(request, reasons), spare_releases=request.spare_releases, chosen=reasons,
        reason=request.method.warm_start_reason if request.warm_start is None else "",
    )  # fmt: skip
    before = () if statistics is None else statistics.charges()
    given = chosen.Given.of(request, size)
    without = EventFamily(phases=request.phases, before=before, spare_blocks=request.spare_blocks)
    ratio = chosen.feedback_ratio(request, given, target, without, reasons)
    family = replace(without, bands=bands, feedback_ratio=ratio)
    most = None if statistics is None else request.method.warm_iterations
    q, steps, z = chosen.rate_steps_and_noise(given, target, family, size, reasons, most=most)
    schedule = _schedule(family, q, z, steps)
    first = schedule[0]
    kept, owed = chosen.clip_norms(request, bands, reasons)
    made = Plan(
        epsilon=budget.epsilon, delta=delta, neighbouring=budget.neighbouring, dataset=chosen.dataset(request),
        dataset_size=size, method=request.method.name, preset=request.preset,
        public_facts=request.public_facts, feedback=request.feedback,
        bands=bands, sampling_rate=first.sampling_rate, iterations=steps,
        phases=schedule if len(schedule) > 1 else (), spare_blocks=request.spare_blocks, warm_start=statistics,
        noise_multiplier=first.noise_multiplier,
        parts=_parts(
            chosen.shares(request, statistics, reasons), first.noise_multiplier,
            clip_norm=kept, residual_clip_norm=owed,
            # ρ = 2·C2·qN/C1, the same in each part, is then the joint ratio too (docs/privacy.md, theorem 4). A little
            # less: what is rounded up of it must not pass what was solved for.
            feedback_clip_norm=ratio * kept / (2 * q * size) * (1 - 2.0**-48),
        ),
        accountant=request.accountant, defaults=reasons,
    )  # fmt: skip
    if request.feedback is Feedback.PAPER:
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
    """The same plan with what the accountants say of all that its caps allow, which keeps the budget."""
    capped = made.caps().composition()
    by_rdp = epsilon_by_rdp(capped, made.budget)
    bounds = bounds_by_prv(capped, made.budget) if made.accountant == "prv" else None
    spent = by_rdp if bounds is None else min(by_rdp, bounds.upper)
    if not spent <= made.epsilon:
        raise ImpossiblePlan(
            f"{made.iterations} steps at sampling_rate={made.sampling_rate:.6g} with "
            f"noise_multiplier={made.noise_multiplier:.6g} cost ε = {upper_text(spent)} at δ = {made.delta:g}, "
            f"more than {made.epsilon:g}; omit one of the three and it is solved for, or plan for "
            f"--epsilon {upper_text(spent)}."
        )
    if bounds is not None and bounds.fallback is not None:
        bounds = None
    return replace(made, verified=Verified(rdp=by_rdp, prv=bounds))
