"""The free half of a GAN's step: the generator learns from critic and classifier, whose parameters are released.

No record, owed error or batch size reaches anything here.
"""

from __future__ import annotations

import torch

from privgen.methods.gan import losses
from privgen.methods.gan.gan_state import GanState, generated, latent_vectors
from privgen.methods.moving_average import average_into


@torch.no_grad()
def refresh_fakes(state: GanState) -> None:
    """New images for the pool where the generator's own update does not bring them."""
    if state.settings.fake_batches:
        labels = torch.randint(
            state.networks.config.classes, (state.settings.generator_batch,), generator=state.latents,
            device=state.latents.device,
        )  # fmt: skip
        state.fakes.add(generated(state, labels), labels)


def generator_step(state: GanState, *, class_weight: float) -> dict[str, float]:
    """One free update of the generator; touches no record. A part that the plan dropped teaches it nothing.

    Returns:
        The generator's losses on what it generated; post-processing, so they may be shown.
    """
    with state.networks.generator.learning_noise():
        return _generator_update(state, class_weight)


def _generator_update(state: GanState, class_weight: float) -> dict[str, float]:
    networks, settings = state.networks, state.settings
    pairs = max(1, settings.generator_batch // 2)
    labels = torch.randint(networks.config.classes, (pairs,), generator=state.latents, device=state.latents.device)
    labels = labels.repeat(2)  # two images of each class drawn, for the diversity loss
    z = latent_vectors(state, 2 * pairs)
    images = networks.generator(z, labels, state.latents)  # (n, C, H, W)
    if settings.fake_batches:
        state.fakes.add(images, labels)
    if state.steered is not None:
        state.steered.look_at(networks.generator, images, z, labels)
    total, shown = torch.zeros((), device=z.device), {}
    if "critic" in state.optimisers:
        adversarial = losses.generator_loss(settings.adversarial, networks.critic(images, labels)).mean()
        total = total + adversarial
        shown["adversarial"] = float(adversarial.detach())
    if class_weight and "classifier" in state.optimisers:
        cross_entropy = losses.classifier_loss(networks.classifier(images), labels).mean()
        total = total + class_weight * cross_entropy
        shown["class"] = float(cross_entropy.detach())
    if networks.config.mixture_clusters and settings.anchor_weight:
        anchor = losses.anchor_loss(images, networks.generator.mixture(z, labels).clamp(-1, 1))
        total = total + settings.anchor_weight * anchor
        shown["anchor"] = float(anchor.detach())
    if settings.diversity_weight:
        diversity = losses.diversity_loss(images, z)
        total = total + settings.diversity_weight * diversity
        shown["diversity"] = float(diversity.detach())
    if not shown:
        return shown
    optimiser = state.optimisers["generator"]
    optimiser.zero_grad(set_to_none=True)
    gradients = torch.autograd.grad(total, list(networks.generator.parameters()), allow_unused=True)
    for parameter, gradient in zip(networks.generator.parameters(), gradients, strict=True):
        parameter.grad = gradient
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return shown


def average_generator(state: GanState, decay: float) -> None:
    """averaged ← decay · averaged + (1 − decay) · generator."""
    average_into(state.averaged, state.networks.generator, decay)
