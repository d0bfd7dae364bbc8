"""Bounds as text: an upper bound is printed rounded up and a lower one rounded down, so that print stays a bound.

>>> upper_text(8.89563), lower_text(8.89563), upper_text(float("inf"))
('8.8957', '8.8956', '∞')
>>> exact_text(1e-05), exact_text(0.1 + 0.2)
('1e-05', '0.30000000000000004')
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

_PLACES = Decimal("0.0001")


def upper_text(bound: float) -> str:
    """An upper bound to four decimals, rounded up; ∞ where it is infinite or not a number."""
    return str(Decimal(bound).quantize(_PLACES, rounding=ROUND_CEILING)) if math.isfinite(bound) else "∞"


def lower_text(bound: float) -> str:
    """A lower bound to four decimals, rounded down; 0 where there is none."""
    return str(Decimal(bound).quantize(_PLACES, rounding=ROUND_FLOOR)) if math.isfinite(bound) else "0.0000"


def exact_text(value: float) -> str:
    """A number that was given: in the shortest form that reads back as the same number."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)
