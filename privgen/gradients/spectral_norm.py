"""Per-record gradients through spectral normalisation, from those of the weight that the layer uses.

    Ŵ = W / σ,  σ = ⟨D, W⟩,  D = u vᵀ           (Miyato et al. 2018, arXiv 1802.05957, section 2.1)
    gradient for W  =  (G − ⟨G, Ŵ⟩ D) / σ        G: the gradient for Ŵ
    its norm²       =  (‖G‖² − 2⟨G, Ŵ⟩⟨G, D⟩ + ⟨G, Ŵ⟩²‖D‖²) / σ²

u and v are constants, as they are for torch. W is what is updated, so its gradient's norm is the one that is
clipped, and the map is linear in G: summing first and mapping once is the same. A vector (a scale, a bias) is
divided by its length: D = Ŵ.

u and v follow W by power iteration in a forward pass in training mode. In a private pass they stand still
(`standing_still`): otherwise their number of iterations would be that of the physical batches, and none for an empty
Poisson batch, so that they would tell of the records. The free passes move them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

from privgen.gradients.factors import Factor

# Units in the last place that the products of `squared_norms` may lose, relative to their factors' norms.
_ROUNDING = 4.0


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


@dataclass(slots=True)
class SpectralFactor:
    """Gradients for W.

    Args:
        name: of W. of_effective: the same records' gradients for Ŵ. through: the map between them.
    """

    name: str
    of_effective: Factor
    through: SpectralMap

    def squared_norms(self) -> Tensor:
        """See Factor."""
        squares = self.of_effective.squared_norms()
        with_effective, with_direction = self.of_effective.inner_products(
            torch.stack([self.through.effective, self.through.direction])
        ).unbind(1)
        length = self.through.direction.square().sum()
        found = squares - 2 * with_effective * with_direction + with_effective.square() * length
        return (found.clamp_min(0) + self._rounding()) / self.through.sigma.square()

    def _rounding(self) -> Tensor:
        """What may be missing in the terms, which can cancel each other."""
        at_most = 1 + self.through.effective.norm() * self.through.direction.norm()
        scales = self.of_effective.scales()
        return _ROUNDING * torch.finfo(scales.dtype).eps * scales * at_most.square()

    def scales(self) -> Tensor:
        """See Factor."""
        return self.of_effective.scales() / self.through.sigma.square()

    def inner_products(self, others: Tensor) -> Tensor:
        """See Factor: ⟨J G, X⟩ = ⟨G, (X − ⟨D, X⟩ Ŵ) / σ⟩."""
        along = torch.tensordot(others, self.through.direction, dims=self.through.direction.dim())
        back = others - along.view(-1, *[1] * self.through.direction.dim()) * self.through.effective
        return self.of_effective.inner_products(back / self.through.sigma)

    def weighted_sums(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """See Factor."""
        return [self.through(total) for total in self.of_effective.weighted_sums(weights)]

    def drop(self, bad: Tensor) -> None:
        """See Factor."""
        self.of_effective.drop(bad)


def is_spectral(layer: nn.Module, attribute: str) -> bool:
    """Whether this parameter of a layer is spectral-normalised, and nothing besides."""
    if not parametrize.is_parametrized(layer, attribute):
        return False
    chain = layer.parametrizations[attribute]
    return len(chain) == 1 and type(chain[0]) is _SpectralNorm


def spectral_map(layer: nn.Module, attribute: str) -> SpectralMap:
    """The map of one spectral-normalised parameter as it is now."""
    chain = layer.parametrizations[attribute]
    norm, original = chain[0], chain.original.detach()
    with standing_still(layer), torch.no_grad():
        effective = getattr(layer, attribute).detach()
    if original.dim() == 1:
        return SpectralMap(effective=effective, direction=effective, sigma=original.norm().clamp_min(norm.eps))
    shape = original.movedim(norm.dim, 0).shape
    direction = torch.outer(norm._u, norm._v).view(shape).movedim(0, norm.dim)
    return SpectralMap(effective=effective, direction=direction, sigma=(direction * original).sum())


@contextmanager
def standing_still(module: nn.Module) -> Iterator[None]:
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
