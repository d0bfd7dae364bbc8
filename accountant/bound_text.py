"""Bounds as text: an upper bound is printed rounded up and a lower one rounded down, so that print stays a bound.

>>> upper_text(8.89563), lower_text(8.89563), upper_text(float("inf"))
('8.8957', '8.8956', '∞')
>>> upper_text(1e-09), upper_text(9.9978035517), lower_text(0.0012345678)
('1.001e-9', '9.9979', '1.234e-3')
>>> upper_percent(0.10691), upper_percent(0.00102), upper_percent(1.0)
('10.7 %', '0.11 %', '100 %')
>>> upper_percent(0.9997712), upper_percent(0.99999999999)
('99.978 %', '100 %')
>>> exact_text(1e-05), exact_text(0.1 + 0.2)
('1e-05', '0.30000000000000004')
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

_PLACES, _SMALL = Decimal("0.0001"), 0.01


def upper_text(bound: float) -> str:
    """An upper bound rounded up: to four decimals, a small one to four digits; ∞ where it is infinite or no number."""
    return _rounded(bound, ROUND_CEILING) if math.isfinite(bound) else "∞"


def lower_text(bound: float) -> str:
    """A lower bound rounded down, likewise; 0 where there is none."""
    return _rounded(bound, ROUND_FLOOR) if math.isfinite(bound) else "0.0000"


def upper_percent(rate: float) -> str:
    """An upper bound on a rate in per cent, rounded up: to a decimal, below 1 % to two digits, above 99 % to three."""
    exact = min(Decimal(rate), Decimal(1)) * 100
    places = Decimal("0.1") if not 0 < exact < 1 else Decimal(1).scaleb(exact.adjusted() - 1)
    if exact > 99:
        places = Decimal("0.001")
    text = f"{exact.quantize(places, rounding=ROUND_CEILING):f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def _rounded(bound: float, rounding: str) -> str:
    exact = Decimal(bound)
    if not 0 < bound < _SMALL:
        return str(exact.quantize(_PLACES, rounding=rounding))
    # Four decimals would say 0.0000 or 0.0001 of an ε of 1e-9.
    return f"{exact.quantize(Decimal(1).scaleb(exact.adjusted() - 3), rounding=rounding):.3e}"


def exact_text(value: float) -> str:
    """A number that was given: in the shortest form that reads back as the same number."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)
