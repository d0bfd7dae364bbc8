"""`torch.nn.MultiheadAttention` as dense layers, so that its records' gradients are products of columns too.

torch's own computes with its weights directly, past any hook. While a pass's gradients are caught, a call of one is
computed here in its place: the packed projections are one `InProjection`, a Linear of the very same parameters, called
once for each different input; between it and `out_proj` stand softmax and products, which have no parameter. It is
the same function but for rounding (`tests/privgen/gradients/test_layers.py`), and the gradient that is clipped is that
of what was computed.

    >>> layer = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = torch.randn(3, 5, 8)
    >>> with dense_attention(layer):
    ...     dense = layer(x, x, x)[0]
    >>> bool(torch.allclose(dense, layer(x, x, x)[0], atol=1e-6))
    True
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.utils import parametrize


class InProjection(nn.Linear):
    """The packed projections of an attention, by its own parameters.

    Attributes:
        own_names: what weight and bias are called in the attention.
    """

    own_names: ClassVar[Mapping[str, str]] = {"weight": "in_proj_weight", "bias": "in_proj_bias"}

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__(1, 1, bias=False, device="meta")
        self.in_features, self.out_features = attention.embed_dim, 3 * attention.embed_dim
        self.of(attention)

    def of(self, attention: nn.MultiheadAttention) -> InProjection:
        """Take the parameters that the attention has now."""
        self._parameters["weight"], self._parameters["bias"] = attention.in_proj_weight, attention.in_proj_bias
        return self


_projections: weakref.WeakKeyDictionary[nn.Module, InProjection] = weakref.WeakKeyDictionary()


def projection_of(attention: nn.MultiheadAttention) -> InProjection:
    """The one projection of an attention, with its parameters of now."""
    if attention not in _projections:
        _projections[attention] = InProjection(attention)
    return _projections[attention].of(attention)


def is_dense_attention(layer: nn.Module) -> bool:
    """Whether `dense_attention` computes this layer: keys, values and queries of one width, with nothing added."""
    return (
        type(layer) is nn.MultiheadAttention
        and layer.in_proj_weight is not None
        and layer.bias_k is None
        and layer.bias_v is None
        and not layer.add_zero_attn
        and not (layer.dropout > 0 and layer.training)
        and type(layer.out_proj) is NonDynamicallyQuantizableLinear
        and not parametrize.is_parametrized(layer)
    )


@contextmanager
def dense_attention(module: nn.Module) -> Iterator[None]:
    """Within this, each attention that can be is computed out of dense layers."""
    served = [layer for layer in module.modules() if is_dense_attention(layer)]
    try:
        for layer in served:
            layer.forward = functools.partial(_attend, cast(nn.MultiheadAttention, layer))
        yield
    finally:
        for layer in served:
            del layer.forward


def _attend(
    layer: nn.MultiheadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """As `torch.nn.MultiheadAttention.forward`; `is_causal` says what `attn_mask` is, and the mask itself is used."""
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
    given: tuple[Tensor, ...] = (query, key, value)
    made: list[Tensor] = []
    project = projection_of(layer)
    for place, x in enumerate(given):
        same = next((made[k] for k in range(place) if given[k] is x), None)
        made.append(project(x) if same is None else same)
    parts = [_heads(layer, packed.chunk(3, -1)[place]) for place, packed in enumerate(made)]
    q, k, v = parts
    scores: Tensor = q @ k.mT * (layer.head_dim**-0.5)  # (n, heads, L, S)
    if attn_mask is not None:
        scores = _masked(scores, attn_mask if attn_mask.dim() == 2 else attn_mask.view(scores.shape))
    if key_padding_mask is not None:
        scores = _masked(scores, key_padding_mask.view(-1, 1, 1, scores.shape[-1]))
    weights = scores.softmax(-1)
    found = (weights @ v).transpose(1, 2).flatten(2)  # (n, L, width)
    if query.dim() == 2:
        found, weights = found[0], weights[0]
    elif not layer.batch_first:
        found = found.transpose(0, 1)
    if not need_weights:
        return layer.out_proj(found), None
    return layer.out_proj(found), weights.mean(-3) if average_attn_weights else weights


def _heads(layer: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """(n, heads, L, head) of one projection, as the attention takes its inputs."""
    if x.dim() == 2:
        x = x[None]
    elif not layer.batch_first:
        x = x.transpose(0, 1)
    heads: Tensor = x.unflatten(-1, (layer.num_heads, layer.head_dim)).transpose(1, 2)
    return heads


def _masked(scores: Tensor, mask: Tensor) -> Tensor:
    """Scores without what a mask leaves out (true), or with it added."""
    return scores.masked_fill(mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
