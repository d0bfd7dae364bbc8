"""Which layers have fast per-record gradients, and their factors from what they saw.

The columns of a weight's gradients A_i U_i (`privgen.gradients.factors`) run over positions, rows of the
record and calls of
the layer:

| layer | A | U |
|---|---|---|
| Linear | output gradients | inputs |
| Conv2d | output gradients | windows of the inputs |
| ConvTranspose2d | inputs | windows of the output gradients |
| Embedding | one-hot inputs | output gradients |

Biases and normalisation layers have a vector each. Parameters may be spectral-normalised
(`privgen.gradients.spectral_norm`), and one
parameter may belong to several layers: matrices then share their columns, vectors add up.

    >>> layer = torch.nn.Linear(3, 2)
    >>> x, g = torch.randn(5, 3), torch.randn(5, 2)
    >>> weight, bias = factors({"": layer}, {"": [(x, g)]}, records=5, weightings=1)
    >>> _ = weight.squared_norms()
    >>> bool(torch.allclose(weight.weighted_sums([torch.ones(5)])[0], g.T @ x, atol=1e-5))
    True
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from privgen.errors import UnsupportedLayer
from privgen.gradients.factors import Columns, Factor, MatrixFactor, VectorFactor
from privgen.gradients.spectral_norm import SpectralFactor, is_spectral, spectral_map
from privgen.gradients.windows import window_of

SUPPORTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.GroupNorm, nn.LayerNorm, nn.Embedding)
_NORMALISING = (nn.GroupNorm, nn.LayerNorm)

# For each call of a layer what it read and the gradient at its output; rows are stacked blocks of records.
Calls = Sequence[tuple[Tensor, Tensor]]


def parameter_of(layer: nn.Module, attribute: str) -> nn.Parameter | None:
    """What is trained behind `layer.weight` or `layer.bias`; None if there is nothing, or it is frozen."""
    if parametrize.is_parametrized(layer, attribute):
        found = layer.parametrizations[attribute].original
    else:
        found = getattr(layer, attribute, None)
    return found if found is not None and found.requires_grad else None


def trained_parameters(layer: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Attribute and parameter of what a supported layer trains."""
    for attribute in ("weight", "bias"):
        parameter = parameter_of(layer, attribute)
        if parameter is not None:
            yield attribute, parameter


def is_matrix(layer: nn.Module, attribute: str) -> bool:
    """Whether this parameter's gradients are kept as columns, not as a vector."""
    return attribute == "weight" and not isinstance(layer, _NORMALISING)


def factors(
    layers: Mapping[str, nn.Module], calls: Mapping[str, Calls], *, records: int, weightings: int
) -> list[Factor]:
    """The factors of the layers' trainable parameters, one each, named after the first layer that has it.

    Args:
        layers: of SUPPORTED, by name. calls: what each of them saw, by name.
        records: in the chunk. weightings: how many sums will be asked for.
    """
    found: dict[int, Factor] = {}
    names: dict[int, str] = {}
    for name, layer in layers.items():
        for attribute, parameter in trained_parameters(layer):
            spectral = is_spectral(layer, attribute)
            path = f"parametrizations.{attribute}.original" if spectral else attribute
            full = names.setdefault(id(parameter), f"{name}.{path}" if name else path)
            if calls[name]:
                factor = _factor(layer, attribute, full, parameter.shape, calls[name], records, weightings)
                if spectral:
                    factor = SpectralFactor(full, factor, spectral_map(layer, attribute))
                _add(found, id(parameter), factor)
    return list(found.values())


def _factor(
    layer: nn.Module, attribute: str, name: str, shape: torch.Size, calls: Calls, records: int, weightings: int
) -> Factor:
    if is_matrix(layer, attribute):
        return MatrixFactor(name, shape, [_columns(layer, x, g) for x, g in calls], records, weightings)
    rows = _bias_rows if attribute == "bias" else _scale_rows
    return VectorFactor(name, sum(_per_record(rows(layer, x, g), records) for x, g in calls))


def _add(found: dict[int, Factor], key: int, factor: Factor) -> None:
    """One more factor, or more of the one that is there if the parameter is shared."""
    first = found.setdefault(key, factor)
    if first is factor:
        return
    if isinstance(first, MatrixFactor) and isinstance(factor, MatrixFactor):
        first.calls.extend(factor.calls)
    elif isinstance(first, VectorFactor) and isinstance(factor, VectorFactor):
        first.gradients = first.gradients + factor.gradients
    else:
        raise AssertionError(f"{first.name} is shared in two forms")


def _columns(layer: nn.Module, x: Tensor, gradient: Tensor) -> Columns:
    if isinstance(layer, nn.Conv2d):
        return Columns(gradient.flatten(2), x, window_of(layer))
    if isinstance(layer, nn.ConvTranspose2d):
        return Columns(x.flatten(2), gradient, window_of(layer))
    right = gradient if isinstance(layer, nn.Embedding) else x
    left = functional.one_hot(x, layer.num_embeddings).to(gradient.dtype) if right is gradient else gradient
    return Columns(_positions(left).mT, _positions(right), None)


def _positions(rows: Tensor) -> Tensor:
    """(n, ..., c) as (n, positions, c)."""
    return rows.reshape(len(rows), -1, rows.shape[-1])


def _per_record(rows: Tensor, records: int) -> Tensor:
    """Sum over a record's rows: (blocks · records, ...) to (records, ...)."""
    return rows.view(len(rows) // records, records, *rows.shape[1:]).sum(0)


def _bias_rows(layer: nn.Module, _: Tensor, gradient: Tensor) -> Tensor:
    """(rows, *bias shape): the gradient summed over positions."""
    if isinstance(layer, nn.Linear):
        return _positions(gradient).sum(1)
    if isinstance(layer, nn.LayerNorm):
        return gradient.reshape(len(gradient), -1, *layer.normalized_shape).sum(1)
    return gradient.flatten(2).sum(2) if gradient.dim() > 2 else gradient


def _scale_rows(layer: nn.Module, x: Tensor, gradient: Tensor) -> Tensor:
    if isinstance(layer, nn.LayerNorm):
        normal = functional.layer_norm(x, layer.normalized_shape, eps=layer.eps)
    else:
        normal = functional.group_norm(x, layer.num_groups, eps=layer.eps)
    return _bias_rows(layer, x, gradient * normal)


def kind_of(layer: nn.Module) -> type[nn.Module]:
    """The layer's class; a parametrised layer has one of its own, made from it."""
    return type(layer).__bases__[0] if parametrize.is_parametrized(layer) else type(layer)


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
    kind = kind_of(layer)
    if kind not in SUPPORTED or not _trains_as_named(layer):
        return False
    if kind in (nn.Conv2d, nn.ConvTranspose2d):
        return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    if kind is nn.Embedding:
        return layer.max_norm is None and not layer.scale_grad_by_freq and layer.padding_idx is None
    return True


def _trains_as_named(layer: nn.Module) -> bool:
    """Whether what is trained is weight and bias themselves, or what spectral normalisation makes them of.

    Older normalisations and pruning hide the parameter under another name and compute the weight in a hook.
    """
    if parametrize.is_parametrized(layer):
        spectral = {attribute for attribute in layer.parametrizations if is_spectral(layer, attribute)}
        if spectral != set(layer.parametrizations.keys()):
            return False
    return {name for name, _ in layer.named_parameters(recurse=False)} <= {"weight", "bias"}
