"""Which layers have fast per-record gradients, and how these follow from what the layers saw.

The columns of a weight's gradients A_i U_i (`privgen.gradients.written`) run over positions, rows of the record and
calls of the layer:

| layer | A | U |
|---|---|---|
| Linear, and those of a MultiheadAttention | output gradients | inputs |
| Conv1d, 2d, 3d | output gradients | windows of the inputs |
| ConvTranspose1d, 2d, 3d | inputs | windows of the output gradients |
| Embedding | one-hot inputs | output gradients |

Biases and normalisation layers have a vector each. What a layer saw has the records first: (records, ...), where the
rest is what the layer took for one record, rows of it included. A parameter that is spectral-normalised counts as the
normalised weight: its gradient is clipped and released, and carried to the parameter after the noise
(`privgen.gradients.spectral_norm`). One parameter may belong to several layers: matrices then share their columns,
vectors add up.

    >>> layer = torch.nn.Linear(3, 2)
    >>> x, g = torch.randn(5, 3), torch.randn(5, 2)
    >>> weight, bias = gradients_of({"": layer}, {"": [(x, g)]})
    >>> bool(torch.allclose(next(weight.slices(torch.empty))[1].view(5, 2, 3), g[:, :, None] * x[:, None]))
    True
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.utils import parametrize

from privgen.errors import UnsupportedLayer
from privgen.gradients.attention import InProjection
from privgen.gradients.spectral_norm import is_spectral, parametrization_of, parametrized_attributes
from privgen.gradients.windows import window_of
from privgen.gradients.written import Columns, MatrixGradient, RecordGradients, VectorGradient

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_OF_THREE_DIMENSIONS = (nn.Conv3d, nn.ConvTranspose3d)
_OF_ONE_DIMENSION = (nn.Conv1d, nn.ConvTranspose1d)
_BY_INSTANCE = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
_NORMALISING = (nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, *_BY_INSTANCE)
# An attention's own `out_proj` is of the second kind.
_DENSE = (nn.Linear, NonDynamicallyQuantizableLinear, InProjection)
SUPPORTED = (*_DENSE, *_CONVOLUTIONS, *_TRANSPOSED, nn.Embedding, *_NORMALISING)

# For each call of a layer what it read and the gradient at its output, records first.
Calls = Sequence[tuple[Tensor, Tensor]]


def parameter_of(layer: nn.Module, attribute: str) -> nn.Parameter | None:
    """What is trained behind `layer.weight` or `layer.bias`; None if there is nothing, or it is frozen."""
    found: object
    if parametrize.is_parametrized(layer, attribute):
        found = parametrization_of(layer, attribute).original
    else:
        found = getattr(layer, attribute, None)
    return found if isinstance(found, nn.Parameter) and found.requires_grad else None


def trained_parameters(layer: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Attribute and parameter of what a supported layer trains."""
    for attribute in ("weight", "bias"):
        parameter = parameter_of(layer, attribute)
        if parameter is not None:
            yield attribute, parameter


def is_matrix(layer: nn.Module, attribute: str) -> bool:
    """Whether this parameter's gradients are products of columns, not a vector."""
    return attribute == "weight" and not isinstance(layer, _NORMALISING)


def names_of(layers: Mapping[str, nn.Module]) -> dict[int, str]:
    """By identity of each trained parameter its name: after the first layer that has it."""
    names: dict[int, str] = {}
    for name, layer in layers.items():
        for attribute, parameter in trained_parameters(layer):
            own = layer.own_names[attribute] if isinstance(layer, InProjection) else attribute
            path = f"parametrizations.{attribute}.original" if is_spectral(layer, attribute) else own
            names.setdefault(id(parameter), f"{name}.{path}" if name else path)
    return names


def gradients_of(layers: Mapping[str, nn.Module], calls: Mapping[str, Calls]) -> list[RecordGradients]:
    """The gradients of the layers' trainable parameters, one each; those that were not met are left out.

    Args:
        layers: of SUPPORTED, by name. calls: what each of them saw, by name.
    """
    names = names_of(layers)
    found: dict[int, RecordGradients] = {}
    for name, layer in layers.items():
        for attribute, parameter in trained_parameters(layer):
            if calls[name]:
                _add(found, id(parameter), _gradient(layer, attribute, names[id(parameter)], parameter, calls[name]))
    for gradient in found.values():
        if isinstance(gradient, VectorGradient):
            # Not sooner: in double precision uses of one parameter may cancel, and what is left must be as exact.
            gradient.gradients = gradient.gradients.float()
    return list(found.values())


def _gradient(layer: nn.Module, attribute: str, name: str, parameter: Tensor, calls: Calls) -> RecordGradients:
    if is_matrix(layer, attribute):
        return MatrixGradient(name, parameter.shape, [_columns(layer, x, g) for x, g in calls])
    rows = _bias_rows if attribute == "bias" else _scale_rows
    return VectorGradient(name, torch.stack([rows(layer, x, g) for x, g in calls]).sum(0))


def _add(found: dict[int, RecordGradients], key: int, gradient: RecordGradients) -> None:
    """One more gradient, or more of the one that is there if the parameter is shared."""
    first = found.setdefault(key, gradient)
    if first is gradient:
        return
    if isinstance(first, MatrixGradient) and isinstance(gradient, MatrixGradient):
        first.calls.extend(gradient.calls)
    elif isinstance(first, VectorGradient) and isinstance(gradient, VectorGradient):
        first.gradients = first.gradients + gradient.gradients
    else:
        raise AssertionError(f"{first.name} is shared in two forms")


def _columns(layer: nn.Module, x: Tensor, gradient: Tensor) -> Columns:
    x, gradient, dims = _flat_images(layer, x), _flat_images(layer, gradient), _dimensions(layer)
    if isinstance(layer, _CONVOLUTIONS):
        places = tuple(gradient.shape[-dims:])
        return Columns(_channels_first(gradient, dims), _images(x, dims), window_of(layer), places)
    if isinstance(layer, _TRANSPOSED):
        return Columns(_channels_first(x, dims), _images(gradient, dims), window_of(layer), tuple(x.shape[-dims:]))
    if isinstance(layer, nn.Embedding):
        hot = functional.one_hot(x.flatten(1), layer.num_embeddings).to(gradient.dtype)  # (records, L, classes)
        return Columns(hot.mT, _positions(gradient), None, None)
    return Columns(_positions(gradient).mT, _positions(x), None, None)


def _flat_images(layer: nn.Module, x: Tensor) -> Tensor:
    """A sequence (..., C, L) as an image of height one, for a convolution over one dimension."""
    return x.unsqueeze(-2) if isinstance(layer, _OF_ONE_DIMENSION) else x


def _dimensions(layer: nn.Module) -> int:
    """Of the images that a convolution sees; a sequence is one of two."""
    return 3 if isinstance(layer, _OF_THREE_DIMENSIONS) else 2


def _images(x: Tensor, dims: int) -> Tensor:
    """(records, [rows,] C, H, W) as (records · rows, C, H, W); or of three dimensions."""
    return x.reshape(-1, *x.shape[-dims - 1 :])


def _channels_first(x: Tensor, dims: int) -> Tensor:
    """(records, [rows,] C, H, W) as (records, C, rows · H · W); or of three dimensions."""
    if x.dim() == dims + 2:
        return x.flatten(2)
    return x.transpose(1, 2).flatten(2)


def _positions(x: Tensor) -> Tensor:
    """(records, ..., c) as (records, positions, c)."""
    return x.reshape(len(x), -1, x.shape[-1])


def _bias_rows(layer: nn.Module, _: Tensor, gradient: Tensor) -> Tensor:
    """(records, *bias shape): the gradient summed over rows and positions."""
    if isinstance(layer, nn.Linear):
        return _positions(gradient).sum(1)
    if isinstance(layer, nn.LayerNorm | nn.RMSNorm):
        return gradient.reshape(len(gradient), -1, *layer.normalized_shape).sum(1)
    if isinstance(layer, _BY_INSTANCE):
        return _instances(layer, gradient).flatten(3).sum((1, 3))
    if isinstance(layer, nn.GroupNorm):
        # (records, rows, C, ...): a GroupNorm is always given rows.
        return gradient.flatten(3).sum(3).sum(1) if gradient.dim() > 3 else gradient.sum(1)
    return _channels_first(_flat_images(layer, gradient), _dimensions(layer)).sum(2)


def _instances(layer: nn.Module, x: Tensor) -> Tensor:
    """(records, [rows,] C, ...) with rows, be it one."""
    spatial = _BY_INSTANCE.index(kind_of(layer)) + 1
    return x.reshape(len(x), -1, *x.shape[-spatial - 1 :])


def _scale_rows(layer: nn.Module, x: Tensor, gradient: Tensor) -> Tensor:
    if isinstance(layer, nn.LayerNorm):
        normal = functional.layer_norm(x, layer.normalized_shape, eps=layer.eps)
    elif isinstance(layer, nn.RMSNorm):
        normal = functional.rms_norm(x, layer.normalized_shape, eps=layer.eps)
    elif isinstance(layer, _BY_INSTANCE):
        rows = _instances(layer, x)
        normal = functional.instance_norm(rows.flatten(0, 1), eps=layer.eps).view(x.shape)
    else:
        assert isinstance(layer, nn.GroupNorm)
        normal = functional.group_norm(x.flatten(0, 1), layer.num_groups, eps=layer.eps).view(x.shape)
    return _bias_rows(layer, x, gradient * normal)


def kind_of(layer: nn.Module) -> type[nn.Module]:
    """The layer's class; a parametrised layer has one of its own, made from it."""
    return type(layer).__bases__[0] if parametrize.is_parametrized(layer) else type(layer)


def require_supported(layer: nn.Module, name: str) -> bool:
    """Whether `gradients_of` serves this layer; False means that it needs the slow way.

    Raises:
        UnsupportedLayer: the layer mixes records, so that no per-record gradient exists.
    """
    if isinstance(layer, nn.modules.batchnorm._BatchNorm) or (
        isinstance(layer, nn.modules.instancenorm._InstanceNorm) and layer.track_running_stats
    ):
        raise UnsupportedLayer(
            f"Layer {name or 'itself'} is {type(layer).__name__}: its statistics mix the records of a batch, so "
            "no record has a gradient of its own and no clipping bounds its influence. Use GroupNorm: "
            "privgen.replace_batchnorm(model) puts it in its place."
        )
    if isinstance(layer, nn.RNN | nn.GRU | nn.RNNCellBase):
        raise UnsupportedLayer(
            f"Layer {name or 'itself'} is {type(layer).__name__}, which torch cannot run one record at a time under "
            "torch.func. Use nn.LSTM, which it can, or write the recurrence with Linear layers."
        )
    kind = kind_of(layer)
    if kind not in SUPPORTED or not _trains_as_named(layer):
        return False
    if kind in (*_CONVOLUTIONS, *_TRANSPOSED):
        plain = bool(layer.groups == 1 and layer.padding_mode == "zeros")
        return plain and not isinstance(layer.padding, str)
    if kind is nn.Embedding:
        return bool(layer.max_norm is None and not layer.scale_grad_by_freq and layer.padding_idx is None)
    return True


def _trains_as_named(layer: nn.Module) -> bool:
    """Whether what is trained is weight and bias themselves, or what spectral normalisation makes them of.

    Older normalisations and pruning hide the parameter under another name and compute the weight in a hook.
    """
    if parametrize.is_parametrized(layer):
        made = parametrized_attributes(layer)
        if not all(is_spectral(layer, attribute) for attribute in made):
            return False
    return {name for name, _ in layer.named_parameters(recurse=False)} <= {"weight", "bias"}
