"""Per-record gradients of one parameter, kept as factors, and what is asked of them: norms and weighted sums.

A weight that multiplies what comes in has, for record i, the gradient

    G_i = A_i U_i        A_i (p, L), U_i (L, d)

whose L columns run over positions, rows of the record and calls of the layer. Two ways lead to its norm:

- **Gram**: ‖G_i‖² = Σ (A_iᵀA_i) ∘ (U_iU_iᵀ), L²(p + d) multiplications, and each weighted sum is one product over
  all records' columns. Nothing as large as the parameter is made for a record.
- **written out**: G_i itself, p·d·L multiplications; weighted sums of what stands there are then nearly free,
  however many there are.

`MatrixFactor` takes what costs less for the shape and the number of weightings. A layer that is called twice,
or that shares its weight with another layer, only adds columns.

    >>> g, x = torch.randn(5, 2, 1), torch.randn(5, 1, 3)
    >>> weight = MatrixFactor("weight", torch.Size((2, 3)), [Columns(g, x, None)], records=5, weightings=1)
    >>> exact = (g * x).square().sum((1, 2))
    >>> bool(torch.allclose(weight.squared_norms(), exact, rtol=1e-4))
    True
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from privgen.gradients.windows import Window

# Rounding of a norm found without the gradient, in units of the last place and of ‖A‖²‖U‖²: added, so that it is
# not smaller than the norm of what is summed.
_ROUNDING = 4.0
# Numbers of a slice of the records: what is made for them should stay in the processor's cache.
_SLICE = 1 << 19
# Numbers that may be kept of a chunk of records between the norms and the sums, per parameter.
_KEPT = 1 << 24
# What writing, squaring and weighting a number costs, in multiplications of a matrix product.
_WRITE, _WEIGH = 18, 3


class Factor(Protocol):
    """One parameter's per-record gradients, never written out unless that is the cheapest way."""

    name: str

    def squared_norms(self) -> Tensor:
        """(records,) squared L2 norms, not below those of what `weighted_sums` adds up."""

    def scales(self) -> Tensor:
        """(records,) what rounding of `squared_norms` and `inner_products` is relative to, squared."""

    def inner_products(self, others: Tensor) -> Tensor:
        """(records, m) of each gradient with each of `others` (m, *the parameter's shape)."""

    def weighted_sums(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """Σ_i w_i · gradient_i for each weighting (records,), in the parameter's shape."""

    def drop(self, bad: Tensor) -> None:
        """Make the records where `bad` is True count as zero: 0 · NaN is not 0."""


@dataclass(slots=True)
class VectorFactor:
    """Gradients that stand there: biases, scales and shifts, and all that torch.func found.

    Args:
        name: the parameter's. gradients: (records, *shape).
    """

    name: str
    gradients: Tensor

    def squared_norms(self) -> Tensor:
        """See Factor."""
        return self.gradients.flatten(1).square().sum(1)

    def scales(self) -> Tensor:
        """See Factor."""
        return self.squared_norms()

    def inner_products(self, others: Tensor) -> Tensor:
        """See Factor."""
        return self.gradients.flatten(1) @ others.flatten(1).T

    def weighted_sums(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """See Factor."""
        totals = torch.stack(list(weights)) @ self.gradients.flatten(1)
        return [total.view(self.gradients.shape[1:]) for total in totals]

    def drop(self, bad: Tensor) -> None:
        """See Factor."""
        self.gradients = zeroed(self.gradients, bad)


@dataclass(slots=True)
class Columns:
    """What one call of a layer adds; rows are stacked blocks of records.

    Args:
        left: A, (rows, p, L). right: U, (rows, L, d); or images (rows, C, H, W) whose windows are U.
        window: how to look at the images, or None.
    """

    left: Tensor
    right: Tensor
    window: Window | None

    def counts(self) -> tuple[int, int, int]:
        """p, L and d."""
        _, p, columns = self.left.shape
        if self.window is None:
            return p, columns, self.right.shape[2]
        return p, columns, self.right.shape[1] * self.window.kernel[0] * self.window.kernel[1]


@dataclass(slots=True)
class MatrixFactor:
    """Gradients A_i U_i.

    Args:
        name: the parameter's. shape: the parameter's.
        calls: all of the same p and d. records: in the chunk. weightings: sums that will be asked for.
    """

    name: str
    shape: torch.Size
    calls: list[Columns]
    records: int
    weightings: int
    _products: Tensor | None = field(default=None)
    _rights: Tensor | None = field(default=None)
    _scales: Tensor | None = field(default=None)

    def _dimensions(self) -> tuple[int, int, int]:
        """p, d, and L of a record over all its blocks of rows and all calls."""
        p, _, d = self.calls[0].counts()
        columns = sum(call.counts()[1] * (len(call.left) // self.records) for call in self.calls)
        return p, d, columns

    def _writes_out(self) -> bool:
        p, d, columns = self._dimensions()
        written = p * d * (columns + _WRITE + _WEIGH * self.weightings)
        gram = columns * columns * (p + d) + self.weightings * p * d * columns
        return written < gram and p * d * self.records <= _KEPT

    def _columns(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        """A (n, p, L) and U (n, L, d) of records first to last."""
        lefts, rights = [], []
        for call in self.calls:
            for start in range(0, len(call.left), self.records):
                rows = slice(start + first, start + last)
                lefts.append(call.left[rows])
                right = call.right[rows]
                rights.append(right if call.window is None else call.window.rows_of(right))
        if len(lefts) == 1:
            return lefts[0], rights[0]
        return torch.cat(lefts, 2), torch.cat(rights, 1)

    def _slices(self, each: int) -> list[tuple[int, int]]:
        step = max(1, min(self.records, _SLICE // each))
        return [(at, min(at + step, self.records)) for at in range(0, self.records, step)]

    def squared_norms(self) -> Tensor:
        """See Factor."""
        return self._write_out() if self._writes_out() else self._by_gram()

    def _write_out(self) -> Tensor:
        p, d, columns = self._dimensions()
        first_left = self.calls[0].left
        products = first_left.new_empty(self.records, p, d)
        squares = first_left.new_empty(self.records)
        for first, last in self._slices(columns * (p + d) + p * d):
            left, right = self._columns(first, last)
            torch.bmm(left, right, out=products[first:last])
            squares[first:last] = products[first:last].flatten(1).square().sum(1)
        self._products, self._scales = products.flatten(1), squares
        return squares

    def _by_gram(self) -> Tensor:
        p, d, columns = self._dimensions()
        # Linear layers' columns are what the layer saw; windows are made once, if they may stay.
        keep = columns * d * self.records <= _KEPT and any(call.window is not None for call in self.calls)
        norms, scales, rights = [], [], []
        for first, last in self._slices(columns * (p + d) + columns * columns):
            left, right = self._columns(first, last)
            of_left, of_right = left.mT @ left, right @ right.mT  # (n, L, L)
            scales.append(_traces(of_left) * _traces(of_right))
            norms.append((of_left * of_right).sum((1, 2)).clamp_min(0))
            if keep:
                rights.append(right)
        self._rights = torch.cat(rights) if len(rights) > 1 else rights[0] if keep else None
        self._scales = torch.cat(scales)
        return torch.cat(norms) + _ROUNDING * torch.finfo(left.dtype).eps * self._scales

    def scales(self) -> Tensor:
        """See Factor; after `squared_norms`."""
        assert self._scales is not None
        return self._scales

    def inner_products(self, others: Tensor) -> Tensor:
        """See Factor; after `squared_norms`."""
        matrices = torch.stack([self._as_matrix(other) for other in others])  # (m, p, d)
        if self._products is not None:
            return self._products @ matrices.flatten(1).T
        p, d, columns = self._dimensions()
        found = []
        for first, last in self._slices(columns * (len(others) * p + d)):
            left, right = self._columns(first, last)
            through = right @ matrices.flatten(0, 1).T  # (n, L, m·p)
            through = through.view(len(left), columns, len(others), p)
            found.append(torch.einsum("npl,nlmp->nm", left, through))
        return torch.cat(found)

    def weighted_sums(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """See Factor; after `squared_norms`."""
        p, d, _ = self._dimensions()
        if self._products is not None:
            totals = torch.stack(list(weights)) @ self._products
        else:
            totals = self._over_columns(torch.stack(list(weights)))
        return [self._in_shape(total) for total in totals.view(len(weights), p, d)]

    def _over_columns(self, weights: Tensor) -> Tensor:
        """(weightings, p, d): for all weightings one product, over the columns of all records."""
        p, d, columns = self._dimensions()
        total = weights.new_zeros(len(weights) * p, d)
        whole = self._rights is not None or self.calls[0].window is None
        slices = [(0, self.records)] if whole else self._slices(columns * (len(weights) * p + d))
        for first, last in slices:
            left, right = self._columns(first, last) if self._rights is None else (self._lefts(), self._rights)
            scaled = left.permute(1, 0, 2) * weights[:, None, first:last, None]  # (weightings, p, n, L)
            total.addmm_(scaled.reshape(len(weights) * p, -1), right.flatten(0, 1))
        return total

    def _lefts(self) -> Tensor:
        """A of all records, (records, p, L)."""
        lefts = [
            call.left[at : at + self.records] for call in self.calls for at in range(0, len(call.left), self.records)
        ]
        return lefts[0] if len(lefts) == 1 else torch.cat(lefts, 2)

    def _in_shape(self, matrix: Tensor) -> Tensor:
        """(p, d) in the parameter's shape: windows hold their channels innermost."""
        if len(self.shape) != 4:
            return matrix.view(self.shape)
        p, channels, down, across = self.shape
        return matrix.view(p, down, across, channels).permute(0, 3, 1, 2)

    def _as_matrix(self, parameter: Tensor) -> Tensor:
        return parameter.permute(0, 2, 3, 1).flatten(1) if len(self.shape) == 4 else parameter

    def drop(self, bad: Tensor) -> None:
        """See Factor."""
        for call in self.calls:
            call.left, call.right = zeroed(call.left, bad), zeroed(call.right, bad)
        if self._products is not None:
            self._products = zeroed(self._products, bad)
        if self._rights is not None:
            self._rights = zeroed(self._rights, bad)


def _traces(grams: Tensor) -> Tensor:
    return grams.diagonal(dim1=1, dim2=2).sum(1)


def zeroed(rows: Tensor, bad: Tensor) -> Tensor:
    """Rows of the bad records as zeros; rows are stacked blocks of records."""
    repeated = bad.repeat(len(rows) // len(bad))
    return torch.where(repeated.view(-1, *[1] * (rows.dim() - 1)), torch.zeros((), dtype=rows.dtype), rows)
