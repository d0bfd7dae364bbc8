"""The losses, one value a record. Which of them touch records, and what that costs, stands with each.

>>> critic_loss("hinge", torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 0.0]))
tensor([0., 2.])
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from privgen.errors import ConfigError


def critic_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's loss on a record and one generated image of its class.

    | kind | formula |
    |---|---|
    | hinge | max(0, 1 − D(x)) + max(0, 1 + D(G(z))) |
    | wasserstein | D(G(z)) − D(x); bounded by clipping, not by a penalty on records |
    | non-saturating | softplus(−D(x)) + softplus(D(G(z))) |

    Args:
        kind: one of these. real, fake: scores (b,).

    Returns:
        (b,). Touches the data: its gradient is clipped for each record, noised, and part of the charged tuple.
    """
    if kind == "hinge":
        return functional.relu(1 - real) + functional.relu(1 + fake)
    if kind == "wasserstein":
        return fake - real
    if kind == "non-saturating":
        return functional.softplus(-real) + functional.softplus(fake)
    raise ConfigError(f"Expected kind={kind!r} to be hinge, wasserstein or non-saturating.")


def generator_loss(kind: str, fake: Tensor) -> Tensor:
    """The generator's loss on its own images' scores (n,): −D, or softplus(−D) if non-saturating.

    Free: the discriminator's parameters are private already, so this is post-processing.
    """
    return functional.softplus(-fake) if kind == "non-saturating" else -fake


def classifier_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy, logits (b, classes), labels (b,) → (b,).

    On records it touches the data and is part of the charged tuple; on generated images it is free.
    """
    return functional.cross_entropy(logits, labels, reduction="none")


def reconstruction_loss(
    reconstructed: Tensor,
    images: Tensor,
    mean: Tensor,
    log_variance: Tensor,
    *,
    reconstruction_weight: float,
    kl_weight: float,
) -> Tensor:
    """γ_recon · mean((G(E(x)) − x)²) + w_KL · KL(N(mean, e^log_variance) ‖ N(0, 1)).

    Args:
        reconstructed, images: (b, C, H, W). mean, log_variance: (b, latent).

    Returns:
        (b,). Touches the data through both terms: encoder's and generator's gradients together are clipped for
        each record, noised, and part of the charged tuple.
    """
    squared = (reconstructed - images).square().flatten(1).mean(1)
    divergence = 0.5 * (torch.exp(log_variance) + mean.square() - 1 - log_variance).mean(1)
    return reconstruction_weight * squared + kl_weight * divergence


def diversity_loss(images: Tensor, z: Tensor) -> Tensor:
    """Mode seeking: large where two images of a class are alike though their latent vectors are not.

        mean |z₁ − z₂| / mean |G(z₁) − G(z₂)|                  (Mao et al. 2019, arXiv 1903.05628, eq. 3)

    Args:
        images: (2n, C, H, W) in [−1, 1], the second half of the same classes as the first. z: (2n, latent).

    Returns:
        A scalar. Touches generated images only: free.
    """
    first, second = images.chunk(2)
    apart, latents = (first - second).abs().mean(), (z[: len(first)] - z[len(first) :]).abs().mean()
    return latents / (apart + 1e-5)
