"""`Certified`: both upper bounds on an ε, side by side, and the smaller of them, which is what is spent.

>>> from accountant.events import SubsampledGaussian
>>> step = SubsampledGaussian(sampling_rate=0.01, noise_multiplier=1.0)
>>> found = certify(((step, 1000),), delta=1e-5)
>>> found.prv.lower <= found.epsilon == found.prv.upper < found.rdp
True
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypedDict

from accountant.budget import EpsilonBounds, Neighbouring
from accountant.composition.prv import PrvAccountant
from accountant.composition.rdp import RdpAccountant
from accountant.composition.segments import Composition, compose_segments


class BoundsJson(TypedDict):
    """An interval around ε; an infinite end is null, for there is none."""

    lower: float | None
    estimate: float | None
    upper: float | None


class CertifiedJson(TypedDict):
    """Both upper bounds; null where there is none."""

    rdp: float | None
    prv: BoundsJson | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Certified:
    """What is proved of an ε.

    Args:
        rdp: upper bound by Rényi composition; may be infinite.
        prv: bounds by numerical composition, or None where it has no sound answer; `fallback` says why. Its
            `lower` is true of the mechanism where the published feedback is at work, and else of the pairs, which
            are attained.
    """

    rdp: float
    prv: EpsilonBounds | None = None
    fallback: str | None = None

    @property
    def epsilon(self) -> float:
        """The smaller of the two valid upper bounds: this is what is spent."""
        return self.rdp if self.prv is None else min(self.rdp, self.prv.upper)

    def to_json(self) -> CertifiedJson:
        """Both bounds."""
        prv = self.prv
        bounds = None
        if prv is not None:
            bounds = BoundsJson(lower=finite(prv.lower), estimate=finite(prv.estimate), upper=finite(prv.upper))
        return {"rdp": finite(self.rdp), "prv": bounds}


def certify(
    composition: Composition,
    *,
    delta: float,
    neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE,
    eps_error: float = 0.01,
) -> Certified:
    """Both upper bounds on the ε of a composition.

    Args:
        composition: (event, steps) pairs, each a segment. delta: in (0, 1). neighbouring: adjacency.
        eps_error: error in ε that the numerical composition may allow itself, and adds.
    """
    rdp = compose_segments(RdpAccountant(neighbouring), composition)
    prv = compose_segments(PrvAccountant(neighbouring, eps_error=eps_error), composition)
    bounds = prv.get_epsilon_bounds(delta)
    return Certified(
        rdp=rdp.get_epsilon(delta), prv=bounds if bounds.fallback is None else None, fallback=bounds.fallback
    )


def finite(value: float) -> float | None:
    """A number as JSON can hold it: an infinite bound is null, for there is none."""
    return value if math.isfinite(value) else None
