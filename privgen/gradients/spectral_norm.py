"""From a gradient for the spectral-normalised weight to the one for the parameter behind it.

    Ŵ = W / σ,  σ = ⟨D, W⟩,  D = u vᵀ           (Miyato et al. 2018, arXiv 1802.05957, section 2.1)
    gradient for W  =  (G − ⟨G, Ŵ⟩ D) / σ        G: the gradient for Ŵ

What is clipped, summed and noised is G. The map is linear and depends on released weights alone, so it is applied to
the noised sum: post-processing. A vector (a scale, a bias) is divided by its length: D = Ŵ.

u and v follow W by power iteration in a forward pass in training mode. In a private pass they are frozen
(`freeze_power_iteration`): otherwise their number of iterations would be that of the physical batches, so that they
would tell of the records. The free passes move them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

_ORIGINAL = ".original"


@dataclass(frozen=True, kw_only=True, slots=True)
class SpectralMap:
    """From gradients for Ŵ to gradients for W.

    Args:
        effective: Ŵ. direction: D, of the same shape. sigma: σ, a scalar.
    """

    effective: Tensor
    direction: Tensor
    sigma: Tensor

    def __call__(self, gradient: Tensor) -> Tensor:
        """(G − ⟨G, Ŵ⟩ D) / σ."""
        return (gradient - (gradient * self.effective).sum() * self.direction) / self.sigma


def parametrization_of(layer: nn.Module, attribute: str) -> parametrize.ParametrizationList:
    """What makes this parameter of a parametrised layer."""
    assert isinstance(layer.parametrizations, nn.ModuleDict)
    chain = layer.parametrizations[attribute]
    assert isinstance(chain, parametrize.ParametrizationList)
    return chain


def parametrized_attributes(layer: nn.Module) -> tuple[str, ...]:
    """The parameters of a layer that something makes."""
    if not parametrize.is_parametrized(layer):
        return ()
    assert isinstance(layer.parametrizations, nn.ModuleDict)
    return tuple(layer.parametrizations.keys())


def is_spectral(layer: nn.Module, attribute: str) -> bool:
    """Whether this parameter of a layer is spectral-normalised, and nothing besides."""
    if not parametrize.is_parametrized(layer, attribute):
        return False
    chain = parametrization_of(layer, attribute)
    return len(chain) == 1 and type(chain[0]) is _SpectralNorm


def spectral_map(layer: nn.Module, attribute: str) -> SpectralMap:
    """The map of one spectral-normalised parameter as it is now."""
    chain = parametrization_of(layer, attribute)
    norm, original = chain[0], chain.original.detach()
    assert isinstance(norm, _SpectralNorm)
    with freeze_power_iteration(layer), torch.no_grad():
        effective = getattr(layer, attribute).detach()
    if original.dim() == 1:
        return SpectralMap(effective=effective, direction=effective, sigma=original.norm().clamp_min(norm.eps))
    shape = original.movedim(norm.dim, 0).shape
    direction = torch.outer(norm._u, norm._v).view(shape).movedim(0, norm.dim)
    return SpectralMap(effective=effective, direction=direction, sigma=(direction * original).sum())


def for_parameters(module: nn.Module, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Noised gradients, each for the parameter that is trained: those of normalised weights mapped to what is behind.

    Args:
        gradients: by parameter name, as `private_sums` sums them. Post-processing: reads weights and gradients alone.
    """
    found = dict(gradients)
    for name, layer in module.named_modules():
        for attribute in parametrized_attributes(layer):
            full = f"{name + '.' if name else ''}parametrizations.{attribute}{_ORIGINAL}"
            if full in found and is_spectral(layer, attribute):
                found[full] = spectral_map(layer, attribute)(found[full])
    return found


@contextmanager
def freeze_power_iteration(module: nn.Module) -> Iterator[None]:
    """Within this, no forward pass moves a normalisation's own state."""
    moving = [part for part in _normalisations(module) if part.training]
    try:
        for part in moving:
            part.training = False
        yield
    finally:
        for part in moving:
            part.training = True


def _normalisations(module: nn.Module) -> Iterator[nn.Module]:
    for part in module.modules():
        if isinstance(part, parametrize.ParametrizationList):
            yield from part.modules()
        elif any(isinstance(hook, SpectralNorm) for hook in part._forward_pre_hooks.values()):
            yield part
