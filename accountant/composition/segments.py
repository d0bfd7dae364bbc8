"""Compositions: (event, steps) pairs, each a segment that rounds its blocks up by itself.

>>> from accountant.composition.rdp import RdpAccountant
>>> from accountant.events import BandedGaussian
>>> event = BandedGaussian(sampling_rate=0.01, noise_multiplier=1.0, bands=4)
>>> apart = compose_segments(RdpAccountant(), [(event, 1), (event, 1)]).get_epsilon(1e-5)
>>> apart == RdpAccountant().compose(event.per_block, 2).get_epsilon(1e-5)
True
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, Self, TypeVar

from accountant.events import Event

Composition = tuple[tuple[Event, int], ...]


class Composes(Protocol):
    """What an accountant can do that charges events."""

    def compose(self, event: Event, count: int = 1) -> Self:
        """Charge `count` steps of the current segment."""

    def new_segment(self) -> Self:
        """Start another segment."""


A = TypeVar("A", bound=Composes)


def compose_segments(accountant: A, composition: Iterable[tuple[Event, int]]) -> A:
    """Charge each pair as a segment of its own; returns the accountant, changed.

    Raises:
        InvalidValue: an event or a number of steps is not what is expected.
    """
    for event, steps in composition:
        accountant.new_segment().compose(event, steps)
    return accountant
