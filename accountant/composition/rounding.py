"""What floating point is trusted with, and the factors that turn a computed number into a bound.

Trusted (docs/privacy.md, theorem 5a): sums, products, quotients and square roots are IEEE 754's, each off by at most
U = 2^−53 of its result; `exp`, `expm1`, `log`, `log1p` by at most 4·U of theirs; Φ by at most (32 + 8·x²)·U, where
the tests find less than half of it against arb. Everything else is counted.

    >>> U
    1.1102230246251565e-16
"""

from __future__ import annotations

# Half the distance from 1 to the next double.
U = 2.0**-53
# Relative error of an elementary function, in units of U.
ELEMENTARY = 4.0
# Relative error of Φ(x), in units of U: constant part, and part of x².
CDF, CDF_PER_SQUARE = 32.0, 8.0
# numpy adds pairwise, in blocks of at most 128 with eight running sums: fewer than 64 roundings for 2^40 numbers.
SUM = 64.0
