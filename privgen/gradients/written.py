"""Per-record gradients of one parameter, written out in slices of records: (k, d) float32, twice if need be.

A weight that multiplies what comes in has, for record i, the gradient

    G_i = A_i U_i        A_i (p, L), U_i (L, d)

whose L columns run over the positions, rows and calls in which the record met the layer: one batched product. Slices
are as large as the shapes allow, never as the records want it. What is cheap to keep is kept between the two readings
(norms, then sums); the rest is written again.

    >>> g, x = torch.randn(5, 2, 1), torch.randn(5, 1, 3)
    >>> weight = MatrixGradient("weight", torch.Size((2, 3)), [Columns(g, x, None, None)])
    >>> [(first, tuple(rows.shape)) for first, rows in weight.slices(torch.empty)]
    [(0, (5, 6))]

Guarantees: a row is a function of that record's columns. That the products do not mix rows is what
`privgen.gradients.row_check` looks at on the machine that runs them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from privgen.gradients.kernels import add_squares, add_truncated
from privgen.gradients.windows import Sides, Window

# Numbers of a slice: gradients and what they are multiplied from stay near the processor's cache, and in memory's
# bounds for the widest layers.
_SLICE = 1 << 20
# Bytes of gradients that are kept between norms and sums.
_KEPT = 32 << 20


Room = Callable[[int], Tensor]


class RecordGradients(Protocol):
    """One parameter's gradients of all records of a pass."""

    @property
    def name(self) -> str:
        """The parameter's."""

    @property
    def shape(self) -> torch.Size:
        """The parameter's."""

    def slices(self, room: Room) -> Iterator[tuple[int, Tensor]]:
        """(first record, rows (k, d) float32), in order; the same bits each time.

        Args:
            room: (size) → a float32 buffer (size,) that the rows of one slice may be written to.
        """

    def in_shape(self, total: Tensor) -> Tensor:
        """(d,) in the parameter's shape."""

    def flat(self, parameter: Tensor) -> Tensor:
        """The inverse of `in_shape`."""


@dataclass(slots=True)
class VectorGradient:
    """Gradients that stand there: biases, scales and shifts, and all that torch.func found.

    Args:
        name: the parameter's. gradients: (records, *shape), float32.
    """

    name: str
    gradients: Tensor

    @property
    def shape(self) -> torch.Size:
        """The parameter's."""
        return self.gradients.shape[1:]

    def slices(self, room: Room) -> Iterator[tuple[int, Tensor]]:
        """See RecordGradients."""
        yield 0, self.gradients.reshape(len(self.gradients), -1)  # of a number, one

    def in_shape(self, total: Tensor) -> Tensor:
        """See RecordGradients."""
        return total.view(self.shape)

    def flat(self, parameter: Tensor) -> Tensor:
        """See RecordGradients."""
        return parameter.flatten()


@dataclass(slots=True)
class Columns:
    """What one call of a layer adds.

    Args:
        left: A, (records, p, L). right: U, (records, L, d); or images (records · rows, C, H, W) whose windows are U.
        window, places: how to look at the images, and how many windows there are; None where U stands there.
    """

    left: Tensor
    right: Tensor
    window: Window | None
    places: Sides | None

    @property
    def depth(self) -> int:
        """d."""
        if self.window is None:
            return self.right.shape[2]
        return self.right.shape[1] * math.prod(self.window.kernel)

    def rights(self, first: int, last: int) -> Tensor:
        """U of some records, (k, L, d)."""
        if self.window is None:
            return self.right[first:last]
        assert self.places is not None
        rows = len(self.right) // len(self.left)
        windows = self.window.rows_of(self.right[first * rows : last * rows], self.places)
        return windows.view(last - first, -1, windows.shape[2])


@dataclass(slots=True)
class MatrixGradient:
    """Gradients A_i U_i, summed over the calls.

    Args:
        name: the parameter's. shape: the parameter's. calls: all of the same p and d.
    """

    name: str
    shape: torch.Size
    calls: list[Columns]

    def slices(self, room: Room) -> Iterator[tuple[int, Tensor]]:
        """See RecordGradients."""
        records, p, _ = self.calls[0].left.shape
        d = self.calls[0].depth
        each = max(p * d, *(d * call.left.shape[2] for call in self.calls if call.window is not None), 1)
        step = max(1, min(records, _SLICE // each))
        for first in range(0, records, step):
            last = min(first + step, records)
            found = room((last - first) * p * d).view(last - first, p, d)
            self._write(first, last, found)
            yield first, found.view(last - first, p * d)

    def _write(self, first: int, last: int, total: Tensor) -> None:
        """Products of these records into (k, p, d)."""
        call, *others = self.calls
        single = call.left.dtype == total.dtype and call.right.dtype == total.dtype
        made = torch.bmm(call.left[first:last], call.rights(first, last), out=total if single else None)
        for other in others:
            made.baddbmm_(other.left[first:last], other.rights(first, last))
        if not single:
            total.copy_(made)

    def in_shape(self, total: Tensor) -> Tensor:
        """See RecordGradients: windows hold their channels innermost."""
        if len(self.shape) < 3:
            return total.view(self.shape)
        p, channels, *window = self.shape
        return total.view(p, *window, channels).movedim(-1, 1)

    def flat(self, parameter: Tensor) -> Tensor:
        """See RecordGradients."""
        return (parameter.movedim(1, -1) if len(self.shape) > 2 else parameter).flatten()


class Workspace:
    """Memory for written gradients, taken once and used again by every pass: fresh pages are slow to come by.

    It holds `_KEPT` bytes at most and one slice beside them, whatever the records are.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._kept = torch.empty(0, dtype=torch.float32, device=device)
        self._slice = torch.empty(0, dtype=torch.float32, device=device)
        self._used = 0

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        return 4 * (len(self._kept) + len(self._slice))

    def begin(self, kept: int) -> None:
        """A new pass that keeps so many numbers; what the last one kept is gone."""
        self._used = 0
        if len(self._kept) < kept:
            self._kept = torch.empty(kept, dtype=torch.float32, device=self.device)

    def keep(self, size: int) -> Tensor:
        """(size,) that stays until the next pass."""
        self._used += size
        return self._kept[self._used - size : self._used]

    def pass_by(self, size: int) -> Tensor:
        """(size,) that stays until the next slice."""
        if len(self._slice) < size:
            self._slice = torch.empty(size, dtype=torch.float32, device=self.device)
        return self._slice[:size]


class PassGradients:
    """All parameters' gradients of one pass; as many as fit are kept from the first reading for the second.

    Args:
        records: rows of the pass. gradients: one for each parameter that the records met. workspace: used by one pass
            at a time.
    """

    def __init__(self, records: int, gradients: list[RecordGradients], workspace: Workspace) -> None:
        self.records = records
        self.gradients = gradients
        self._workspace = workspace
        self._kept: dict[str, list[tuple[int, Tensor]]] = {}
        kept = 0
        for gradient in gradients:
            size = gradient.shape.numel() * records
            if 4 * (kept + size) <= _KEPT:
                self._kept[gradient.name] = []
                kept += size
        workspace.begin(kept)

    @property
    def device(self) -> torch.device:
        """Where rows are."""
        return self._workspace.device

    def _readings(self) -> Iterator[list[tuple[str, int, Tensor]]]:
        """(parameter, first record, rows) of all: what is kept at once, then what is written again, slice by slice."""
        yield [
            (gradient.name, first, rows)
            for gradient in self.gradients
            if gradient.name in self._kept
            for first, rows in self._kept_slices(gradient)
        ]
        for gradient in self.gradients:
            if gradient.name not in self._kept:
                for first, rows in gradient.slices(self._workspace.pass_by):
                    yield [(gradient.name, first, rows)]

    def _kept_slices(self, gradient: RecordGradients) -> list[tuple[int, Tensor]]:
        kept = self._kept[gradient.name]
        if not kept:
            kept.extend(gradient.slices(self._workspace.keep))
        return kept

    def rows(self) -> Iterator[tuple[str, int, Tensor]]:
        """(parameter, first record, rows (k, d) float32) of all parameters; rows live until the next."""
        for slices in self._readings():
            yield from slices

    def inner_products(self, direction: Mapping[str, Tensor]) -> Tensor:
        """(records,) float64, ⟨G_i, direction⟩.

        Args:
            direction: by parameter, in its shape.
        """
        total = torch.zeros(self.records, dtype=torch.float64, device=self._workspace.device)
        flat = {g.name: g.flat(direction[g.name]).double() for g in self.gradients}
        for name, first, rows in self.rows():
            total[first : first + len(rows)] += rows.double() @ flat[name]
        return total

    def norms(self) -> Tensor:
        """(records,) float64, none below the L2 norm of its record's whole gradient; not finite where that is not.

        The d squares are exact and their sum in any order is off by less than d · 2⁻⁵³ of itself, root and product by
        2⁻⁵³ each: the factor makes up for it.
        """
        total = torch.zeros(self.records, dtype=torch.float64, device=self._workspace.device)
        for slices in self._readings():
            add_squares([(first, rows) for _, first, rows in slices], total)
        size = sum(gradient.shape.numel() for gradient in self.gradients)
        return total.sqrt() * (1 + (size + 4) * 2.0**-52)

    def add_to(self, totals: Mapping[str, Tensor], weights: Tensor) -> None:
        """totals[name]_k += Σ_i trunc(weights_ki · G_i).

        Args:
            totals: by parameter, (k, d) float64. weights: (k, records), as `kernels.add_truncated` takes them.
        """
        for slices in self._readings():
            add_truncated(
                [(r, weights[:, first : first + len(r)].contiguous(), totals[name]) for name, first, r in slices]
            )
