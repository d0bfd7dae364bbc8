"""A run in phases, as a shape: which share of the steps has how much of the noise and of the sampling rate.

A solver scales the shape: it keeps the ratios of the noise (or of the rates, or of the steps) and finds the one
number that just keeps the budget. Noise that falls over training is

    >>> falling = (PhaseShape(share=0.5, noise=1.5), PhaseShape(share=0.5, noise=1.0))
    >>> split_steps(falling, 1001, bands=4)
    (504, 497)

Each phase is a segment of its own (docs/privacy.md, theorem 3): its blocks are rounded up by themselves and
nothing that is owed crosses into the next. So phases are cut where blocks end.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from accountant.errors import InvalidValue
from accountant.scalars import is_number, keep_plain

# Shares such as 0.333, 0.333, 0.334 are meant to be the whole; 0.3, 0.3, 0.3 are not.
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseShape:
    """One phase relative to the plan's noise multiplier and sampling rate.

    Args:
        share: of all steps, in (0, 1]; the shares of a schedule sum to 1.
        noise: this phase's noise multiplier ÷ the one that is given or solved for, > 0.
        rate: the same of the sampling rate, > 0.

    Raises:
        InvalidValue: a value is out of range.
    """

    share: float
    noise: float = 1.0
    rate: float = 1.0

    def __post_init__(self) -> None:
        keep_plain(self)
        for name in ("share", "noise", "rate"):
            value = getattr(self, name)
            if not (is_number(value) and math.isfinite(value) and value > 0):
                raise InvalidValue(f"Expected a phase's {name}={value!r} to be finite and > 0.")


WHOLE = (PhaseShape(share=1.0),)


def require_whole(phases: Sequence[PhaseShape]) -> None:
    """Raise InvalidValue unless the shares sum to 1."""
    total = math.fsum(phase.share for phase in phases)
    if not abs(total - 1) <= _ROUNDING:
        shares = ", ".join(f"{phase.share / total:.3g}" for phase in phases) if total else "0.5, 0.5"
        raise InvalidValue(
            f"Expected the phases' shares to sum to 1, got {total:g}; their shares of all steps would be {shares}, "
            "and --iterations says how many steps there are."
        )


def split_steps(phases: Sequence[PhaseShape], iterations: int, *, bands: int) -> tuple[int, ...]:
    """Steps of each phase, in whole blocks but for the last; a phase too short for a block gets 0.

    Args:
        phases: whose shares sum to 1. iterations: T >= 1. bands: steps of a block, >= 1.

    Returns:
        One count a phase; they sum to T. T and ⌈T/b⌉·b give the same number of blocks in each.
    """
    blocks = -(-iterations // bands)
    ends, before = [], 0.0
    for phase in phases[:-1]:
        before += phase.share
        ends.append(min(iterations, math.floor(before * blocks + 0.5) * bands))
    edges = [0, *ends, iterations]
    return tuple(end - start for start, end in itertools.pairwise(edges))
