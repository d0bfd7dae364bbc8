"""What other people's accountants say of the same steps, beside ours: a second opinion, each with its known faults.

prv-accountant is installed with the project and shares no code with it; dp_accounting and Opacus are asked where they
are installed. Each opinion is an interval or one bound, with the error that its authors state.
Opinions that contradict ours by more than that are a fault, of theirs or of ours: nobody should have to guess whose.

    >>> from accountant.budget import Budget
    >>> from accountant.events import SubsampledGaussian
    >>> step = SubsampledGaussian(sampling_rate=0.01, noise_multiplier=1.0)
    >>> ours, theirs, *_ = second_opinions(((step, 100),), Budget(epsilon=1.0, delta=1e-5))
    >>> theirs.who, theirs.status, theirs.lower <= ours.upper
    ('prv-accountant', 'agrees', True)
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TypedDict

from accountant.adapters import neighbouring_relation, to_dp_event, to_opacus_accountant
from accountant.budget import Budget, Neighbouring
from accountant.composition.certified import Certified, certify, finite
from accountant.composition.segments import Composition

AGREES, DISAGREES, SILENT = "agrees", "disagrees", "cannot say"
# Of ε; printed numbers and other people's last digits differ by less.
_LAST_DIGITS = 1e-6
# prv-accountant's own allowance, of our ε: small enough to mean something, large enough to fit into memory.
_ALLOWANCE, _LEAST_ALLOWANCE = 0.02, 0.01
_MESH, _LEAST_MESH = 2e-4, 1e-6


class OpinionJson(TypedDict):
    """An opinion as JSON; what is not said is null."""

    who: str
    version: str | None
    status: str
    lower: float | None
    upper: float | None
    reason: str
    faults: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Opinion:
    """What one accountant says.

    Args:
        who: its name. version: of the package, None for our own.
        status: "agrees", "disagrees" or "cannot say". reason: why, or how it was asked.
        lower, upper: its bounds on ε; None where it gives none.
        faults: what is known to be wrong with it, or not to be in it.
    """

    who: str
    version: str | None = None
    status: str
    lower: float | None = None
    upper: float | None = None
    reason: str
    faults: str

    def to_json(self) -> OpinionJson:
        """The opinion as JSON."""
        return {
            "who": self.who,
            "version": self.version,
            "status": self.status,
            "lower": None if self.lower is None else finite(self.lower),
            "upper": None if self.upper is None else finite(self.upper),
            "reason": self.reason,
            "faults": self.faults,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Referee:
    """Somebody to ask: (composition, budget, our upper bound) → (lower, upper), and what is known of them."""

    package: str
    who: str
    ask: Callable[[Composition, Budget, float], tuple[float | None, float | None]]
    how: str
    faults: str


def second_opinions(composition: Composition, budget: Budget, ours: Certified | None = None) -> tuple[Opinion, ...]:
    """Ours first, then everybody's.

    Args:
        composition: (event, steps) pairs, each a segment. budget: its δ and adjacency are used.
        ours: what was certified of it, or None to compute it here.
    """
    ours = ours or certify(composition, delta=budget.delta, neighbouring=budget.neighbouring)
    lower = None if ours.prv is None else ours.prv.lower
    own = Opinion(
        who="privgen",
        status=AGREES,
        lower=lower,
        upper=ours.epsilon,
        reason="worst-case bounds; the smaller of RDP's and PRV's",
        faults="none known; that is what the others are asked for",
    )
    return (own, *(_asked(referee, composition, budget, own) for referee in _REFEREES))


def disagreement(opinions: tuple[Opinion, ...]) -> Opinion | None:
    """The first opinion that contradicts ours, if any."""
    return next((one for one in opinions if one.status == DISAGREES), None)


def _asked(referee: _Referee, composition: Composition, budget: Budget, own: Opinion) -> Opinion:
    known = Opinion(who=referee.who, status=SILENT, reason="", faults=referee.faults)
    try:
        known = replace(known, version=version(referee.package))
    except PackageNotFoundError:
        return replace(known, reason=f"{referee.package} is not installed")
    assert own.upper is not None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lower, upper = referee.ask(composition, budget, own.upper)
    # Whatever a foreign library raises is its answer: it cannot say.
    except Exception as error:
        return replace(known, reason=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    if any(value is not None and math.isnan(value) for value in (lower, upper)):
        return replace(known, reason="its answer is not a number")
    contradiction = _contradiction(own, lower, upper)
    return replace(
        known,
        status=DISAGREES if contradiction else AGREES,
        lower=None if lower is None else max(0.0, lower),
        upper=upper,
        reason=contradiction or referee.how,
    )


def _contradiction(own: Opinion, lower: float | None, upper: float | None) -> str | None:
    """Why both cannot be right, or None."""
    assert own.upper is not None
    room = _LAST_DIGITS * max(own.upper, 1e-3)
    if lower is not None and lower > own.upper + room:
        return "its lower bound is above our upper bound"
    if upper is not None and own.lower is not None and upper < own.lower - room:
        return "its upper bound is below our lower bound"
    return None


def _prv_accountant(composition: Composition, budget: Budget, epsilon: float) -> tuple[float, float]:
    """Gopi, Lee & Wutschitz 2021, theorem 5.5, on laws of their own."""
    library = importlib.import_module("prv_accountant")
    if budget.neighbouring is not Neighbouring.ADD_OR_REMOVE_ONE:
        raise ValueError("it composes one record added or removed, and no replacement")
    laws, counts = [], []
    for event, steps in composition:
        pair = event.dominating_pair(budget.neighbouring)
        rate = pair.sampling_rate
        if rate is None:
            raise ValueError("it has no mechanism whose first distribution is another mixture")
        law = (
            library.GaussianMechanism(noise_multiplier=pair.sigma)
            if rate == 1
            else library.PoissonSubsampledGaussianMechanism(sampling_probability=rate, noise_multiplier=pair.sigma)
        )
        laws.append(law)
        counts.append(event.charges(steps))
    allowance = max(_LEAST_ALLOWANCE, _ALLOWANCE * epsilon)
    accountant = library.PRVAccountant(
        prvs=laws, max_self_compositions=counts, eps_error=allowance, delta_error=budget.delta / 1000
    )
    lower, _, upper = accountant.compute_epsilon(budget.delta, counts)
    return float(lower), float(upper)


def _dp_accounting(composition: Composition, budget: Budget, epsilon: float) -> tuple[None, float]:
    """Pessimistic privacy loss distributions, connect-the-dots."""
    library = importlib.import_module("dp_accounting.pld.pld_privacy_accountant")
    if budget.neighbouring is not Neighbouring.ADD_OR_REMOVE_ONE:
        raise ValueError("it is not asked about replacing a record, which its RDP ignores")
    accountant = library.PLDAccountant(
        neighbouring_relation(budget.neighbouring),
        value_discretization_interval=max(_LEAST_MESH, min(_MESH, epsilon * 1e-3)),
    )
    accountant.compose(to_dp_event(composition))
    return None, float(accountant.get_epsilon(budget.delta))


def _opacus(composition: Composition, budget: Budget, epsilon: float) -> tuple[None, float]:
    """Rényi differential privacy at its own orders."""
    del epsilon
    if budget.neighbouring is not Neighbouring.ADD_OR_REMOVE_ONE:
        raise ValueError("it accounts for one record added or removed, and for no replacement")
    return None, float(to_opacus_accountant(composition, "rdp").get_epsilon(budget.delta))


_REFEREES = (
    _Referee(
        package="prv-accountant",
        who="prv-accountant",
        ask=_prv_accountant,
        how="its theorem 5.5, an interval; 2 % of ε is allowed to its mesh",
        faults="composes the remove direction only; rounding of its transforms is not in its bound; gives up where its "
        "mesh does not hold the mean",
    ),
    _Referee(
        package="dp-accounting",
        who="dp_accounting (PLD)",
        ask=_dp_accounting,
        how="a pessimistic upper bound; it gives no lower one",
        faults="rounding of its transforms is not in its bound; its RDP prices no mixture and ignores replace-one",
    ),
    _Referee(
        package="opacus",
        who="Opacus (RDP)",
        ask=_opacus,
        how="an upper bound by Rényi orders up to 63",
        faults="orders from 1.1 to 63 only, a floor under small ε; its PRV is a copy of prv-accountant's, and its GDP "
        "is no bound",
    ),
)
