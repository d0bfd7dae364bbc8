"""Sums of integer vectors, one a record: each record's gradient, weighted by its own norm and cut to integers.

    norms N̂_i ≥ ‖G_i‖ of all records  →  weights u_i(N̂_i)  →  Σ_i trunc(u_i · G_i), one sum for each weighting

G_i is the record's gradient, written out in float32. trunc cuts towards zero, number by number, so what a record adds
is an integer vector that is no longer than u_i‖G_i‖ (1 + 2⁻⁵³), and sums of such vectors are exact: the same in any
order, in any blocking, on any number of threads. The weights say what a unit is: with u_i = w_i/h it is h
(`privgen.mechanism.error_feedback`).

Records pass in physical batches of one fixed size, the last padded with zeros, so that no kernel sees how many there
are; padded rows add nothing. An empty batch passes once, padded.

    >>> net = torch.nn.Linear(2, 1)
    >>> x = torch.randn(6, 2)
    >>> sums = private_sums(net, lambda v: net(v)[0], (x,), lambda norms: (1e6 * (0.5 / norms.clamp_min(0.5)),))
    >>> bool(torch.allclose(sums.norms, (x.double().square().sum(1) + 1).sqrt()))
    True
    >>> bool((sums.sums[0]["weight"] == sums.sums[0]["weight"].round()).all())
    True

Guarantees: what a record adds is a function of that record, of the weights and of the module's parameters, bit for bit
(docs/privacy.md, theorem 11; `privgen.gradients.row_check` looks at it on this machine). A record whose gradient is not
finite adds nothing. No buffer changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch
from torch import Tensor, nn

from privgen.errors import ConfigError
from privgen.gradients.passes import RecordLoss, record_pass
from privgen.gradients.written import Workspace

# Norm bounds (b,) float64 → one vector of weights (b,) float64 for each sum.
Weighting = Callable[[Tensor], tuple[Tensor, ...]]


Beside = Callable[[int], tuple[Tensor, ...]]


class Rows(Protocol):
    """What has records: a tensor, or something that reads them when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Tensor: ...


# Records in one pass where nothing is asked for: what a pass makes of them stays near a processor's cache.
_ON_CPU, _ELSEWHERE = 64, 256
_TOGETHER = 32


@dataclass(frozen=True, slots=True)
class Sums:
    """What `private_sums` found.

    Args:
        norms: (B,) float64, upper bounds of the records' whole gradients' norms; private. Zero where not finite.
        sums: for each weighting the sums by parameter name, float64 that hold integers.
        nonfinite: records that contributed nothing because their gradient was not finite; private.
    """

    norms: Tensor
    sums: tuple[dict[str, Tensor], ...]
    nonfinite: int


def private_sums(
    module: nn.Module,
    loss: RecordLoss,
    batch: tuple[Rows, ...],
    weighting: Weighting,
    *,
    physical_batch: int | None = None,
    beside: Beside | None = None,
) -> Sums:
    """Σ_i trunc(u_i · G_i) for each weighting of the records' gradients G_i.

    Args:
        module: whose trainable parameters G_i is taken of; float32 or float64.
        loss: (*record) → scalar, a function of one record, made by calling `module` or its parts. Its tensors come
            without a batch dimension.
        batch: tensors with the records first, (B, ...), or what gives them by slices; B may be 0.
        weighting: norm bounds (b,) float64 → weight vectors (b,) float64, each entry a function of its norm alone.
        beside: (size) → random numbers for every place of a pass, (size, ...) each, whether a record stands there or
            not; the loss takes them behind the record.
        physical_batch: records in one pass, as `pass_size` rounds it.

    Raises:
        UnsupportedLayer: records are mixed, or torch cannot vectorise the loss. ConfigError: half precision, a loss
            that is no scalar, or an input that was changed in place after it was read.
    """
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    _require_precision(parameters)
    device = next(iter(parameters.values())).device
    count, size = len(batch[0]), pass_size(physical_batch, device)
    weightings = len(weighting(torch.zeros(0, dtype=torch.float64, device=device)))
    totals = {n: torch.zeros(weightings, p.numel(), dtype=torch.float64, device=device) for n, p in parameters.items()}
    in_shape = {name: p.shape for name, p in parameters.items()}
    workspace = workspace_on(device)
    found_norms, nonfinite = [], 0
    shapes: dict[str, Callable[[Tensor], Tensor]] = {}
    for first in range(0, max(count, 1), size):
        held = min(size, count - first)
        records = tuple(padded(rows, first, held, size) for rows in batch)
        made = record_pass(module, loss, records + (beside(size) if beside is not None else ()), workspace)
        norms = made.norms()
        finite = torch.isfinite(norms)
        norms = torch.where(finite, norms, 0.0)
        adds = finite & (torch.arange(size, device=device) < held)
        weights = torch.stack([torch.where(adds, w, 0.0) for w in weighting(norms)])
        if len(weights) != weightings:
            raise ConfigError(f"Expected {weightings} weightings for any number of records, got {len(weights)}.")
        made.add_to(totals, weights)
        shapes |= {gradient.name: gradient.in_shape for gradient in made.gradients}
        found_norms.append(norms[:held])
        nonfinite += int((~finite[:held]).sum())
    sums = tuple(
        {n: shapes[n](totals[n][k]) if n in shapes else totals[n][k].view(in_shape[n]) for n in parameters}
        for k in range(weightings)
    )
    return Sums(torch.cat(found_norms), sums, nonfinite)


@cache
def workspace_on(device: torch.device) -> Workspace:
    """The one workspace of a device; passes are taken one after another."""
    return Workspace(device)


def pass_size(physical_batch: int | None, device: torch.device) -> int:
    """Records in one pass: what is asked for, rounded up to a multiple of 32, or one at a time.

    Vectorised loops take the last few of a number that is no such multiple otherwise than the others.

    Args:
        physical_batch: what is asked for, >= 1, or None for 64 on a CPU and 256 elsewhere.
    """
    if physical_batch is None:
        return _ON_CPU if device.type == "cpu" else _ELSEWHERE
    return 1 if physical_batch == 1 else -(-physical_batch // _TOGETHER) * _TOGETHER


def padded(rows: Rows, first: int, held: int, size: int) -> Tensor:
    """(size, ...): the rows from `first` on, so many of them, and zeros behind; always a buffer of its own."""
    part = rows[first : first + held]
    buffer = part.new_zeros(size, *part.shape[1:])
    buffer[:held] = part
    return buffer


def _require_precision(parameters: Mapping[str, Tensor]) -> None:
    if not parameters:
        raise ConfigError("The module has no trainable parameter; there is nothing to take a gradient of.")
    half = [name for name, p in parameters.items() if p.dtype not in (torch.float32, torch.float64)]
    if half or torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
        raise ConfigError(
            f"Private gradients need float32 or float64, got {half or 'autocast'}: in half precision a norm may "
            "be smaller than that of what is summed. Cast the module by .float() and leave autocast off."
        )
