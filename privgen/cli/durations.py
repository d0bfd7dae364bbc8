"""Seconds in words, rounded as people say them.

>>> [spoken(seconds) for seconds in (0.2, 42, 200, 5000, 100000)]
['under a second', '42 s', '3 min 20 s', '1 h 23 min', '27 h 46 min']
"""

from __future__ import annotations


def spoken(seconds: float) -> str:
    """Seconds, minutes or hours; two units at most."""
    whole = round(seconds)
    if whole < 1:
        return "under a second"
    minutes, rest = divmod(whole, 60)
    if not minutes:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
