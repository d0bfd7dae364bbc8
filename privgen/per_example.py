"""Clipped sums of per-record gradients, from one forward and one backward pass.

    norms ‖g_i‖ of all records  →  weights w(‖g_i‖)  →  Σ_i w_i g_i, one sum for each weighting

The layers' inputs and the gradients at their outputs are kept from the one pass; norms and weighted sums
come from small products of them (`privgen.layer_gradients`), so several weightings share it and no per-record
gradient is written out where a smaller product gives its norm (Goodfellow 2015, arXiv 1510.01799; Bu et al.
2022, arXiv 2205.10683). A module with another kind of layer takes a slow way: one backward pass a record.

    >>> net = torch.nn.Linear(2, 1)
    >>> x = torch.randn(6, 2)
    >>> sums = private_sums(net, lambda v: net(v)[:, 0], (x,), lambda norms: (0.5 / norms.clamp_min(0.5),))
    >>> bool(torch.allclose(sums.norms, (x.square().sum(1) + 1).sqrt(), atol=1e-4))
    True

Guarantees: a record's contribution to a sum is w_i g_i with ‖g_i‖ <= norms[i], so weights of C / norm bound it
by C. A record whose gradient is not finite contributes nothing. Layers that mix records are refused. How the
batch is cut into physical batches changes no sum but in rounding.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from privgen.errors import ConfigError
from privgen.layer_gradients import Factor, VectorFactor, factors, require_supported

Weighting = Callable[[Tensor], tuple[Tensor, ...]]
Loss = Callable[..., Tensor]

# Summing squares of float32 numbers errs by some units in the last place.
_ROUNDING = 1e-6
_warned: set[str] = set()


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
    batch: tuple[Tensor, ...],
    weighting: Weighting,
    *,
    rows_per_record: int = 1,
    physical_batch: int | None = None,
) -> Sums:
    """Σ_i w_i g_i for each weighting of the records' gradients g_i.

    Args:
        module: whose trainable parameters g_i is taken of; float32 or float64.
        loss: (*batch) → (b,) one loss a record, made by calling `module` or its parts.
        batch: tensors with the records first, (B, ...); B may be 0.
        weighting: norms (b,) → weight vectors (b,).
        rows_per_record: a layer may see up to so many rows of a record, as stacked blocks of b rows; a
            record's gradient is the sum over its rows. Rows are a layer's first dimension.
        physical_batch: records in one pass, or None for all.

    Raises:
        UnsupportedLayer: a layer mixes records. ConfigError: half precision, a layer's rows are no blocks of
            records, or its input was changed in place after it was read.
    """
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    _require_precision(parameters)
    layers = _layers(module)
    records = len(batch[0])
    device = next(iter(parameters.values())).device
    count = len(weighting(torch.zeros(0, device=device)))
    totals = tuple({name: torch.zeros_like(p) for name, p in parameters.items()} for _ in range(count))
    norms, nonfinite = [], 0
    step = physical_batch or max(1, records)
    for at in range(0, records, step):
        chunk = tuple(tensor[at : at + step] for tensor in batch)
        found = _factors(module, layers, loss, chunk, rows_per_record)
        squared = sum(factor.squared_norms() for factor in found)
        norm = squared.sqrt() * (1 + _ROUNDING)
        bad = ~torch.isfinite(norm)
        if bool(bad.any()):
            nonfinite += int(bad.sum())
            norm = torch.where(bad, torch.zeros_like(norm), norm)
            for factor in found:
                factor.drop(bad)
        weights = tuple(torch.where(bad, torch.zeros_like(w), w) for w in weighting(norm))
        for factor in found:
            for total, value in zip(totals, factor.weighted_sums(weights), strict=True):
                total[factor.name] += value
        norms.append(norm)
    return Sums(torch.cat(norms) if norms else torch.zeros(0, device=device), totals, nonfinite)


def _require_precision(parameters: dict[str, Tensor]) -> None:
    if not parameters:
        raise ConfigError("The module has no trainable parameter; there is nothing to take a gradient of.")
    half = [name for name, p in parameters.items() if p.dtype not in (torch.float32, torch.float64)]
    if half or torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
        raise ConfigError(
            f"Private gradients need float32 or float64, got {half or 'autocast'}: in half precision a norm may "
            "be smaller than that of what is summed. Cast the module by .float() and leave autocast off."
        )


def _layers(module: nn.Module) -> dict[str, nn.Module] | None:
    """The layers with trainable parameters by name, or None where one of them needs the slow way."""
    layers: dict[str, nn.Module] = {}
    owners: dict[int, str] = {}
    slow: list[str] = []
    for name, layer in module.named_modules():
        own = [p for p in layer.parameters(recurse=False) if p.requires_grad]
        # Asked of every layer, also of one without parameters: a BatchNorm without scale mixes records too.
        supported = require_supported(layer, name)
        if not own:
            continue
        tied = any(owners.setdefault(id(p), name) != name for p in own)
        if not supported or tied or hasattr(layer, "parametrizations"):
            slow.append(f"{type(layer).__name__} ({name})" + (" with shared parameters" if tied else ""))
        layers[name] = layer
    if slow:
        _warn_once(", ".join(slow))
        return None
    return layers


def _warn_once(what: str) -> None:
    if what not in _warned:
        _warned.add(what)
        warnings.warn(
            f"No fast per-record gradient for {what}; taking one backward pass a record, which is slow.",
            stacklevel=4,
        )


def _factors(
    module: nn.Module,
    layers: dict[str, nn.Module] | None,
    loss: Loss,
    chunk: tuple[Tensor, ...],
    rows_per_record: int,
) -> Sequence[Factor]:
    if layers is None:
        return _slow_factors(module, loss, chunk)
    records = len(chunk[0])
    calls, losses = _forward(layers, loss, chunk)
    _require_losses(losses, records)
    outputs = [call.output for seen in calls.values() for call in seen]
    if not outputs:
        raise ConfigError("The loss calls none of the module's layers.")
    gradients = iter(torch.autograd.grad(losses.sum(), outputs, allow_unused=True))
    found: list[Factor] = []
    for name, layer in layers.items():
        seen = []
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
            gradient = next(gradients)
            if gradient is not None:
                seen.append((call.rows, gradient.detach()))
        if seen:
            found.extend(factors(layer, name, seen, records=records))
    return found


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of a layer: what it read, in which version, and the place of its output in the graph.

    The edge and not the tensor: an in-place activation behind the layer would replace the tensor's gradient by
    the one behind the activation.
    """

    rows: Tensor
    version: int
    output: GradientEdge


def _forward(
    layers: dict[str, nn.Module], loss: Loss, chunk: tuple[Tensor, ...]
) -> tuple[dict[str, list[_Call]], Tensor]:
    calls: dict[str, list[_Call]] = {name: [] for name in layers}

    def keeper(name: str) -> Callable[..., None]:
        def keep(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            rows = inputs[0].detach()
            calls[name].append(_Call(rows, rows._version, get_gradient_edge(output)))

        return keep

    handles = [layer.register_forward_hook(keeper(name)) for name, layer in layers.items()]
    try:
        with torch.enable_grad():
            return calls, loss(*chunk)
    finally:
        for handle in handles:
            handle.remove()


def _require_losses(losses: Tensor, records: int) -> None:
    if losses.shape != (records,):
        raise ConfigError(f"Expected one loss a record, ({records},), got {tuple(losses.shape)}.")


def _slow_factors(module: nn.Module, loss: Loss, chunk: tuple[Tensor, ...]) -> Sequence[Factor]:
    """One backward pass a record: right for any layer that does not mix records."""
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    each: list[tuple[Tensor, ...]] = []
    for index in range(len(chunk[0])):
        with torch.enable_grad():
            losses = loss(*(tensor[index : index + 1] for tensor in chunk))
        _require_losses(losses, 1)
        gradients = torch.autograd.grad(losses.sum(), list(parameters.values()), allow_unused=True)
        each.append(
            tuple(torch.zeros_like(p) if g is None else g for p, g in zip(parameters.values(), gradients, strict=True))
        )
    return [
        VectorFactor(name, torch.stack(rows)) for name, rows in zip(parameters, zip(*each, strict=True), strict=True)
    ]
