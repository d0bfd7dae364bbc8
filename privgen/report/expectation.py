"""What to expect of few records before anything is spent: from what was measured, and never beyond it.

The table is docs/results/few-records.md's, whose commands anybody can repeat: the accuracy on real test images of a CNN
that was trained on generated images alone (gen2real), and the same of real images.

    >>> nearest(1000, 8.0).records, nearest(1000, 8.0).epsilon
    (1437, 10.0)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accountant.plans.plan import Plan

# With more records than that there is more to be said than this table can.
FEW = 6_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One line of the page.

    Args:
        data, records, epsilon: what was trained on, N, and ε. found, real: gen2real in per cent, of generated and of
            real images; one seed. warm: with a warm start.
    """

    data: str
    records: int
    epsilon: float
    found: float
    real: float
    warm: bool


MEASURED: tuple[Measured, ...] = (
    Measured(data="digits", records=1437, epsilon=10.0, found=86.11, real=97.50, warm=False),
    Measured(data="digits", records=1437, epsilon=10.0, found=90.83, real=97.50, warm=True),
    Measured(data="digits", records=1437, epsilon=3.0, found=43.61, real=97.50, warm=True),
    Measured(data="digits", records=1437, epsilon=1.0, found=13.61, real=97.50, warm=True),
    Measured(data="mnist-5k", records=4000, epsilon=10.0, found=78.70, real=97.30, warm=False),
    Measured(data="mnist-5k", records=4000, epsilon=10.0, found=89.00, real=97.30, warm=True),
)


def nearest(records: int, epsilon: float) -> Measured:
    """The measured line that is nearest in the logarithms of N and ε; of several the best."""

    def distance(one: Measured) -> tuple[float, float]:
        far = abs(math.log(one.records / records)) + abs(math.log(one.epsilon / epsilon))
        return far, -one.found

    return min(MEASURED, key=distance)


def expectation(plan: Plan) -> str | None:
    """What was measured nearest to a plan of few records, in two sentences; None where there are more than `FEW`."""
    if plan.dataset_size > FEW:
        return None
    near = nearest(plan.dataset_size, plan.epsilon)
    warm = " with a warm start" if near.warm else ""
    fewer = plan.dataset_size < near.records or plan.epsilon < near.epsilon
    harder = "fewer records or a smaller ε give less, and " if fewer else ""
    return (
        f"{plan.dataset_size} records are few. Measured nearest: {near.records} records of {near.data} at ε = "
        f"{near.epsilon:g}{warm}: a CNN that learns from generated images alone is right on {near.found:.1f} % of real "
        f"test images, and on {near.real:.1f} % when it learns from real ones; {harder}photographs or finer classes "
        "give less (docs/results/few-records.md)."
    )
