"""What floating point is trusted with, and the factors that turn a computed number into a bound.

Trusted (docs/privacy.md, theorem 5a): sums, products, quotients and square roots are IEEE 754's, each off by at most
U = 2^−53 of its result; `exp`, `expm1`, `log`, `log1p` by at most 4·U of theirs; Φ by at most (16 + 4·x²)·U, where
the tests find a fifth of it against arb. Everything else is counted.

    >>> upper = above(0.1 + 0.2, roundings=1)
    >>> upper >= 0.1 + 0.2
    True
"""

from __future__ import annotations

import math

# Half the distance from 1 to the next double.
U = 2.0**-53
# Relative error of an elementary function, in units of U.
ELEMENTARY = 4.0
# Relative error of Φ(x), in units of U: constant part, and part of x².
CDF, CDF_PER_SQUARE = 16.0, 4.0
# numpy adds pairwise, in blocks of at most 128 with eight running sums: fewer than 64 roundings for 2^40 numbers.
SUM = 64.0


def above(value: float, *, roundings: float) -> float:
    """At least the value that was meant, where the computed one >= 0 went through so many relative roundings."""
    return math.nextafter(value * (1 + 2 * roundings * U), math.inf) if value > 0 else value


def below(value: float, *, roundings: float) -> float:
    """At most the value that was meant, likewise."""
    return max(0.0, math.nextafter(value * (1 - 2 * roundings * U), -math.inf)) if value > 0 else value
