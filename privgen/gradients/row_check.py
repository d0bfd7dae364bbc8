"""Does a record's gradient depend on its place, on its neighbours, or on what went before? Looked at on this machine.

Every kernel between a record and its written gradient takes a whole physical batch; none of them promises that a row's
bits are its own (docs/privacy.md, theorem 11). So a pass of public, synthetic records, all different, is repeated

- in other orders: each record's row must follow it, bit for bit, to its new place;
- with every second record replaced by ordinary, huge, denormal, infinite and NaN ones, one kind after another, so that
  each pass also follows a pass of another kind: the rows of those that stayed must keep their bits.

It is run with the real module and loss at their current weights, at the start of a session and at every reservation. It
never sees a private record: what it finds may be told to anyone.

    >>> net = torch.nn.Linear(3, 2)
    >>> check_rows(net, lambda x: net(x).sum(), (torch.zeros(0, 3),), physical_batch=8).holds
    True
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from privgen.errors import UnsupportedLayer
from privgen.gradients.clipped_sums import Beside, Rows, pass_size, workspace_on
from privgen.gradients.passes import RecordLoss, record_pass
from privgen.gradients.written import PassGradients

NEIGHBOURS: dict[str, Callable[[Tensor], Tensor]] = {
    "ordinary": lambda x: x.flip(0) if len(x) > 1 else -x,
    "huge": lambda x: x * 1e30,
    "denormal": lambda x: x * 1e-42,
    "infinite": lambda x: torch.full_like(x, torch.inf),
    "NaN": lambda x: torch.full_like(x, torch.nan),
}

# Tried where the size that was asked for fails, before records pass one by one, which takes many times as long.
_OTHER_SIZES = (32, 96, 128)


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
    seed: int = 0,
) -> RowCheck:
    """Pass synthetic records through module and loss, and compare bits.

    Args:
        module, loss, physical_batch, beside: as `private_sums` takes them.
        like: what has the records' shapes and types; no record of it is read. Whole numbers, such as labels, are 0.
        whole: whether every kind of neighbour and of order is tried, or a few only.
        seed: of the synthetic records; public. Others each time see more.
    """
    device = next(module.parameters()).device
    size = pass_size(physical_batch, device)
    generator = torch.Generator().manual_seed(seed)
    made = tuple(_synthetic(rows, size, generator, device) for rows in like)
    own = made + (beside(size) if beside is not None else ())

    def hashes(records: tuple[Tensor, ...]) -> Tensor:
        return row_hashes(record_pass(module, loss, records, workspace_on(device)))

    first = hashes(own)
    for shift in sorted({1, size // 2, size - 1} if whole else {size // 2}) if size > 1 else ():
        if not torch.equal(hashes(tuple(t.roll(shift, 0) for t in own)), first.roll(shift, 0)):
            return RowCheck(physical_batch=size, fault=f"a record has other bits {shift} places further on")
    kinds = list(NEIGHBOURS.items()) if whole else list(NEIGHBOURS.items())[:2]
    for number, (kind, change) in enumerate(kinds):
        if size == 1:  # no neighbours: what went before is all there is
            hashes(tuple(change(t) if t.is_floating_point() else t for t in made) + own[len(made) :])
        stays = torch.arange(size, device=device) % 2 == (number % 2 if size > 1 else 0)
        mixed = tuple(_replaced(t, stays, change) for t in made)
        if not torch.equal(hashes(mixed + own[len(made) :])[stays], first[stays]):
            return RowCheck(physical_batch=size, fault=f"a record has other bits among {kind} neighbours")
    return RowCheck(physical_batch=size, fault=None)


def safe_physical_batch(
    module: nn.Module,
    loss: RecordLoss,
    like: tuple[Rows, ...],
    *,
    physical_batch: int | None = None,
    beside: Beside | None = None,
) -> tuple[int, RowCheck]:
    """The size of pass to use: what is asked for where its check holds, else another whose check does, else one record.

    Kernels share a pass out over threads by its size, so that one size may fail where its neighbours hold.

    Returns:
        The size, and the check of the size that was asked for.

    Raises:
        UnsupportedLayer: even a record that passes alone depends on what went before it.
    """
    asked = check_rows(module, loss, like, physical_batch=physical_batch, beside=beside)
    if asked.holds:
        return asked.physical_batch, asked
    for size in _OTHER_SIZES if asked.physical_batch > 1 else ():
        if size != asked.physical_batch and check_rows(module, loss, like, physical_batch=size, beside=beside).holds:
            return size, asked
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


def _replaced(rows: Tensor, stays: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """The records that stay in their places, all others changed."""
    if not rows.is_floating_point():
        return rows
    return torch.where(stays.view(-1, *[1] * (rows.dim() - 1)), rows, change(rows))


def row_hashes(passed: PassGradients) -> Tensor:
    """(records,) int64: a weighted sum of the bits of each record's whole gradient, modulo 2^64."""
    found = torch.zeros(passed.records, dtype=torch.int64, device=passed.device)
    for name, first, rows in passed.rows():
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        weights = torch.randint(2**62, (rows.shape[1],), generator=generator).to(rows.device) * 2 + 1
        found[first : first + len(rows)] += (rows.view(torch.int32).to(torch.int64) * weights).sum(1)
    return found
