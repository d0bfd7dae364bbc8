"""The losses, one value a record. Which of them touch records, and what that costs, stands with each.

>>> critic_loss("hinge", torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 0.0]))
tensor([0., 2.])
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from privgen.errors import ConfigError


def critic_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's loss on a record and one generated image of its class.

    | kind | formula |
    |---|---|
    | hinge | max(0, 1 − D(x)) + max(0, 1 + D(G(z))) |
    | wasserstein | D(G(z)) − D(x); the critic is bounded by `critic_constraint`, never by a penalty on records |
    | non-saturating | softplus(−D(x)) + softplus(D(G(z))) |

    Args:
        kind: one of these. real, fake: scores (b,).

    Returns:
        (b,). Touches the data: its gradient for the critic is clipped for each record, noised, and costs the
        critic's share of the step's tuple.

    Raises:
        ConfigError: the kind is not one of these.
    """
    if kind == "hinge":
        return functional.relu(1 - real) + functional.relu(1 + fake)
    if kind == "wasserstein":
        return fake - real
    if kind == "non-saturating":
        return functional.softplus(-real) + functional.softplus(fake)
    raise ConfigError(f"Expected kind={kind!r} to be hinge, wasserstein or non-saturating.")


def gradient_penalty(critic: Callable[[Tensor], Tensor], first: Tensor, second: Tensor, mix: Tensor) -> Tensor:
    """(‖∇_x D(x)‖ − 1)² at x = u·x₁ + (1 − u)·x₂ between two *generated* images.

    Gulrajani et al. 2017 (arXiv 1704.00028, eq. 3) with a generated image in the place of the real one.

    Args:
        critic: images (n, C, H, W) → scores (n,). first, second: images (n, C, H, W). mix: u in [0, 1], (n,).

    Returns:
        (n,), differentiable in the critic's parameters. Free as long as both images are generated: see
        `privgen.methods.gan.gradient_penalty`, the only place that calls it.
    """
    u = mix.view(-1, 1, 1, 1)
    x = (u * first + (1 - u) * second).detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    # The square root of nothing has no slope.
    return ((slope.square().flatten(1).sum(1) + 1e-12).sqrt() - 1).square()


def generator_loss(kind: str, fake: Tensor) -> Tensor:
    """The generator's loss on its own images' scores: −D(G(z)), or softplus(−D(G(z))) if non-saturating.

    Args:
        kind: hinge, wasserstein or non-saturating. fake: scores (n,).

    Returns:
        (n,). Free: the discriminator's parameters are private already, so this is post-processing.
    """
    return functional.softplus(-fake) if kind == "non-saturating" else -fake


def classifier_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy, −log softmax(logits)[label].

    Args:
        logits: (b, classes). labels: (b,).

    Returns:
        (b,). On records it touches the data and costs the classifier's share of the step's tuple; on generated
        images, where it teaches the generator, it is free.
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
    """γ_recon · mean((G(E(x)) − x)²) + w_KL · mean(½ (e^log_variance + mean² − 1 − log_variance)).

    The first mean is over the C·H·W values of an image; the second over the latent's, and is 1/latent of
    KL(N(mean, e^log_variance) ‖ N(0, 1)).

    Args:
        reconstructed, images: (b, C, H, W). mean, log_variance: (b, latent).
        reconstruction_weight: γ_recon >= 0. kl_weight: w_KL >= 0.

    Returns:
        (b,). Touches the data through both terms: encoder's and generator's gradients together are clipped for
        each record, noised, and cost the reconstruction's share of the step's tuple.
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


def anchor_loss(images: Tensor, base: Tensor) -> Tensor:
    """How far images have gone from what a warm start's mixture makes of the same latent vectors: mean (x − x₀)².

    Args:
        images, base: (n, C, H, W) in [−1, 1].

    Returns:
        A scalar. Touches generated images only: free. It keeps the spread of the mixture, which a critic cannot see.
    """
    return (images - base).square().mean()
