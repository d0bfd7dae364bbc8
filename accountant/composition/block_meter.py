"""How steps become charges: a banded segment is charged a whole block at the start of each cycle.

>>> from accountant.events import BandedGaussian
>>> meter = BlockMeter()
>>> event = BandedGaussian(sampling_rate=0.01, noise_multiplier=1.0, bands=4)
>>> [meter.charge(event, 1) for _ in range(5)]
[1, 0, 0, 0, 1]
>>> meter.cut()
>>> meter.charge(event, 1)
1
"""

from __future__ import annotations

from accountant.events import Event, require_count


class BlockMeter:
    """Counts charges of consecutive steps; a cut or another event begins a new segment.

    Args:
        group_size: k, records that are added, removed or replaced together, integer >= 1.
    """

    __slots__ = ("_event", "_group_size", "_steps")

    def __init__(self, group_size: int = 1) -> None:
        require_count(group_size, "group_size", least=1)
        self._group_size = group_size
        self._event: Event | None = None
        self._steps = 0

    def copy(self) -> BlockMeter:
        """An independent meter at the same place."""
        other = BlockMeter(self._group_size)
        other._event, other._steps = self._event, self._steps
        return other

    def cut(self) -> None:
        """End the segment: the next step begins a block of its own."""
        self._event, self._steps = None, 0

    def would_charge(self, event: Event, count: int) -> int:
        """Charges of its dominating pair that `count` more steps of this event cost here."""
        before = self._steps if event == self._event else 0
        k = self._group_size
        return event.charges(before + count, group_size=k) - event.charges(before, group_size=k)

    def charge(self, event: Event, count: int) -> int:
        """The same, and remember them."""
        charges = self.would_charge(event, count)
        if count:
            self._steps = (self._steps if event == self._event else 0) + count
            self._event = event
        return charges
