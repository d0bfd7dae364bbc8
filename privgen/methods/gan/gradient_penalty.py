"""The critic's gradient penalty, on generated images alone: free.

    λ · mean over n pairs of (‖∇_x D(x, y)‖ − 1)²,   x = u·G(z₁, y) + (1 − u)·G(z₂, y),   u ~ U(0, 1), y uniform

A WGAN-GP penalty interpolates between a real image and a generated one, and so touches the record. This one does
not: its gradient is a function of the critic's and the generator's weights, which are functions of what was
released, and of fresh random numbers. It is added to the noised gradient *after* the release.

Guarantees: post-processing (docs/privacy.md, "The critic's penalty"). The functions here take the networks and a
source of random numbers; no record, owed error or batch size reaches them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from privgen.methods.gan import losses
from privgen.methods.gan.networks import Networks


def penalty_gradient(
    networks: Networks, source: torch.Generator, *, images: int, weight: float, largest: float
) -> dict[str, Tensor]:
    """The penalty's gradient for the critic's parameters, by name.

    Args:
        networks: with released weights. source: of latent vectors, classes and u.
        images: number of interpolates, >= 1. weight: λ > 0.
        largest: L2 norm to which the whole gradient is cut, > 0. Records' gradients are clipped; without this
            the penalty would drown them.
    """
    config, device = networks.config, source.device
    labels = torch.randint(config.classes, (images,), generator=source, device=device)
    with torch.no_grad():
        first, second = (
            networks.generator(torch.randn(images, config.latent_dim, generator=source, device=device), labels, source)
            for _ in range(2)
        )
    mix = torch.rand(images, generator=source, device=device)
    penalties = losses.gradient_penalty(lambda x: networks.critic(x, labels), first, second, mix)
    parameters = {name: p for name, p in networks.critic.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(weight * penalties.mean(), list(parameters.values()), allow_unused=True)
    # The score's bias moves no slope.
    gradients = {
        n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(parameters.items(), found, strict=True)
    }
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients.values()]))
    return {name: gradient * (largest / norm).clamp_max(1.0) for name, gradient in gradients.items()}
