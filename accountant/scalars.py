"""What counts as a number: Python's and numpy's, and never a truth value.

A value that is kept (in an event, a budget, a plan) is kept as Python's own int or float, so that it goes into JSON and
comes back equal; `numpy.float32(0.1)` is kept as the number that it is, 0.10000000149011612.

    >>> import numpy as np
    >>> is_number(np.float32(1.5)), is_integer(np.int64(3)), is_number(True), is_number("1")
    (True, True, False, False)
    >>> plain(np.int64(3))
    3
"""

from __future__ import annotations

import numbers
from dataclasses import fields
from typing import Any, TypeGuard


def is_number(value: object) -> TypeGuard[float]:
    """Whether this is a real number, of whatever library; bool and numpy.bool are none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_integer(value: object) -> TypeGuard[int]:
    """Whether this is an integer, of whatever library; bool and numpy.bool are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def plain(value: Any) -> Any:
    """A number as Python's own int or float; anything else as it is."""
    if is_integer(value):
        return int(value)
    return float(value) if is_number(value) else value


def keep_plain(instance: Any) -> None:
    """First thing in a frozen dataclass's `__post_init__`: every field that is a number, as Python's own."""
    for field in fields(instance):
        object.__setattr__(instance, field.name, plain(getattr(instance, field.name)))
