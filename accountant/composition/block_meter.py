"""How steps become charges: a banded segment is charged a whole block at the start of each cycle.

>>> meter = BlockMeter()
>>> event = BandedGaussian(sampling_rate=0.01, noise_multiplier=1.0, bands=4)
>>> [meter.charge(event, 1) for _ in range(5)]
[1, 0, 0, 0, 1]
>>> meter.cut()
>>> meter.charge(event, 1)
1
"""

from __future__ import annotations

from accountant.events import BandedGaussian, Event


class BlockMeter:
    """Counts charges of consecutive steps; a cut or another event begins a new segment."""

    __slots__ = ("_event", "_steps")

    def __init__(self) -> None:
        self._event: Event | None = None
        self._steps = 0

    def copy(self) -> BlockMeter:
        """An independent meter at the same place."""
        other = BlockMeter()
        other._event, other._steps = self._event, self._steps
        return other

    def cut(self) -> None:
        """End the segment: the next step begins a block of its own."""
        self._event, self._steps = None, 0

    def would_charge(self, event: Event, count: int) -> int:
        """Charges that `count` more steps of this event cost here: blocks if it is banded, else steps."""
        if not isinstance(event, BandedGaussian):
            return count
        before = self._steps if event == self._event else 0
        return event.blocks(before + count) - event.blocks(before)

    def charge(self, event: Event, count: int) -> int:
        """The same, and remember them."""
        charges = self.would_charge(event, count)
        if count:
            self._steps = (self._steps if event == self._event else 0) + count
            self._event = event
        return charges
