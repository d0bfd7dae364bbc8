"""One order of class names: numbers by their value, so that the labels of a folder and of an npz are the same.

>>> natural_order(["10", "2", "b", "a1", "a10", "a9"])
['2', '10', 'a1', 'a9', 'a10', 'b']
"""

from __future__ import annotations

import re
from collections.abc import Iterable


def natural_order(names: Iterable[str]) -> list[str]:
    """Each name once, in natural order."""
    return sorted(set(names), key=_key)


def _key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Digits as one number, words without regard to case; the name itself where that leaves two equal."""
    parts = re.findall(r"-?\d+|\D+" if re.fullmatch(r"-?\d+", name) else r"\d+|\D+", name)
    return [(0, int(part), "") if part.lstrip("-").isdecimal() else (1, 0, part.casefold()) for part in parts], name
