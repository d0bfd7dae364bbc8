"""Does a record's gradient depend on its place, on its neighbours, or on what went before? Looked at on this machine.

Every kernel between a record and its written gradient takes a whole physical batch; none of them promises that a row's
bits are its own (docs/privacy.md, theorem 11). So one public, synthetic record is passed through them

- in every place at once: all rows must have the same bits;
- in three places among ordinary, huge, denormal, infinite and NaN neighbours, one kind after another, so that each pass
  also follows a pass of another kind: its rows must keep these bits.

It is run with the real module and loss at their current weights, at the start of a session and at every reservation. It
never sees a private record: what it finds may be told to anyone.

    >>> net = torch.nn.Linear(3, 2)
    >>> check_rows(net, lambda x: net(x).sum(), (torch.zeros(0, 3),), physical_batch=8).holds
    True
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from privgen.errors import UnsupportedLayer
from privgen.gradients.clipped_sums import Beside, Rows, default_physical_batch, workspace_on
from privgen.gradients.passes import RecordLoss, record_pass

_SEED = 20261128
NEIGHBOURS: dict[str, Callable[[Tensor], Tensor]] = {
    "ordinary": torch.clone,
    "huge": lambda x: x * 1e30,
    "denormal": lambda x: x * 1e-42,
    "infinite": lambda x: torch.full_like(x, torch.inf),
    "NaN": lambda x: torch.full_like(x, torch.nan),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RowCheck:
    """What a row check found.

    Args:
        physical_batch: records in a pass that were looked at. fault: the first difference, or None.
    """

    physical_batch: int
    fault: str | None

    @property
    def holds(self) -> bool:
        """Whether no row depended on anything but its record."""
        return self.fault is None


def check_rows(
    module: nn.Module,
    loss: RecordLoss,
    like: tuple[Rows, ...],
    *,
    physical_batch: int | None = None,
    beside: Beside | None = None,
    whole: bool = True,
) -> RowCheck:
    """Pass synthetic records through module and loss, and compare bits.

    Args:
        module, loss, physical_batch, beside: as `private_sums` takes them.
        like: what has the records' shapes and types; no record of it is read. Whole numbers, such as labels, are 0.
        whole: whether every kind of neighbour is tried, or two of them only.
    """
    device = next(module.parameters()).device
    size = physical_batch or default_physical_batch(device)
    generator = torch.Generator().manual_seed(_SEED)
    made = tuple(_synthetic(rows, size, generator, device) for rows in like)
    numbers = beside(size) if beside is not None else ()

    def rows_of(records: tuple[Tensor, ...]) -> list[Tensor]:
        passed = record_pass(module, loss, records, workspace_on(device))
        found: dict[str, list[Tensor]] = {}
        for name, _, rows in passed.rows():
            found.setdefault(name, []).append(rows.view(torch.int32).clone())
        return [torch.cat(parts) for parts in found.values()]

    probe = rows_of(tuple(t[:1].expand_as(t).clone() for t in made + numbers))
    if any(bool((rows != rows[:1]).any()) for rows in probe):
        return RowCheck(physical_batch=size, fault="the same record has other bits in other places of a pass")
    places = sorted({0, size // 2, size - 1})
    for kind, change in NEIGHBOURS.items() if whole else list(NEIGHBOURS.items())[:2]:
        if size == 1:  # no neighbours: what went before is all there is
            rows_of(tuple(change(t) if t.is_floating_point() else t for t in made) + numbers)
        mixed = tuple(_among(t, places, change) for t in made) + tuple(_among(t, places, torch.clone) for t in numbers)
        for rows, alone in zip(rows_of(mixed), probe, strict=True):
            for place in places:
                if not torch.equal(rows[place], alone[0]):
                    fault = f"a record at place {place} of {size} has other bits among {kind} neighbours"
                    return RowCheck(physical_batch=size, fault=fault)
    return RowCheck(physical_batch=size, fault=None)


def safe_physical_batch(
    module: nn.Module,
    loss: RecordLoss,
    like: tuple[Rows, ...],
    *,
    physical_batch: int | None = None,
    beside: Beside | None = None,
) -> tuple[int, RowCheck]:
    """The size of pass to use: the one that is asked for where its check holds, else one record at a time.

    Returns:
        The size, and the check of the size that was asked for.

    Raises:
        UnsupportedLayer: even a record that passes alone depends on what went before it.
    """
    asked = check_rows(module, loss, like, physical_batch=physical_batch, beside=beside)
    if asked.holds:
        return asked.physical_batch, asked
    alone = check_rows(module, loss, like, physical_batch=1, beside=beside)
    if not alone.holds:
        raise UnsupportedLayer(
            f"A record's gradient depends on more than the record, even where it passes alone ({alone.fault}): no "
            "clipping bounds anybody's influence. Take out whatever the loss or a layer remembers between calls."
        )
    return 1, asked


def _synthetic(rows: Rows, size: int, generator: torch.Generator, device: torch.device) -> Tensor:
    part = rows[0:0]
    if part.is_floating_point():
        return torch.randn(size, *part.shape[1:], generator=generator).to(device, part.dtype)
    return part.new_zeros(size, *part.shape[1:])


def _among(rows: Tensor, places: list[int], change: Callable[[Tensor], Tensor]) -> Tensor:
    """The first record at these places, all others changed."""
    if not rows.is_floating_point():
        return rows[:1].expand_as(rows).clone()
    mixed = change(rows)
    mixed[places] = rows[0]
    return mixed
