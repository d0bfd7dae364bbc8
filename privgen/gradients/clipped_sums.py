"""Clipped sums of per-record gradients, from one forward and one backward pass.

    norms ‖g_i‖ of all records  →  weights w(‖g_i‖)  →  Σ_i w_i g_i, one sum for each weighting

The layers' inputs and the gradients at their outputs are kept from the one pass; norms and weighted sums
come from products of them (`privgen.gradients.layers`, `privgen.gradients.factors`), so several weightings
share it and no
per-record gradient is written out where a smaller product gives its norm (Goodfellow 2015, arXiv 1510.01799;
Bu et al. 2022, arXiv 2205.10683). A module with another kind of layer goes to torch.func
(`privgen.gradients.vmap`), with
a warning.

    >>> net = torch.nn.Linear(2, 1)
    >>> x = torch.randn(6, 2)
    >>> sums = private_sums(net, lambda v: net(v)[:, 0], (x,), lambda norms: (0.5 / norms.clamp_min(0.5),))
    >>> bool(torch.allclose(sums.norms, (x.square().sum(1) + 1).sqrt(), atol=1e-4))
    True

Guarantees: a record's contribution to a sum is w_i g_i with ‖g_i‖ <= norms[i], so weights of C / norm bound it
by C. A record whose gradient is not finite contributes nothing. Layers that mix records are refused, by their class
and by a look at the first pass. How the batch is cut into physical batches changes no sum but in rounding. No
buffer changes with what the records are, or with how many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from privgen.errors import ConfigError
from privgen.gradients.factors import Factor, VectorFactor
from privgen.gradients.graph_checks import Call, fast_layers, require_apart, used_besides
from privgen.gradients.layers import factors
from privgen.gradients.spectral_norm import standing_still
from privgen.gradients.vmap import gradients_by_torch_func, require_losses

Weighting = Callable[[Tensor], tuple[Tensor, ...]]
Loss = Callable[..., Tensor]


class Rows(Protocol):
    """What has records: a tensor, or something that reads them when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Tensor: ...


# Summing squares errs by some units in the last place.
_ROUNDING = 8.0
# Records in one pass where nothing is asked for: what a pass makes of them then stays near the processor.
_AT_ONCE = 96


@dataclass(frozen=True, slots=True)
class Sums:
    """What `private_sums` found.

    Args:
        norms: (B,) of the records' whole gradients; private. Zero where not finite.
        sums: for each weighting the sums by parameter name.
        nonfinite: records that contributed nothing because their gradient was not finite; private.
    """

    norms: Tensor
    sums: tuple[dict[str, Tensor], ...]
    nonfinite: int


def private_sums(
    module: nn.Module,
    loss: Loss,
    batch: tuple[Rows, ...],
    weighting: Weighting,
    *,
    rows_per_record: int = 1,
    physical_batch: int | None = None,
) -> Sums:
    """Σ_i w_i g_i for each weighting of the records' gradients g_i.

    Args:
        module: whose trainable parameters g_i is taken of; float32 or float64.
        loss: (*batch) → (b,) one loss a record, made by calling `module` or its parts.
        batch: tensors with the records first, (B, ...), or what gives them by slices; B may be 0.
        weighting: norms (b,) → weight vectors (b,).
        rows_per_record: a layer may see up to so many rows of a record, as stacked blocks of b rows; a
            record's gradient is the sum over its rows. Rows are a layer's first dimension.
        physical_batch: records in one pass, or None for what is fast: about 96 on a CPU, all of them elsewhere. It
            bounds memory and changes nothing else.

    Raises:
        UnsupportedLayer: records are mixed. ConfigError: half precision, a layer's rows are no blocks of
            records, or its input was changed in place after it was read.
    """
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    _require_precision(parameters)
    layers = fast_layers(module)
    like = next(iter(parameters.values()))
    records = len(batch[0])
    count = len(weighting(torch.zeros(0, dtype=like.dtype, device=like.device)))
    totals = tuple({name: torch.zeros_like(p) for name, p in parameters.items()} for _ in range(count))
    norms, nonfinite = [], 0
    with standing_still(module):
        for first, last in _cut(records, physical_batch, like.device):
            chunk = tuple(tensor[first:last] for tensor in batch)
            found = _factors(module, layers, loss, chunk, rows_per_record, count)
            norm, bad = _norms(found)
            weights = tuple(torch.where(bad, torch.zeros_like(w), w) for w in weighting(norm))
            for factor in found:
                for total, value in zip(totals, factor.weighted_sums(weights), strict=True):
                    total[factor.name] += value
            nonfinite += int(bad.sum())
            norms.append(norm)
    return Sums(torch.cat(norms) if norms else like.new_zeros(0).detach(), totals, nonfinite)


def _cut(records: int, physical_batch: int | None, device: torch.device) -> list[tuple[int, int]]:
    """Even chunks: of at most so many records if that is asked for, else of about `_AT_ONCE` on a CPU."""
    if physical_batch is not None:
        chunks = -(-records // physical_batch)
    else:
        chunks = round(records / _AT_ONCE) if device.type == "cpu" else 1
    chunks = max(chunks, 1) if records else 0
    return list(pairwise(records * index // max(1, chunks) for index in range(chunks + 1)))


def _norms(found: Sequence[Factor]) -> tuple[Tensor, Tensor]:
    """(records,) norms of the whole gradients, and which were not finite; these are dropped and count as zero."""
    squared = torch.stack([factor.squared_norms() for factor in found]).sum(0)
    norm = squared.sqrt() * (1 + _ROUNDING * torch.finfo(squared.dtype).eps)
    bad = ~torch.isfinite(norm)
    if bool(bad.any()):
        for factor in found:
            factor.drop(bad)
    return torch.where(bad, torch.zeros_like(norm), norm), bad


def _require_precision(parameters: dict[str, Tensor]) -> None:
    if not parameters:
        raise ConfigError("The module has no trainable parameter; there is nothing to take a gradient of.")
    half = [name for name, p in parameters.items() if p.dtype not in (torch.float32, torch.float64)]
    if half or torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
        raise ConfigError(
            f"Private gradients need float32 or float64, got {half or 'autocast'}: in half precision a norm may "
            "be smaller than that of what is summed. Cast the module by .float() and leave autocast off."
        )


def _factors(
    module: nn.Module,
    layers: dict[str, nn.Module] | None,
    loss: Loss,
    chunk: tuple[Tensor, ...],
    rows_per_record: int,
    weightings: int,
) -> Sequence[Factor]:
    if layers is None:
        return [VectorFactor(name, rows) for name, rows in gradients_by_torch_func(module, loss, chunk).items()]
    records = len(chunk[0])
    calls, losses = _forward(layers, loss, chunk)
    require_losses(losses, records)
    if not any(calls.values()):
        raise ConfigError("The loss calls none of the module's layers.")
    _require_blocks(layers, calls, records, rows_per_record)
    if used_besides(losses, layers, calls):
        return _factors(module, fast_layers(module), loss, chunk, rows_per_record, weightings)
    require_apart(losses, layers, calls)
    outputs = [call.output for seen in calls.values() for call in seen]
    gradients = iter(torch.autograd.grad(losses.sum(), outputs, allow_unused=True))
    seen = {
        name: [(call.rows, g.detach()) for call in calls[name] if (g := next(gradients)) is not None] for name in layers
    }
    return factors(layers, seen, records=records, weightings=weightings)


def _require_blocks(
    layers: dict[str, nn.Module], calls: dict[str, list[Call]], records: int, rows_per_record: int
) -> None:
    for name in layers:
        for call in calls[name]:
            blocks, rest = divmod(len(call.rows), records)
            if rest or not 1 <= blocks <= rows_per_record:
                raise ConfigError(
                    f"Layer {name} saw {len(call.rows)} rows for {records} records; expected stacked blocks of "
                    f"{records}, at most rows_per_record={rows_per_record} of them."
                )
            if call.rows._version != call.version:
                raise ConfigError(
                    f"The input of layer {name} was changed in place after the layer read it, so its gradient is "
                    "lost; use the form that makes a new tensor (relu instead of relu_)."
                )


def _forward(
    layers: dict[str, nn.Module], loss: Loss, chunk: tuple[Tensor, ...]
) -> tuple[dict[str, list[Call]], Tensor]:
    calls: dict[str, list[Call]] = {name: [] for name in layers}

    def keeper(name: str) -> Callable[..., None]:
        dtype = next(layers[name].parameters()).dtype

        def keep(_: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor], output: Tensor) -> None:
            if not output.requires_grad:
                return
            rows = (*inputs, *named.values())[0].detach()
            if output.dtype != dtype:
                raise ConfigError(
                    f"Layer {name} computed in {output.dtype} with parameters in {dtype}: a norm may "
                    "be smaller than that of what is summed. Leave autocast off."
                )
            calls[name].append(Call(rows, rows._version, get_gradient_edge(output)))

        return keep

    # First of all hooks: another one may put something else in the place of what the layer made.
    handles = [
        layer.register_forward_hook(keeper(name), prepend=True, with_kwargs=True) for name, layer in layers.items()
    ]
    try:
        with torch.enable_grad():
            return calls, loss(*chunk)
    finally:
        for handle in handles:
            handle.remove()
