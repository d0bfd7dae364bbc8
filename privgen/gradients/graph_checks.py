"""Which layers of a module the fast way serves, and the one warning where it does not.

Which layers there are is read off the module. Whether a parameter is used besides its layer's own call shows only in
the graph of a pass (`privgen.gradients.passes`) and is remembered here.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn
from torch.nn.utils import parametrize

from privgen.gradients.attention import is_dense_attention, projection_of
from privgen.gradients.layers import is_matrix, require_supported, trained_parameters
from privgen.gradients.own_parameters import own_parameters
from privgen.gradients.spectral_norm import is_spectral, parametrization_of, parametrized_attributes

_warned: set[str] = set()
# Layers seen to share a parameter with something besides their calls.
_used_outside: weakref.WeakSet[nn.Module] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class FastLayers:
    """What has per-record gradients without torch.func.

    Args:
        layers: those that `privgen.gradients.layers` knows, by name. own: modules with parameters of their own.
    """

    layers: dict[str, nn.Module]
    own: dict[str, nn.Module]


def fast_layers(module: nn.Module) -> FastLayers | None:
    """The layers with trainable parameters; None, and a warning once, where one needs the slow way.

    Raises:
        UnsupportedLayer: one mixes records.
    """
    layers: dict[str, nn.Module] = {}
    own: dict[str, nn.Module] = {}
    slow: list[str] = []
    for name, layer in module.named_modules():
        if is_dense_attention(layer):
            layer = projection_of(layer)
        # Asked of every layer, also of one without parameters: a BatchNorm without scale mixes records too.
        supported = require_supported(layer, name)
        if isinstance(layer, parametrize.ParametrizationList) or not _trains(layer):
            continue
        if not supported and any(own_parameters(layer)) and layer not in _used_outside:
            own[name] = layer
            continue
        if not supported:
            slow.append(f"{type(layer).__name__} ({name})" if name else type(layer).__name__)
        elif layer in _used_outside:
            slow.append(f"{name}, whose parameters are used outside its call")
        layers[name] = layer
    slow += [] if slow else _shared_in_two_forms(layers) + _shared_with_layers(own, layers)
    if slow:
        _warn_once(", ".join(slow))
        return None
    return FastLayers(layers, own)


def remember_other_use(found: FastLayers) -> None:
    """From now on these layers go the slow way."""
    _used_outside.update(found.layers.values())
    _used_outside.update(found.own.values())


def _trains(layer: nn.Module) -> bool:
    own = list(layer.parameters(recurse=False))
    for attribute in parametrized_attributes(layer):
        own += list(parametrization_of(layer, attribute).parameters())
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


def _shared_with_layers(own: Mapping[str, nn.Module], layers: Mapping[str, nn.Module]) -> list[str]:
    """Modules with a parameter of their own that a layer has too."""
    held = {id(parameter) for layer in layers.values() for _, parameter in trained_parameters(layer)}
    return [
        f"{type(module).__name__} ({name}) with a parameter that a layer has too"
        for name, module in own.items()
        if any(id(parameter) in held for _, parameter in own_parameters(module))
    ]


def _warn_once(what: str) -> None:
    if what not in _warned:
        _warned.add(what)
        warnings.warn(
            f"No fast per-record gradient for {what}; torch.func takes this module's, which is slow.",
            stacklevel=5,
        )
