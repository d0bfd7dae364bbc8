"""`plan`: everything a run's privacy depends on, solved for and verified before any training.

>>> made = plan(epsilon=10.0, dataset="digits", dataset_size=1437)
>>> made.verified.rdp <= 10.0
True
>>> made.defaults["delta"]
'min(1e-5, 1/(10 N)) rounded down to one digit'
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from accountant.budget import Neighbouring, require_delta, require_epsilon
from accountant.errors import InvalidValue
from accountant.events import require_count, require_sampling_rate
from accountant.plan import Feedback, Part, Plan, Verified
from accountant.prv import PrvAccountant
from accountant.rdp import RdpAccountant
from planners import defaults
from planners.calibrate import solve_iterations, solve_noise_multiplier, solve_sampling_rate
from planners.errors import ContradictoryRequest, ImpossiblePlan

PARTS = tuple(defaults.SHARES)


def plan(
    *,
    epsilon: float,
    delta: float | None = None,
    dataset: str | None = None,
    dataset_size: int | None = None,
    batch_size: float | None = None,
    sampling_rate: float | None = None,
    iterations: int | None = None,
    noise_multiplier: float | None = None,
    feedback: Feedback | str = Feedback.BANDED,
    bands: int | None = None,
    shares: Mapping[str, float] | None = None,
    clip_norm: float = 1.0,
    feedback_ratio: float | None = None,
    accountant: str = "rdp",
    neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE,
) -> Plan:
    """A verified plan; whatever is not given is chosen, and `Plan.defaults` says how.

    Args:
        epsilon: > 0, natural log. delta: in (0, 1).
        dataset: name, for the record. dataset_size: N, treated as public.
        batch_size: expected, qN; or sampling_rate: q. iterations: T. noise_multiplier: joint z. At most two of
            the last three are free to give: the third is solved for; all three are verified.
        feedback: banded, paper or none. bands: b of banded feedback.
        shares: part → share of the privacy cost, 1/z_k² = share_k/z²; 0 drops a part.
        clip_norm: total L2 bound C1 + R on one record's gradient in each part, > 0.
        feedback_ratio: ρ of the paper's feedback, from which C2 follows.
        accountant: "rdp" or "prv". neighbouring: adjacency.

    Raises:
        InvalidValue: a value is out of range. ContradictoryRequest: two values exclude each other.
        ImpossiblePlan: nothing keeps the budget with what was given; the message says what would.

    Guarantees: the accountant's upper bound on the plan's events is at most ε.
    """
    require_epsilon(epsilon)
    chosen: dict[str, str] = {}
    feedback = Feedback(feedback)
    bands = _bands(feedback, bands, chosen)
    ratio = _ratio(feedback, feedback_ratio, chosen)
    size = _dataset_size(dataset_size, chosen)
    if delta is None:
        delta = defaults.default_delta(size)
        chosen["delta"] = "min(1e-5, 1/(10 N)) rounded down to one digit"
    require_delta(delta)
    q, steps, z = _solve(
        epsilon=epsilon, delta=delta, size=size, q=_given_rate(sampling_rate, batch_size, size), steps=iterations,
        z=noise_multiplier, bands=bands, ratio=ratio, accountant=accountant, neighbouring=neighbouring, chosen=chosen,
    )  # fmt: skip
    made = Plan(
        epsilon=epsilon, delta=delta, neighbouring=neighbouring, dataset=dataset, dataset_size=size,
        feedback=feedback, bands=bands, sampling_rate=q, iterations=steps, noise_multiplier=z,
        parts=_parts(z, q * size, _shares(shares, chosen), clip_norm, feedback, bands, ratio, chosen),
        accountant=accountant, defaults=chosen,
    )  # fmt: skip
    return _verified(made)


def _bands(feedback: Feedback, bands: int | None, chosen: dict[str, str]) -> int:
    if feedback is not Feedback.BANDED:
        if bands not in (None, 1):
            raise ContradictoryRequest(f"Bands belong to banded feedback; leave --bands {bands} away.")
        return 1
    if bands is None:
        chosen["bands"] = "4: saves a good third of the noise for a delay of two steps (DESIGN 3.1)"
        return defaults.BANDS
    require_count(bands, "bands", least=1)
    return bands


def _ratio(feedback: Feedback, ratio: float | None, chosen: dict[str, str]) -> float:
    if feedback is not Feedback.PAPER:
        if ratio:
            raise ContradictoryRequest("feedback_ratio belongs to the paper's feedback; use feedback paper.")
        return 0.0
    if ratio is None:
        chosen["feedback_ratio"] = "0.006: what a certified budget can afford; it doubles the cost at ε = 1.4"
        return defaults.FEEDBACK_RATIO
    return ratio


def _dataset_size(size: int | None, chosen: dict[str, str]) -> int:
    if size is None:
        chosen["dataset_size"] = "60000, the size of MNIST and Fashion-MNIST; give --dataset or --dataset-size"
        return defaults.DATASET_SIZE
    require_count(size, "dataset_size", least=1)
    return size


def _given_rate(rate: float | None, batch: float | None, size: int) -> float | None:
    if rate is not None and batch is not None:
        raise ContradictoryRequest("Give the batch size or the sampling rate, not both.")
    if batch is None:
        if rate is not None:
            require_sampling_rate(rate)
        return rate
    if not (math.isfinite(batch) and 0 < batch <= size):
        raise InvalidValue(f"Expected batch_size={batch!r} in (0, {size}]; it is the expected batch, qN.")
    return batch / size


def _solve(
    *,
    epsilon: float,
    delta: float,
    size: int,
    q: float | None,
    steps: int | None,
    z: float | None,
    bands: int,
    ratio: float,
    accountant: str,
    neighbouring: Neighbouring,
    chosen: dict[str, str],
) -> tuple[float, int, float]:
    """(q, T, z): two given or chosen, the third solved for."""
    if q is None and (z is None or steps is None):
        batch = defaults.default_batch_size(size, bands=bands)
        q = batch / size
        chosen["sampling_rate"] = f"expected batch {batch}: 256, or a power of two up to N/10"
    if steps is None and z is None:
        assert q is not None
        steps = defaults.default_iterations(size, q * size, bands=bands)
        chosen["iterations"] = "five expected passes, 300 to 2000 steps, in whole blocks"
    if q is None:
        assert steps is not None and z is not None
        chosen["sampling_rate"] = "solved for: the largest that keeps the budget"
        q = solve_sampling_rate(
            epsilon=epsilon, delta=delta, noise_multiplier=z, iterations=steps, accountant=accountant,
            neighbouring=neighbouring, bands=bands, feedback_ratio=ratio,
        )  # fmt: skip
    elif steps is None:
        assert z is not None
        chosen["iterations"] = "solved for: the most that keep the budget"
        steps = solve_iterations(
            epsilon=epsilon, delta=delta, sampling_rate=q, noise_multiplier=z, accountant=accountant,
            neighbouring=neighbouring, bands=bands, feedback_ratio=ratio,
        )  # fmt: skip
    elif z is None:
        chosen["noise_multiplier"] = "solved for: the least that keeps the budget"
        z = solve_noise_multiplier(
            epsilon=epsilon, delta=delta, sampling_rate=q, iterations=steps, accountant=accountant,
            neighbouring=neighbouring, bands=bands, feedback_ratio=ratio,
        )  # fmt: skip
        # The parts' noise is rounded once more; a billionth on top keeps the promise through it.
        z *= 1 + 1e-9
    assert z is not None
    return q, steps, z


def _shares(shares: Mapping[str, float] | None, chosen: dict[str, str]) -> dict[str, float]:
    if shares is None:
        chosen["shares"] = ", ".join(f"{name} {value:g}" for name, value in defaults.SHARES.items())
        return dict(defaults.SHARES)
    if unknown := sorted(set(shares) - set(PARTS)):
        raise InvalidValue(f"Unknown parts {unknown}; a step can release: {', '.join(PARTS)}.")
    for name, value in shares.items():
        if not (math.isfinite(value) and value >= 0):
            raise InvalidValue(f"Expected share {name}={value!r} to be finite and >= 0.")
    if not shares.get("critic"):
        raise InvalidValue("Expected a share > 0 for the critic: the generator learns from it alone.")
    total = sum(shares.values())
    return {name: shares[name] / total for name in PARTS if shares.get(name)}


def _parts(
    z: float,
    batch: float,
    shares: Mapping[str, float],
    clip_norm: float,
    feedback: Feedback,
    bands: int,
    ratio: float,
    chosen: dict[str, str],
) -> tuple[Part, ...]:
    if feedback is Feedback.BANDED and bands > 1:
        kept, owed = clip_norm / bands, clip_norm * (bands - 1) / bands
        chosen["clip_norms"] = (
            f"C1 = total/{bands}, R = total·{bands - 1}/{bands}: their sum is the total {clip_norm:g}"
        )
    else:
        kept, owed = clip_norm, 0.0
    # ρ = 2·C2·qN/C1, the same in each part, is then the joint ratio too (DESIGN 3.2).
    fed_back = ratio * kept / (2 * batch)
    return tuple(
        Part(
            name=name,
            clip_norm=kept,
            residual_clip_norm=owed,
            feedback_clip_norm=fed_back,
            noise_multiplier=z / math.sqrt(share),
        )
        for name, share in shares.items()
    )


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
