"""How a module's layers hang together: which of them the fast way serves, and whether that is the whole truth.

Which layers there are is read off the module. Two things show only in what a loss does with them, in the graph of a
forward pass: whether a parameter is used besides its layer's own call, and whether one record's loss depends on
another record.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, Node
from torch.nn.utils import parametrize

from privgen.errors import UnsupportedLayer
from privgen.gradients.layers import is_matrix, require_supported, trained_parameters
from privgen.gradients.spectral_norm import is_spectral

_warned: set[str] = set()
# Modules seen to use a parameter besides its layer, by their layers; and layers whose records were seen to be apart.
_used_besides: weakref.WeakSet[nn.Module] = weakref.WeakSet()
_seen_apart: weakref.WeakSet[nn.Module] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a layer: what it read, in which version, and the place of its output in the graph.

    The edge and not the tensor: an in-place activation behind the layer would replace the tensor's gradient by
    the one behind the activation.
    """

    rows: Tensor
    version: int
    output: GradientEdge


def fast_layers(module: nn.Module) -> dict[str, nn.Module] | None:
    """The layers with trainable parameters by name; None, and a warning once, where one needs the slow way.

    Raises:
        UnsupportedLayer: one mixes records.
    """
    layers: dict[str, nn.Module] = {}
    slow: list[str] = []
    for name, layer in module.named_modules():
        # Asked of every layer, also of one without parameters: a BatchNorm without scale mixes records too.
        supported = require_supported(layer, name)
        if isinstance(layer, parametrize.ParametrizationList) or not _trains(layer):
            continue
        if not supported:
            slow.append(f"{type(layer).__name__} ({name})" if name else type(layer).__name__)
        elif layer in _used_besides:
            slow.append(f"{name}, whose parameters are used besides its call")
        layers[name] = layer
    slow += [] if slow else _shared_in_two_forms(layers)
    if slow:
        _warn_once(", ".join(slow))
        return None
    return layers


def _trains(layer: nn.Module) -> bool:
    own = list(layer.parameters(recurse=False))
    if parametrize.is_parametrized(layer):
        own += list(layer.parametrizations.parameters())
    return any(p.requires_grad for p in own)


def _shared_in_two_forms(layers: Mapping[str, nn.Module]) -> list[str]:
    """Parameters that several layers have, but not all as columns or all as plain vectors."""
    forms: dict[int, set[object]] = {}
    found = []
    for name, layer in layers.items():
        for attribute, parameter in trained_parameters(layer):
            spectral = is_spectral(layer, attribute)
            seen = forms.setdefault(id(parameter), set())
            seen.add((name if spectral else None, is_matrix(layer, attribute)))
            if len(seen) > 1:
                found.append(f"{name} with a parameter that another layer has in another form")
    return found


def _warn_once(what: str) -> None:
    if what not in _warned:
        _warned.add(what)
        warnings.warn(
            f"No fast per-record gradient for {what}; torch.func takes this module's, which is slow and writes a "
            "gradient of every parameter for every record.",
            stacklevel=4,
        )


def used_besides(losses: Tensor, layers: Mapping[str, nn.Module], calls: Mapping[str, Sequence[Call]]) -> bool:
    """Whether the loss uses a layer's parameter other than by calling the layer; remembered for `fast_layers`.

    Such a use would be missing in what the layer's calls say of the gradient.
    """
    uses = _leaf_uses(losses)
    expected: dict[int, int] = {}
    owners: dict[int, list[nn.Module]] = {}
    for name, layer in layers.items():
        for attribute, parameter in trained_parameters(layer):
            if not is_spectral(layer, attribute):
                expected[id(parameter)] = expected.get(id(parameter), 0) + len(calls[name])
                owners.setdefault(id(parameter), []).append(layer)
    besides = [key for key, count in expected.items() if uses.get(key, 0) > count]
    for key in besides:
        _used_besides.update(owners[key])
    return bool(besides)


def _leaf_uses(losses: Tensor) -> dict[int, int]:
    """How many edges of the graph lead to each leaf tensor."""
    counts: dict[int, int] = {}
    waiting: list[Node | None] = [losses.grad_fn]
    seen: set[Node | None] = {None}
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        for following, _ in node.next_functions:
            leaf = getattr(following, "variable", None)
            if leaf is not None:
                counts[id(leaf)] = counts.get(id(leaf), 0) + 1
            else:
                waiting.append(following)
    return counts


def require_apart(losses: Tensor, layers: Mapping[str, nn.Module], calls: Mapping[str, Sequence[Call]]) -> None:
    """Look, once for a module, whether losses of some records depend on what the layers made of others.

    Costs one backward pass. Layers that mix records by class are refused before; this sees what a functional
    call or a custom module does.

    Raises:
        UnsupportedLayer: they do: clipping then bounds nobody's influence.
    """
    records = len(losses)
    if records < 2 or all(layer in _seen_apart for layer in layers.values()):
        return
    places = [(name, call) for name, seen in calls.items() for call in seen]
    some = losses[: records // 2].sum()
    gradients = torch.autograd.grad(some, [call.output for _, call in places], retain_graph=True, allow_unused=True)
    sure = True
    for (name, _), gradient in zip(places, gradients, strict=True):
        if gradient is None:
            continue
        others = gradient.unflatten(0, (-1, records))[:, records // 2 :]
        finite = torch.isfinite(others)
        if bool((finite & (others != 0)).any()):
            raise UnsupportedLayer(
                f"The losses of some records depend on other records, by way of {name or 'the layer'}'s output: no "
                "record has a gradient of its own there, and no clipping bounds its influence. Take out what "
                "computes over the batch (a mean, a normalisation, a softmax over dimension 0)."
            )
        # 0 · inf is NaN: a record that overflowed says nothing of how the records hang together.
        sure = sure and bool(finite.all())
    if sure:
        _seen_apart.update(layers.values())
