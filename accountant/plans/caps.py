"""How many blocks each phase of a run may charge, crashes included: caps that are fixed before the first step.

A crash wastes what stood reserved. Whoever chooses when a run crashes, by what it released, would choose which kind of
block is charged once more, and no composition of fixed numbers of blocks covers that. So each phase has a cap of
charged blocks: those of its steps, and spare ones. A crash wastes blocks of its own phase; a phase that has none left
ends the run; and ε is that of all caps, whenever anything crashed or was stopped (docs/privacy.md, "Stopping").

The releases of a warm start share their spare ones, each charged as the dearest of them: a crash there repeats one.

    >>> from accountant.events import BandedGaussian
    >>> step = BandedGaussian(sampling_rate=0.01, noise_multiplier=1.0, bands=4)
    >>> caps = Caps(phases=(Cap(event=step, steps=10, pool=0),), spare=(2,))
    >>> caps.blocks(0), caps.room(0, [4])        # three blocks and two spare ones; four are charged
    (3, 1)
    >>> [steps for _, steps in caps.composition()]
    [10, 8]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from accountant.errors import InvalidValue
from accountant.events import Event, require_count


class CapJson(TypedDict):
    """The phases of a pool as JSON: planned steps, the blocks of these, and spare ones."""

    steps: int
    blocks: int
    spare_blocks: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Cap:
    """One phase.

    Args:
        event: of each of its steps. steps: that are planned, >= 1. pool: of which spare blocks it may take.
    """

    event: Event
    steps: int
    pool: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Caps:
    """Of every phase, in order.

    Args:
        phases: the caps. spare: blocks of each pool, >= 0.

    Raises:
        InvalidValue: a number is out of range, or a pool without a phase.
    """

    phases: tuple[Cap, ...]
    spare: tuple[int, ...]

    def __post_init__(self) -> None:
        for number in self.spare:
            require_count(number, "spare_blocks", least=0)
        if {cap.pool for cap in self.phases} != set(range(len(self.spare))):
            raise InvalidValue(f"Expected each of {len(self.spare)} pools of spare blocks to be some phase's.")

    def blocks(self, phase: int) -> int:
        """Charged blocks of a phase's planned steps, spare ones not counted."""
        return blocks_of(self.phases[phase].event, self.phases[phase].steps)

    def room(self, phase: int, charged: Sequence[int]) -> int:
        """How many more blocks a phase may charge; negative where it charged too many.

        Args:
            charged: blocks that each phase has charged.
        """
        pool = self.phases[phase].pool
        taken = sum(
            max(0, charged[other] - self.blocks(other)) for other, cap in enumerate(self.phases) if cap.pool == pool
        )
        return max(0, self.blocks(phase) - charged[phase]) + self.spare[pool] - taken

    def composition(self) -> tuple[tuple[Event, int], ...]:
        """(event, steps) of all that may ever be charged, each pair a segment of its own."""
        own = tuple((cap.event, cap.steps) for cap in self.phases)
        spare = ((self._dearest(pool), blocks) for pool, blocks in enumerate(self.spare) if blocks)
        return (*own, *((event, steps_of_blocks(event, blocks)) for event, blocks in spare))

    def _dearest(self, pool: int) -> Event:
        """A pool's event with the least noise: the phases of a pool differ in nothing else."""
        return min((cap.event for cap in self.phases if cap.pool == pool), key=lambda event: event.noise_multiplier)

    def to_json(self) -> list[CapJson]:
        """One object a pool, for a plan's file and for an audit."""
        return [
            {
                "steps": sum(cap.steps for cap in self.phases if cap.pool == pool),
                "blocks": sum(self.blocks(n) for n, cap in enumerate(self.phases) if cap.pool == pool),
                "spare_blocks": spare,
            }
            for pool, spare in enumerate(self.spare)
        ]


def blocks_of(event: Event, steps: int) -> int:
    """Blocks that so many steps of one segment are charged."""
    return event.charges(steps)


def most_steps(event: Event, *, after: int, blocks: int, wanted: int) -> int:
    """The most steps, up to `wanted`, that a segment of `after` steps can go on with for so many more blocks."""
    low, high = 0, wanted + 1
    limit = blocks_of(event, after) + blocks
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if blocks_of(event, after + middle) <= limit else (low, middle)
    return low


def steps_of_blocks(event: Event, blocks: int) -> int:
    """All steps that so many blocks of one segment pay for: nothing of a block is owed after its bands."""
    return blocks * event.bands
