"""Means and spreads over seeds, and which differences are more than what seeds scatter.

A difference of two means is significant if it exceeds, in standard errors, the two-sided 5 % point of Student's t with
as many degrees of freedom as there are seeds less two. Out of many comparisons, one in twenty is then chance.

>>> gap = difference(Spread.of([82.0, 82.2, 82.4]), Spread.of([80.0, 80.2, 80.4]))
>>> f"{gap.mean:.1f} ± {gap.error:.2f}", gap.told_apart
('2.0 ± 0.16', True)
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from scipy.stats import t as student


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """The mean and the spread of some numbers.

    Args:
        mean: of the numbers. std: sample standard deviation, 0 for one number. count: how many there are.
    """

    mean: float
    std: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of at least one number."""
        numbers = list(values)
        std = statistics.stdev(numbers) if len(numbers) > 1 else 0.0
        return cls(mean=statistics.fmean(numbers), std=std, count=len(numbers))

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return self.std / math.sqrt(self.count)

    def __str__(self) -> str:
        return self.text(2)

    def text(self, digits: int) -> str:
        """Mean ± standard deviation; of one number there is no deviation to state."""
        return f"{self.mean:.{digits}f}" + (f" ± {self.std:.{digits}f}" if self.count > 1 else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A difference of two means.

    Args:
        mean: one − other. error: its standard error. count: the seeds of both together.
    """

    mean: float
    error: float
    freedom: int

    @property
    def told_apart(self) -> bool:
        """Whether it is significant by Student's t; with one seed on a side nothing is."""
        return self.freedom > 0 and abs(self.mean) > float(student.ppf(0.975, self.freedom)) * self.error

    def text(self, digits: int) -> str:
        """The difference ± its standard error, bold where it is significant."""
        text = f"{self.mean:+.{digits}f}" + (f" ± {self.error:.{digits}f}" if self.freedom > 0 else "")
        return f"**{text}**" if self.told_apart else text


def difference(one: Spread, other: Spread) -> Difference:
    """`one` − `other`."""
    several = min(one.count, other.count) > 1
    return Difference(
        mean=one.mean - other.mean,
        error=math.hypot(one.error, other.error),
        freedom=one.count + other.count - 2 if several else 0,
    )
