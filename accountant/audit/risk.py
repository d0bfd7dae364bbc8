"""What an (ε, δ) means for a person: how well the best attack there can be tells whether a record was used.

Every figure is an upper bound for every attacker, however much he knows, and holds in both directions: from the privacy
profile δ(ε) of what is released (`accountant.composition.privacy_profile`), by PRV and by RDP, whichever is less.
The proofs are docs/privacy.md's, "What an attacker can reach".

| figure | bound |
|---|---|
| true-positive rate at a false-positive rate α | least of `e^ε·α + δ(ε)` and `1 − e^(−ε)·(1 − α − δ(ε))` over ε |
| advantage: the largest difference of both rates | `δ(0)` |
| posterior from a prior π, but with probability 2δ | `π/(π + (1−π)·e^(−t))`, t the least `ε − log(1 − δ(ε)/2δ)` |
| belief in an accusation at a false-positive rate α | `π·TPR / (π·TPR + (1 − π)·α)` |

    >>> from accountant.events import SubsampledGaussian
    >>> step = SubsampledGaussian(sampling_rate=1.0, noise_multiplier=1.0)
    >>> risk = risk_of(((step, 1),), delta=1e-5)  # one Gaussian release, μ = 1
    >>> [round(rate, 4) for rate in risk.tpr.values()], round(risk.advantage, 4), round(risk.mu, 3)
    ([0.0183, 0.0924, 0.3891], 0.3829, 1.0)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypedDict

import numpy as np

from accountant.audit.guarantee import Guarantee
from accountant.budget import Budget, Neighbouring, require_delta
from accountant.composition.prv import PrvAccountant
from accountant.composition.segments import Composition, compose_segments
from accountant.events import require_count
from accountant.mixtures import Floats
from accountant.plans.plan import Plan
from accountant.scalars import plain

FALSE_POSITIVE_RATES = (0.001, 0.01, 0.1)
PRIORS = (0.5, 0.01)
# One person's images, say: a record by itself first.
GROUP_SIZES = (1, 2, 5, 10)
# ε at which the profile is read: lines so close that their envelope is the curve, to 5e-5; finer near 0 for small
# budgets, and beyond for beliefs.
READ_AT = np.concatenate(
    [
        [0.0],
        np.geomspace(1e-6, 0.002, 60),
        np.linspace(0.002, 0.4, 200)[1:],
        np.linspace(0.4, 8.0, 381)[1:],
        np.linspace(8.0, 60.0, 261)[1:],
    ]
)
# Rounding of the few operations after the profile.
_ROUNDED = 1 + 1e-12
# Where an attack is that sure, no Gaussian is close.
_CERTAIN = 1 - 1e-6
_LARGEST_MU = 12.0


class RiskJson(TypedDict):
    """The risk of one record, or of a group of so many; every figure but `mu` is an upper bound."""

    group_size: int
    tpr: dict[str, float]
    advantage: float
    posterior: dict[str, float]
    posterior_but_with_probability: float
    belief_in_an_accusation: dict[str, dict[str, float]]
    mu: float | None
    mu_distance: float | None


class RisksJson(RiskJson):
    """Of one record, and of groups."""

    groups: list[RiskJson]


@dataclass(frozen=True, kw_only=True, slots=True)
class Risk:
    """What the best attack on the membership of `group_size` records together can reach.

    Args:
        group_size: records that are all in or all out, >= 1.
        tpr: highest true-positive rate at each false-positive rate. advantage: largest TPR − FPR.
        posterior: for each prior, the belief that is passed with probability `exceptions` at most.
        exceptions: that probability, twice the budget's δ.
        accused: for each false-positive rate and prior, how sure the best attack's accusation makes.
        mu: of the Gaussian trade-off that is closest, a description and no bound; None where none is close.
        mu_distance: how far its true-positive rates are from the curve, at most.
    """

    group_size: int
    tpr: Mapping[float, float]
    advantage: float
    posterior: Mapping[float, float]
    exceptions: float
    accused: Mapping[float, Mapping[float, float]]
    mu: float | None
    mu_distance: float | None

    def to_json(self) -> RiskJson:
        """As JSON; rates and priors are keys such as "0.001"."""
        return {
            "group_size": self.group_size,
            "tpr": {_key(rate): value for rate, value in self.tpr.items()},
            "advantage": self.advantage,
            "posterior": {_key(prior): value for prior, value in self.posterior.items()},
            "posterior_but_with_probability": self.exceptions,
            "belief_in_an_accusation": {
                _key(rate): {_key(prior): value for prior, value in beliefs.items()}
                for rate, beliefs in self.accused.items()
            },
            "mu": self.mu,
            "mu_distance": self.mu_distance,
        }


def _key(value: float) -> str:
    return f"{value:g}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Risks:
    """Of one record, and of groups of several.

    Args:
        one: of a single record. groups: of more, in growing order.
    """

    one: Risk
    groups: tuple[Risk, ...]

    def to_json(self) -> RisksJson:
        """The single record's figures, and those of groups in a list."""
        return {**self.one.to_json(), "groups": [group.to_json() for group in self.groups]}


def risks_of(
    composition: Composition,
    *,
    delta: float,
    neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE,
    group_sizes: Iterable[int] = GROUP_SIZES,
) -> Risks:
    """`risk_of` one record and of groups.

    Args:
        group_sizes: of the groups; one record is always there.
    """
    sizes = sorted({1, *group_sizes})
    one, *groups = (risk_of(composition, delta=delta, neighbouring=neighbouring, group_size=size) for size in sizes)
    return Risks(one=one, groups=tuple(groups))


def risks_of_plan(plan: Plan, group_sizes: Iterable[int] = GROUP_SIZES) -> Risks:
    """Of all that a plan may ever charge, crashes included."""
    return risks_of(
        plan.caps().composition(), delta=plan.delta, neighbouring=plan.neighbouring, group_sizes=group_sizes
    )


def risks_of_guarantee(guarantee: Guarantee, budget: Budget, group_sizes: Iterable[int] = GROUP_SIZES) -> Risks:
    """Of a run: of what may ever be charged where that was fixed, else of the (ε, δ) that is guaranteed."""
    if guarantee.composition is None:
        return risks_of_promise(epsilon=guarantee.epsilon, delta=budget.delta, group_sizes=group_sizes)
    return risks_of(
        guarantee.composition, delta=budget.delta, neighbouring=budget.neighbouring, group_sizes=group_sizes
    )


def risk_of(
    composition: Composition,
    *,
    delta: float,
    neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE,
    group_size: int = 1,
) -> Risk:
    """What the best attack can reach on what is released.

    Args:
        composition: (event, steps) pairs, each a segment, fixed in advance. delta: in (0, 1); a posterior belief may be
            passed with twice that probability. neighbouring: adjacency. group_size: records together, integer >= 1.

    Raises:
        InvalidValue: a value is out of range.

    Guarantees: every figure but `mu` is at least what any attacker reaches who knows everything but whether these
    records were used.
    """
    require_delta(delta)
    require_count(group_size, "group_size", least=1)
    return _risk_of(tuple(composition), plain(delta), neighbouring, plain(group_size))


def risks_of_promise(*, epsilon: float, delta: float, group_sizes: Iterable[int] = GROUP_SIZES) -> Risks:
    """The same where no more is known than (ε, δ): of a budget that a guard may use up in whatever way.

    `f_{ε,δ}` (Dong, Roth & Su 2022, arXiv 1905.02383, proposition 3) has `δ(ε′) = δ + (1 − δ)(e^ε − e^ε′)/(1 + e^ε)`
    below ε; a group of k has (kε, δ(e^{kε} − 1)/(e^ε − 1)).

    Args:
        epsilon: >= 0, may be infinite. delta: in (0, 1). group_sizes: of the groups; one record is always there.
    """
    require_delta(delta)
    epsilon, delta = plain(epsilon), plain(delta)
    one, *groups = (_risk_of_promise(epsilon, delta, size) for size in sorted({1, *group_sizes}))
    return Risks(one=one, groups=tuple(groups))


def _risk_of_promise(epsilon: float, delta: float, size: int) -> Risk:
    total = size * epsilon
    with np.errstate(over="ignore", invalid="ignore"):
        grown = size if epsilon == 0 else float(np.expm1(total) / np.expm1(epsilon))
        whole = min(1.0, delta * grown) if math.isfinite(grown) else 1.0
        # (e^ε − e^ε′)/(1 + e^ε) without a large number.
        below = -np.expm1(np.minimum(READ_AT - total, 0.0)) / (1 + math.exp(-total))
    return _risk(np.minimum(whole + (1 - whole) * below, 1.0) * _ROUNDED, delta, size)


@lru_cache(maxsize=256)
def _risk_of(composition: Composition, delta: float, neighbouring: Neighbouring, group_size: int) -> Risk:
    composed = compose_segments(PrvAccountant(neighbouring, group_size=group_size), composition)
    return _risk(composed.get_deltas(READ_AT), delta, group_size)


def _risk(deltas: Floats, delta: float, group_size: int) -> Risk:
    """From the profile at `READ_AT`."""
    curve = _TradeOff(epsilons=READ_AT, deltas=deltas)
    tpr = {rate: curve.tpr(rate) for rate in FALSE_POSITIVE_RATES}
    loss = _loss_passed(READ_AT, deltas, 2 * delta)
    mu, distance = _closest_gaussian(curve)
    return Risk(
        group_size=group_size,
        tpr=tpr,
        advantage=min(1.0, float(deltas[0]) * _ROUNDED),
        posterior={prior: _belief(prior, math.exp(-loss)) for prior in PRIORS},
        exceptions=2 * delta,
        accused={
            rate: {prior: _belief(prior, rate / max(high, rate)) for prior in PRIORS} for rate, high in tpr.items()
        },
        mu=mu,
        mu_distance=distance,
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _TradeOff:
    """The highest true-positive rate over the false-positive rate, from the profile at many ε."""

    epsilons: Floats
    deltas: Floats

    def tpr(self, rate: float) -> float:
        """At one false-positive rate, at most 1."""
        with np.errstate(over="ignore"):
            accusing = np.exp(self.epsilons) * rate + self.deltas
        clearing = 1 - np.exp(-self.epsilons) * (1 - rate - self.deltas)
        return min(1.0, float(min(accusing.min(), clearing.min())) * _ROUNDED)


def _loss_passed(epsilons: Floats, deltas: Floats, probability: float) -> float:
    """t such that the privacy loss is above it with this probability at most; ∞ where none is known.

    (1 − e^(ε−L))₊ is at least 1 − e^(ε−t) where L > t; so P(L > t) <= δ(ε) / (1 − e^(ε−t)), by Markov's inequality.
    """
    below = deltas < probability
    if not below.any():
        return math.inf
    return float(np.min(epsilons[below] - np.log1p(-deltas[below] / probability))) * _ROUNDED


def _belief(prior: float, odds: float) -> float:
    """π / (π + (1 − π)·odds), rounded up."""
    return min(1.0, prior / (prior + (1 - prior) * odds) * _ROUNDED)


def _closest_gaussian(curve: _TradeOff) -> tuple[float | None, float | None]:
    """(μ, largest difference of true-positive rates) of the Gaussian trade-off that is closest to the curve."""
    from scipy.optimize import minimize_scalar
    from scipy.special import ndtr, ndtri

    if curve.deltas[0] > _CERTAIN:
        return None, None
    rates = np.concatenate([np.geomspace(1e-5, 0.05, 60), np.linspace(0.06, 0.98, 47)])
    reached = np.array([curve.tpr(float(rate)) for rate in rates])

    def distance(mu: float) -> float:
        return float(np.abs(ndtr(ndtri(rates) + mu) - reached).max())

    middle = 2 * float(ndtri((1 + curve.deltas[0]) / 2))
    found = minimize_scalar(distance, bounds=(0.5 * middle, min(_LARGEST_MU, 1.5 * middle + 1e-9)), method="bounded")
    return float(found.x), float(found.fun)
