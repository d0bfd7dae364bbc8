"""What is promised and what is spent: `Budget`, `EpsilonBounds`, `Neighbouring`.

>>> Budget(epsilon=10.0, delta=1e-5).neighbouring
<Neighbouring.ADD_OR_REMOVE_ONE: 'add-or-remove-one'>
>>> EpsilonBounds(lower=0.9, estimate=1.0, upper=1.1).upper
1.1
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from accountant.errors import InvalidValue
from accountant.scalars import is_number, keep_plain


class Neighbouring(Enum):
    """Which data sets count as neighbours (docs/notation.md)."""

    ADD_OR_REMOVE_ONE = "add-or-remove-one"
    REPLACE_ONE = "replace-one"


def require_epsilon(epsilon: float, name: str = "epsilon") -> None:
    """Raise InvalidValue unless epsilon is a finite number above zero."""
    if not (is_number(epsilon) and math.isfinite(epsilon) and epsilon > 0):
        raise InvalidValue(
            f"Expected {name}={epsilon!r} to be a finite number > 0; for data about people 1 to 3 are strong, and up "
            "to 10 is usual."
        )


def require_delta(delta: float, name: str = "delta") -> None:
    """Raise InvalidValue unless 0 < delta < 1."""
    if not (is_number(delta) and 0 < delta < 1):
        raise InvalidValue(f"Expected {name}={delta!r} in (0, 1); choose it well below 1/N, for example --delta 1e-5.")


def require_neighbouring(neighbouring: Neighbouring) -> None:
    """Raise InvalidValue unless the adjacency is one of the two that are defined."""
    if not isinstance(neighbouring, Neighbouring):
        names = ", ".join(n.value for n in Neighbouring)
        raise InvalidValue(f"Expected neighbouring={neighbouring!r} to be a Neighbouring, one of: {names}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """The promise: (epsilon, delta)-DP under an adjacency.

    Args:
        epsilon: natural log, finite, > 0.
        delta: 0 < delta < 1.
        neighbouring: adjacency; add-or-remove-one unless asked otherwise.

    Raises:
        InvalidValue: a value is out of range.
    """

    epsilon: float
    delta: float
    neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE

    def __post_init__(self) -> None:
        keep_plain(self)
        require_epsilon(self.epsilon)
        require_delta(self.delta)
        require_neighbouring(self.neighbouring)


@dataclass(frozen=True, slots=True)
class EpsilonBounds:
    """A certified interval around an epsilon, and the point estimate inside it. Spend `upper`.

    Args:
        lower: the true value is at least this, >= 0.
        estimate: best guess; never spent.
        upper: the true value is at most this; may be infinite.
        fallback: why `upper` is another method's bound, where the method that was asked had no sound answer.

    Raises:
        InvalidValue: the three are not ordered, or one is NaN.
    """

    lower: float
    estimate: float
    upper: float
    fallback: str | None = None

    def __post_init__(self) -> None:
        keep_plain(self)
        if not 0 <= self.lower <= self.estimate <= self.upper:
            raise InvalidValue(
                f"Expected 0 <= lower <= estimate <= upper, got {self.lower!r}, {self.estimate!r}, "
                f"{self.upper!r}; a failed bound is (0, inf, inf)."
            )
