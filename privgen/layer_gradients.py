"""Per-record gradients of one layer's parameters, from its inputs and the gradients at its outputs.

Every weight that is supported has, for record i, the gradient A_i U_iᵀ with A_i (p, L) and U_i (d, L), where the
L columns run over positions, rows of the record and calls of the layer:

| layer | A | U |
|---|---|---|
| Linear | output gradients | inputs |
| Conv2d | output gradients | unfolded inputs |
| ConvTranspose2d | inputs | unfolded output gradients |
| Embedding | one-hot inputs | output gradients |

Its norm is ‖A_i U_iᵀ‖² = Σ (A_iᵀA_i) ∘ (U_iᵀU_i), or that of the product itself, whichever is cheaper by
shape; a layer that is called twice only adds columns. Biases and normalisation layers have a vector each.

    >>> layer = torch.nn.Linear(3, 2)
    >>> x, g = torch.randn(5, 3), torch.randn(5, 2)
    >>> weight, bias = factors(layer, "layer", [(x, g)], records=5)
    >>> bool(torch.allclose(weight.weighted_sums([torch.ones(5)])[0], g.T @ x, atol=1e-5))
    True
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from privgen.errors import UnsupportedLayer

SUPPORTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.GroupNorm, nn.LayerNorm, nn.Embedding)
# Rounding in the products below, relative to ‖A‖²‖U‖²: added to a norm found without the product, so that
# it is not smaller than the norm of what is summed.
_ROUNDING = 4e-7
# Numbers in memory at a time: unfolded inputs are made and used a few records at a time, within the cache's reach.
_LARGEST = 1 << 22

Calls = list[tuple[Tensor, Tensor]]
Pair = tuple[int, int]


class Factor(Protocol):
    """One parameter's per-record gradients, never written out unless that is the cheapest way."""

    name: str

    def squared_norms(self) -> Tensor:
        """(records,) squared L2 norms, not below those of what `weighted_sums` adds up."""

    def weighted_sums(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """Σ_i w_i · gradient_i for each weighting (records,), in the parameter's shape."""

    def drop(self, bad: Tensor) -> None:
        """Make the records where `bad` is True count as zero: 0 · NaN is not 0."""


@dataclass(slots=True)
class VectorFactor:
    """Gradients that are small enough to stand there: biases, scales and shifts.

    Args:
        name: the parameter's. gradients: (records, *shape).
    """

    name: str
    gradients: Tensor

    def squared_norms(self) -> Tensor:
        """See Factor."""
        return self.gradients.flatten(1).square().sum(1)

    def weighted_sums(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """See Factor."""
        return [torch.tensordot(weight, self.gradients, dims=1) for weight in weights]

    def drop(self, bad: Tensor) -> None:
        """See Factor."""
        self.gradients = _zeroed(self.gradients, bad)


@dataclass(slots=True)
class MatrixFactor:
    """Gradients A_i U_iᵀ, with the columns made from what the layer saw.

    Args:
        name: the parameter's. shape: the parameter's.
        left, right: for each call the tensors that A and U are made from, rows first.
        unfold: kernel, stride, padding and dilation to unfold `right` with, or None.
        records: in the batch; the rows are stacked blocks of so many.
    """

    name: str
    shape: torch.Size
    left: list[Tensor]
    right: list[Tensor]
    unfold: tuple[Pair, Pair, Pair, Pair] | None
    records: int
    _products: Tensor | None = field(default=None)

    def _pairs(self, first: int, last: int) -> list[tuple[Tensor, Tensor]]:
        """A (n, p, L) and U (n, d, L) of records first to last, for each call and block of rows."""
        pairs = []
        for left, right in zip(self.left, self.right, strict=True):
            for start in range(0, len(left), self.records):
                rows = slice(start + first, start + last)
                columns = right[rows] if self.unfold is None else _unfolded(right[rows], *self.unfold)
                pairs.append((left[rows].flatten(2), columns))
        return pairs

    def _columns(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        """The same as one A and one U."""
        pairs = self._pairs(first, last)
        if len(pairs) == 1:
            return pairs[0]
        return torch.cat([left for left, _ in pairs], 2), torch.cat([right for _, right in pairs], 2)

    def _cost(self) -> tuple[bool, int]:
        """Whether two Gram products cost less than the product itself, and numbers needed for a record."""
        left, right = self._columns(0, 1)
        p, d, columns = left.shape[1], right.shape[1], left.shape[2]
        gram = columns * (p + d) < p * d
        return gram, left.numel() + right.numel() + (columns * columns if gram else p * d)

    def _slices(self, each: int) -> list[tuple[int, int]]:
        step = max(1, min(self.records, _LARGEST // each))
        return [(at, min(at + step, self.records)) for at in range(0, self.records, step)]

    def squared_norms(self) -> Tensor:
        """See Factor."""
        gram, each = self._cost()
        if not gram:
            slices = [self._product(*ends) for ends in self._slices(each)]
            self._products = torch.cat(slices) if len(slices) > 1 else slices[0]
            return self._products.square().sum(1)
        norms = []
        for ends in self._slices(each):
            left, right = self._columns(*ends)
            product = (left.mT @ left) * (right.mT @ right)  # (n, L, L)
            slack = left.flatten(1).square().sum(1) * right.flatten(1).square().sum(1)
            norms.append(product.sum((1, 2)).clamp_min(0) + _ROUNDING * slack)
        return torch.cat(norms)

    def _product(self, first: int, last: int) -> Tensor:
        """(n, p·d): the gradients of records first to last, written out."""
        (left, right), *others = self._pairs(first, last)
        product = left @ right.mT
        for left, right in others:
            product.baddbmm_(left, right.mT)
        return product.flatten(1)

    def weighted_sums(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """See Factor."""
        if self._products is not None:
            return [total.view(self.shape) for total in torch.stack(list(weights)) @ self._products]
        if self.unfold is not None:
            return [self._by_convolution(weight) for weight in weights]
        totals: list[Tensor | float] = [0.0] * len(weights)
        for first, last in self._slices(self._cost()[1]):
            for left, right in self._pairs(first, last):
                across = right.transpose(1, 2).flatten(0, 1)  # (n·L, d)
                for index, weight in enumerate(weights):
                    scaled = left * weight[first:last, None, None]
                    totals[index] = totals[index] + scaled.transpose(0, 1).flatten(1) @ across
        return [total.view(self.shape) for total in totals]

    def _by_convolution(self, weight: Tensor) -> Tensor:
        """Σ_i w_i · gradient_i as the weight gradient of one convolution: nothing is unfolded."""
        total = torch.zeros(self.shape, dtype=weight.dtype, device=weight.device)
        _, stride, padding, dilation = self.unfold
        for left, right in zip(self.left, self.right, strict=True):
            for start in range(0, len(left), self.records):
                rows = slice(start, start + self.records)
                scaled = left[rows] * weight[:, None, None, None]
                total += conv2d_weight(right[rows], self.shape, scaled, stride, padding, dilation)
        return total

    def drop(self, bad: Tensor) -> None:
        """See Factor."""
        self.left = [_zeroed(t, bad) for t in self.left]
        self.right = [_zeroed(t, bad) for t in self.right]
        if self._products is not None:
            self._products = _zeroed(self._products, bad)


def _zeroed(rows: Tensor, bad: Tensor) -> Tensor:
    """Rows of the bad records as zeros; rows are stacked blocks of records."""
    repeated = bad.repeat(len(rows) // len(bad))
    return torch.where(repeated.view(-1, *[1] * (rows.dim() - 1)), torch.zeros((), dtype=rows.dtype), rows)


def _unfolded(x: Tensor, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Tensor:
    """What `functional.unfold` gives, (n, C·kh·kw, L), by one strided copy: two to three times as fast on CPU."""
    x = functional.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    n, channels, height, width = x.shape
    out = [
        (size - d * (k - 1) - 1) // s + 1
        for size, k, s, d in zip((height, width), kernel, stride, dilation, strict=True)
    ]
    of_n, of_c, of_h, of_w = x.stride()
    windows = x.as_strided(
        (n, channels, *kernel, *out),
        (of_n, of_c, of_h * dilation[0], of_w * dilation[1], of_h * stride[0], of_w * stride[1]),
    )
    return windows.reshape(n, channels * kernel[0] * kernel[1], out[0] * out[1])


def _per_record(rows: Tensor, records: int) -> Tensor:
    """Sum over a record's rows: (blocks · records, ...) to (records, ...)."""
    return rows.view(len(rows) // records, records, *rows.shape[1:]).sum(0)


def factors(layer: nn.Module, name: str, calls: Calls, *, records: int) -> list[Factor]:
    """The factors of a layer's trainable parameters.

    Args:
        layer: one of SUPPORTED. name: its name, put before the parameters'.
        calls: (input, gradient at the output) of each time it was called; rows are stacked blocks of records.
    """
    found: list[Factor] = []
    prefix = f"{name}." if name else ""
    weight, bias = layer.weight, getattr(layer, "bias", None)
    if weight is not None and weight.requires_grad:
        found.append(_weight_factor(layer, f"{prefix}weight", calls, records))
    if bias is not None and bias.requires_grad:
        gradients = sum(_per_record(_bias_rows(layer, g), records) for _, g in calls)
        found.append(VectorFactor(f"{prefix}bias", gradients))
    return found


def _weight_factor(layer: nn.Module, name: str, calls: Calls, records: int) -> Factor:
    shape = layer.weight.shape
    if isinstance(layer, nn.GroupNorm | nn.LayerNorm):
        rows = (_scale_rows(layer, x, g) for x, g in calls)
        return VectorFactor(name, sum(_per_record(row, records) for row in rows))
    if isinstance(layer, nn.Linear):
        left, right, unfold = (
            [_channels_last(g) for _, g in calls],
            [_channels_last(x) for x, _ in calls],
            None,
        )
    elif isinstance(layer, nn.Embedding):
        classes = layer.num_embeddings
        left = [_channels_last(functional.one_hot(x, classes).to(g.dtype)) for x, g in calls]
        right, unfold = [_channels_last(g) for _, g in calls], None
    elif isinstance(layer, nn.Conv2d):
        left, right, unfold = [g for _, g in calls], [x for x, _ in calls], _unfolding(layer)
    else:
        left, right, unfold = [x for x, _ in calls], [g for _, g in calls], _unfolding(layer)
    return MatrixFactor(name, shape, left, right, unfold, records)


def _channels_last(rows: Tensor) -> Tensor:
    """(n, ..., c) as (n, c, positions)."""
    return rows.reshape(len(rows), -1, rows.shape[-1]).transpose(1, 2)


def _unfolding(layer: nn.Conv2d | nn.ConvTranspose2d) -> tuple[Pair, Pair, Pair, Pair]:
    return layer.kernel_size, layer.stride, layer.padding, layer.dilation


def _bias_rows(layer: nn.Module, gradient: Tensor) -> Tensor:
    """(rows, *bias shape): the gradient summed over positions."""
    if isinstance(layer, nn.Linear):
        return gradient.reshape(len(gradient), -1, gradient.shape[-1]).sum(1)
    if isinstance(layer, nn.LayerNorm):
        return gradient.reshape(len(gradient), -1, *layer.normalized_shape).sum(1)
    return gradient.flatten(2).sum(2) if gradient.dim() > 2 else gradient


def _scale_rows(layer: nn.GroupNorm | nn.LayerNorm, x: Tensor, gradient: Tensor) -> Tensor:
    if isinstance(layer, nn.LayerNorm):
        normal = functional.layer_norm(x, layer.normalized_shape, eps=layer.eps)
    else:
        normal = functional.group_norm(x, layer.num_groups, eps=layer.eps)
    return _bias_rows(layer, gradient * normal)


def require_supported(layer: nn.Module, name: str) -> bool:
    """Whether `factors` serves this layer; False means that it needs the slow way.

    Raises:
        UnsupportedLayer: the layer mixes records, so that no per-record gradient exists.
    """
    if isinstance(layer, nn.modules.batchnorm._BatchNorm) or (
        isinstance(layer, nn.modules.instancenorm._InstanceNorm) and layer.track_running_stats
    ):
        raise UnsupportedLayer(
            f"Layer {name or 'itself'} is {type(layer).__name__}: its statistics mix the records of a batch, so "
            "no record has a gradient of its own and no clipping bounds its influence. Use GroupNorm."
        )
    if type(layer) not in SUPPORTED:
        return False
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    if isinstance(layer, nn.Embedding):
        return layer.max_norm is None and not layer.scale_grad_by_freq and layer.padding_idx is None
    return True
