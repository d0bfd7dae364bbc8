"""The two halves of a step: the private one, which sees records, and the free one, which does not.

    private:  receipt → one Poisson draw → per-record integer sums of every part → error feedback →
              one joint release with exact noise → optimisers of critic, classifier and reconstruction
    free:     the generator learns from critic and classifier, whose parameters are already private

Guarantees: records enter through `private_sums` alone, and what it returns leaves through `release.gaussian`
alone. Every divisor is the public qN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from accountant.events import Event
from accountant.ledger.receipt import Receipt
from accountant.plans.parts import Part
from accountant.plans.plan import Plan
from privgen.config import TrainConfig
from privgen.data.batches import DrawnImages
from privgen.gradients.clipped_sums import Beside, Sums, Weighting, private_sums
from privgen.gradients.passes import RecordLoss
from privgen.gradients.spectral_norm import for_parameters
from privgen.mechanism.error_feedback import (
    FeedbackMemory,
    PublishedError,
    apply_feedback,
    apply_published_feedback,
    banded_weights,
    clipped_weights,
    paper_weights,
)
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.release import gaussian
from privgen.methods.gan import losses
from privgen.methods.gan.gradient_penalty import penalty_gradient
from privgen.methods.gan.networks.generator import GivenNoise
from privgen.training.state import TrainState, parameters_of, trained_by

TensorDict = dict[str, Tensor]
# Records' images, or what will be them once they are read.
Rows = Tensor | DrawnImages


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordTask:
    """What a private part asks of each record.

    Args:
        module: whose parameters the gradient is taken of. loss: (image (C, H, W), label, *numbers) → scalar, of one
            record. beside: draws the numbers for every place of a pass, or None.
    """

    module: nn.Module
    loss: RecordLoss
    beside: Beside | None = None

    def sums(self, images: Rows, labels: Tensor, weighting: Weighting, *, physical_batch: int | None) -> Sums:
        """`private_sums` of these records."""
        return private_sums(
            self.module, self.loss, (images, labels), weighting, beside=self.beside, physical_batch=physical_batch
        )


class CanaryObserver(Protocol):
    """Records in the batch that are none of the data's, and who watches them:
    `privgen.training.canary_scores.WatchedStep`."""

    images: Tensor
    labels: Tensor

    def merge_sums(self, part: Part, own: Sums, planted: Sums) -> Sums:
        """Both sums as one."""

    def observe_release(self, noised: Mapping[str, TensorDict]) -> None:
        """Look at what is released, before the parameters change."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawStatistics:
    """Of one draw of records; private, never released.

    Args:
        batch_size: realised. nonfinite: records whose gradient was not finite and counted as zero.
        median_norm: by part, before clipping.
    """

    batch_size: int
    nonfinite: int
    median_norm: Mapping[str, float]


def private_step(
    state: TrainState,
    plan: Plan,
    config: TrainConfig,
    *,
    parts: tuple[Part, ...],
    receipt: Receipt,
    images: Rows,
    labels: Tensor,
    noise: ExactGaussian,
    planted: CanaryObserver | None = None,
) -> DrawStatistics:
    """One private step on one Poisson draw.

    Args:
        parts: the plan's, with the noise of the current phase.
        images: (n, C, H, W) in [-1, 1], n from 0 up. labels: (n,).
        planted: canaries of the same draw, or None.

    Raises:
        ReceiptError: the receipt was used or is for another event.
    """
    event = receipt.event
    bands = event.bands
    batch_size = event.sampling_rate * plan.dataset_size
    to_release: dict[str, TensorDict] = {}
    sums: dict[str, Sums] = {}
    for part in parts:
        task = record_task(part.name, state, config)
        weigh = weighting_of(part, event)
        size = state.physical_batches.get(part.name, config.physical_batch)
        sums[part.name] = task.sums(images, labels, weigh, physical_batch=size)
        if planted is not None:
            canaries = task.sums(planted.images, planted.labels, weigh, physical_batch=size)
            sums[part.name] = planted.merge_sums(part, sums[part.name], canaries)
        to_release[part.name] = feed_back(part, state.owed.get(part.name), sums[part.name].sums, batch_size)
    noised = gaussian(to_release, parts=parts, bands=bands, receipt=receipt, noise=noise, batch_size=batch_size)
    if planted is not None:
        planted.observe_release(noised)
    for part in parts:
        _update(part, state, config, noised[part.name], batch_size)
    return DrawStatistics(
        batch_size=len(labels),
        nonfinite=sum(s.nonfinite for s in sums.values()),
        median_norm={n: float(s.norms.median()) if len(s.norms) else 0.0 for n, s in sums.items()},
    )


def weighting_of(part: Part, event: Event) -> Weighting:
    """Weights of each record from its norm: clipped, and what the feedback needs beside it."""
    clip: dict[str, float] = {"clip_norm": part.clip_norm, "grid_step": part.step}
    if event.feedback_ratio is not None:
        return lambda norms: paper_weights(norms, **clip)
    if event.bands > 1:
        bands, residual = event.bands, part.residual_clip_norm
        return lambda norms: banded_weights(norms, residual_clip_norm=residual, bands=bands, **clip)
    return lambda norms: (clipped_weights(norms, **clip),)


def feed_back(
    part: Part, owed: FeedbackMemory | PublishedError | None, sums: tuple[TensorDict, ...], batch_size: float
) -> TensorDict:
    """The sums to release before noise, int64 in grid steps, and the owed error brought up to date."""
    if isinstance(owed, PublishedError):
        return apply_published_feedback(
            owed, *sums, feedback_clip_norm=part.feedback_clip_norm, batch_size=batch_size, grid_step=part.step
        )
    if isinstance(owed, FeedbackMemory) and owed.bands > 1:
        return apply_feedback(owed, *sums)
    return {name: value.to(torch.int64) for name, value in sums[0].items()}


def _update(part: Part, state: TrainState, config: TrainConfig, noised: TensorDict, batch_size: float) -> None:
    """Post-processing of what was released: the optimiser's step, and what is free beside it."""
    module = trained_by(part.name, state.networks)
    free = _free_gradient(part, state, config)
    unit = part.step / batch_size
    means = for_parameters(module, {key: value.double() * unit for key, value in noised.items()})
    for key, parameter in parameters_of(module).items():
        parameter.grad = means[key].to(parameter.dtype) + free.get(key, 0.0)
    state.optimisers[part.name].step()
    module.zero_grad(set_to_none=True)
    if part.name == "critic":
        state.networks.critic.update_spectral_norms()


def _free_gradient(part: Part, state: TrainState, config: TrainConfig) -> TensorDict:
    """What a part's gradient has beside the records', made of released networks alone."""
    if part.name != "critic" or config.critic_constraint != "gradient-penalty":
        return {}
    return penalty_gradient(
        state.networks,
        state.latents,
        images=config.generator_batch,
        weight=config.penalty_weight,
        # As long as the mean of records that all agree.
        largest=part.clip_norm + part.residual_clip_norm,
    )


def latents(state: TrainState, count: int) -> Tensor:
    """(count, latent) standard normal vectors."""
    generator = state.latents
    return torch.randn(count, state.networks.config.latent_dim, generator=generator, device=generator.device)


def record_task(part: str, state: TrainState, config: TrainConfig) -> RecordTask:
    """What this part asks of each record, at the weights as they are now.

    Raises:
        ValueError: there is no such part.
    """
    if part not in _RECORD_TASKS:
        raise ValueError(f"Expected part={part!r} to be one of {', '.join(_RECORD_TASKS)}.")
    return _RECORD_TASKS[part](state, config)


def critic_task(state: TrainState, config: TrainConfig) -> RecordTask:
    """Each record against one generated image of its class: two rows of the critic, one clipped gradient."""
    networks, beside = state.networks, state.beside
    if config.fake_batches:
        _fill_pool(state)

        def fake_of(y: Tensor, number: Tensor, _: Tensor) -> Tensor:
            return state.fakes.matching(y, number)[None]
    else:

        def fake_of(y: Tensor, z: Tensor, injected: Tensor) -> Tensor:
            with torch.no_grad():
                return networks.generator(z[None], y[None], GivenNoise(injected))

    def numbers(size: int) -> tuple[Tensor, Tensor]:
        if config.fake_batches:
            return beside.uniform(size), beside.uniform(size, 0)
        generator = networks.generator
        return beside.normal(size, networks.config.latent_dim), beside.normal(size, generator.injected_numbers())

    def loss(x: Tensor, y: Tensor, *own: Tensor) -> Tensor:
        scores = networks.critic(torch.cat([x[None], fake_of(y, *own)]), torch.stack([y, y]))  # (2,)
        return losses.critic_loss(config.adversarial, scores[0], scores[1])

    return RecordTask(module=networks.critic, loss=loss, beside=numbers)


@torch.no_grad()
def _fill_pool(state: TrainState) -> None:
    """An image of every class, where the generator's updates have not brought one yet."""
    if not state.fakes.ready:
        every = torch.arange(state.networks.config.classes, device=state.latents.device).repeat(state.fakes.each)
        state.fakes.add(_generated(state, every), every)


def _generated(state: TrainState, labels: Tensor) -> Tensor:
    """One new image of each label (n,): (n, C, H, W)."""
    return state.networks.generator(latents(state, len(labels)), labels, state.latents)


@torch.no_grad()
def refresh_fakes(state: TrainState, config: TrainConfig) -> None:
    """New images for the pool where the generator's own update does not bring them."""
    if config.fake_batches:
        labels = torch.randint(
            state.networks.config.classes, (config.generator_batch,), generator=state.latents,
            device=state.latents.device,
        )  # fmt: skip
        state.fakes.add(_generated(state, labels), labels)


def _classifier_task(state: TrainState, config: TrainConfig) -> RecordTask:
    classifier = state.networks.classifier
    return RecordTask(module=classifier, loss=lambda x, y: losses.classifier_loss(classifier(x[None]), y[None])[0])


def _reconstruction_task(state: TrainState, config: TrainConfig) -> RecordTask:
    networks, beside = state.networks, state.beside

    def numbers(size: int) -> tuple[Tensor, Tensor]:
        generator = networks.generator
        return beside.normal(size, networks.config.latent_dim), beside.normal(size, generator.injected_numbers())

    def loss(x: Tensor, y: Tensor, noise: Tensor, injected: Tensor) -> Tensor:
        mean, log_variance = networks.encoder(x[None], y[None])
        z = mean + noise * torch.exp(0.5 * log_variance)
        return losses.reconstruction_loss(
            networks.generator(z, y[None], GivenNoise(injected)),
            x[None],
            mean,
            log_variance,
            reconstruction_weight=config.reconstruction_weight,
            kl_weight=config.kl_weight,
        )[0]

    return RecordTask(module=trained_by("reconstruction", networks), loss=loss, beside=numbers)


_RECORD_TASKS: dict[str, Callable[[TrainState, TrainConfig], RecordTask]] = {
    "critic": critic_task,
    "classifier": _classifier_task,
    "reconstruction": _reconstruction_task,
}


def generator_step(state: TrainState, config: TrainConfig, *, class_weight: float) -> dict[str, float]:
    """One free update of the generator; touches no record. A part that the plan dropped teaches it nothing.

    Returns:
        The generator's losses on what it generated; post-processing, so they may be shown.
    """
    with state.networks.generator.learning_noise():
        return _generator_update(state, config, class_weight)


def _generator_update(state: TrainState, config: TrainConfig, class_weight: float) -> dict[str, float]:
    networks = state.networks
    pairs = max(1, config.generator_batch // 2)
    labels = torch.randint(networks.config.classes, (pairs,), generator=state.latents, device=state.latents.device)
    labels = labels.repeat(2)  # two images of each class drawn, for the diversity loss
    z = latents(state, 2 * pairs)
    images = networks.generator(z, labels, state.latents)  # (n, C, H, W)
    if config.fake_batches:
        state.fakes.add(images, labels)
    total, shown = torch.zeros((), device=z.device), {}
    if "critic" in state.optimisers:
        adversarial = losses.generator_loss(config.adversarial, networks.critic(images, labels)).mean()
        total = total + adversarial
        shown["adversarial"] = float(adversarial.detach())
    if class_weight and "classifier" in state.optimisers:
        cross_entropy = losses.classifier_loss(networks.classifier(images), labels).mean()
        total = total + class_weight * cross_entropy
        shown["class"] = float(cross_entropy.detach())
    if networks.config.mixture_clusters and config.anchor_weight:
        anchor = losses.anchor_loss(images, networks.generator.mixture(z, labels).clamp(-1, 1))
        total = total + config.anchor_weight * anchor
        shown["anchor"] = float(anchor.detach())
    if config.diversity_weight:
        diversity = losses.diversity_loss(images, z)
        total = total + config.diversity_weight * diversity
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


@torch.no_grad()
def average_generator(state: TrainState, decay: float) -> None:
    """averaged ← decay · averaged + (1 − decay) · generator."""
    for mean, value in zip(state.averaged.parameters(), state.networks.generator.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)
    for mean, value in zip(state.averaged.buffers(), state.networks.generator.buffers(), strict=True):
        mean.copy_(value)
