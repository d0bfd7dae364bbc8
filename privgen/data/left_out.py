"""What contributes nothing, and why: a file that is no image, a record of a class that the plan does not list.

A refusal would be an output that one record decides; leaving that record out is not. Whoever owns the data is told,
and nobody else: these lists never go into release/.

    >>> lines_of([LeftOut("a/1.png", "a truncated file"), LeftOut("b/2.png", "a truncated file")])
    ('2 left out: a truncated file (a/1.png, b/2.png)',)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# Names in one line.
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One record or file that is not trained on.

    Args:
        name: its file, or its place in the file; what is no text in it is escaped. reason: why, without the name.
    """

    name: str
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _printable(self.name))
        object.__setattr__(self, "reason", _printable(self.reason))


def _printable(text: str) -> str:
    """As any terminal and any file takes it: the name of a file need not be UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


class UnusableRecord(Exception):
    """One record cannot be used; the message is the reason. It never leaves the loader: the record is left out."""


def lines_of(left_out: Iterable[LeftOut]) -> tuple[str, ...]:
    """A line for each reason, the most frequent first: how many, and some of their names."""
    by_reason: dict[str, list[str]] = {}
    for one in left_out:
        by_reason.setdefault(one.reason, []).append(one.name)
    rows = sorted(by_reason.items(), key=lambda row: -len(row[1]))
    return tuple(
        f"{len(names)} left out: {reason} ({', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''})"
        for reason, names in rows
    )
