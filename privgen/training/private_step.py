"""The two halves of a step: the private one, which sees records, and the free one, which does not.

    private:  receipt → one Poisson draw → per-record clipped sums of every part → error feedback →
              one joint noised release → optimisers of critic, classifier and reconstruction
    free:     the generator learns from critic and classifier, whose parameters are already private

Guarantees: records enter through `private_sums` alone, and what it returns leaves through `release.gaussian`
alone. Every divisor is the public qN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from accountant.events import BandedGaussian, Event, HiddenFeedbackGaussian
from accountant.ledger.guard import Receipt
from accountant.plans.plan import Part, Plan
from privgen.config import TrainConfig
from privgen.data.batches import DrawnImages
from privgen.gradients.clipped_sums import Sums, private_sums
from privgen.mechanism.error_feedback import (
    OwedError,
    PaperError,
    banded_weights,
    exchange,
    paper_exchange,
    paper_weights,
)
from privgen.mechanism.noise import NoiseSource
from privgen.mechanism.release import gaussian
from privgen.methods.gan import losses
from privgen.methods.gan.gradient_penalty import penalty_gradient
from privgen.training.state import TrainState, parameters_of, trained_by

TensorDict = dict[str, Tensor]
# Records' images, or what will be them once they are read.
Rows = Tensor | DrawnImages
# A loss a record, the tensors that it takes, and how many rows of a record a layer sees.
RecordLoss = tuple[Callable[..., Tensor], tuple[Rows, ...], int]


class Planted(Protocol):
    """Records in the batch that are none of the data's, and who watches them:
    `privgen.training.canary_scores.WatchedStep`."""

    images: Tensor
    labels: Tensor

    def beside(self, part: Part, own: Sums, planted: Sums) -> Sums:
        """Both sums as one."""

    def see(self, noised: Mapping[str, TensorDict]) -> None:
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
    noise: NoiseSource,
    planted: Planted | None = None,
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
    bands = event.bands if isinstance(event, BandedGaussian) else 1
    batch_size = event.sampling_rate * plan.dataset_size
    to_release: dict[str, TensorDict] = {}
    sums: dict[str, Sums] = {}
    for part in parts:
        sums[part.name] = _sums(part, state, config, event, images, labels)
        if planted is not None:
            canaries = _sums(part, state, config, event, planted.images, planted.labels)
            sums[part.name] = planted.beside(part, sums[part.name], canaries)
        to_release[part.name] = _fed_back(part, state.owed.get(part.name), sums[part.name], batch_size)
    noised = gaussian(to_release, parts=parts, bands=bands, receipt=receipt, noise=noise)
    if planted is not None:
        planted.see(noised)
    for part in parts:
        _update(part, state, config, noised[part.name], batch_size)
    return DrawStatistics(
        batch_size=len(labels),
        nonfinite=sum(s.nonfinite for s in sums.values()),
        median_norm={n: float(s.norms.median()) if len(s.norms) else 0.0 for n, s in sums.items()},
    )


def _sums(part: Part, state: TrainState, config: TrainConfig, event: Event, images: Rows, labels: Tensor) -> Sums:
    loss, batch, rows = _RECORD_LOSSES[part.name](state, config, images, labels)
    return private_sums(
        trained_by(part.name, state.networks),
        loss,
        batch,
        _weighting(part, event),
        rows_per_record=rows,
        physical_batch=config.physical_batch,
    )


def _weighting(part: Part, event: Event) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """Weights of each record from its norm: clipped, and what the feedback needs beside it."""
    if isinstance(event, HiddenFeedbackGaussian):
        return lambda norms: paper_weights(norms, clip_norm=part.clip_norm)
    if isinstance(event, BandedGaussian) and event.bands > 1:
        return lambda norms: banded_weights(norms, clip_norm=part.clip_norm, residual_clip_norm=part.residual_clip_norm)
    return lambda norms: banded_weights(norms, clip_norm=part.clip_norm, residual_clip_norm=0.0)[:1]


def _fed_back(part: Part, owed: OwedError | PaperError | None, sums: Sums, batch_size: float) -> TensorDict:
    """The sums to release before noise, and the owed error brought up to date."""
    if isinstance(owed, PaperError):
        return paper_exchange(owed, *sums.sums, feedback_clip_norm=part.feedback_clip_norm, batch_size=batch_size)
    if isinstance(owed, OwedError) and owed.bands > 1:
        return exchange(owed, *sums.sums)
    return sums.sums[0]


def _update(part: Part, state: TrainState, config: TrainConfig, noised: TensorDict, batch_size: float) -> None:
    """Post-processing of what was released: the optimiser's step, and what is free beside it."""
    module = trained_by(part.name, state.networks)
    free = _free_gradient(part, state, config)
    for key, parameter in parameters_of(module).items():
        parameter.grad = (noised[key] / batch_size).to(parameter.dtype) + free.get(key, 0.0)
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


def numbers(state: TrainState, count: int) -> Tensor:
    """(count,) uniform in [0, 1), float64."""
    generator = state.latents
    return torch.rand(count, generator=generator, device=generator.device, dtype=torch.float64)


def _critic_loss(state: TrainState, config: TrainConfig, images: Rows, labels: Tensor) -> RecordLoss:
    """Each record against one generated image of its class: two rows a record, one clipped gradient."""
    critic = state.networks.critic
    fakes = _fakes(state, config, labels)

    def loss(real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
        scores = critic(torch.cat([real, fake]), torch.cat([y, y]))  # (2b,)
        return losses.critic_loss(config.adversarial, *scores.chunk(2))

    return loss, (images, fakes, labels), 2


def _generated(state: TrainState, labels: Tensor) -> Tensor:
    """One new image of each label (n,): (n, C, H, W)."""
    return state.networks.generator(latents(state, len(labels)), labels, state.latents)


@torch.no_grad()
def _fakes(state: TrainState, config: TrainConfig, labels: Tensor) -> Tensor:
    """One generated image of its class for each record: from the pool, or new."""
    if not config.fake_batches:
        return _generated(state, labels)
    if not state.fakes.ready:
        every = torch.arange(state.networks.config.classes, device=labels.device).repeat(state.fakes.each)
        state.fakes.add(_generated(state, every), every)
    return state.fakes.matching(labels, numbers(state, len(labels)))


@torch.no_grad()
def refresh_fakes(state: TrainState, config: TrainConfig) -> None:
    """New images for the pool where the generator's own update does not bring them."""
    if config.fake_batches:
        labels = torch.randint(
            state.networks.config.classes, (config.generator_batch,), generator=state.latents,
            device=state.latents.device,
        )  # fmt: skip
        state.fakes.add(_generated(state, labels), labels)


def _classifier_loss(state: TrainState, config: TrainConfig, images: Rows, labels: Tensor) -> RecordLoss:
    classifier = state.networks.classifier
    return (lambda x, y: losses.classifier_loss(classifier(x), y)), (images, labels), 1


def _reconstruction_loss(state: TrainState, config: TrainConfig, images: Rows, labels: Tensor) -> RecordLoss:
    networks = state.networks

    def loss(x: Tensor, y: Tensor, noise: Tensor) -> Tensor:
        mean, log_variance = networks.encoder(x, y)
        z = mean + noise * torch.exp(0.5 * log_variance)
        return losses.reconstruction_loss(
            networks.generator(z, y, state.latents),
            x,
            mean,
            log_variance,
            reconstruction_weight=config.reconstruction_weight,
            kl_weight=config.kl_weight,
        )

    return loss, (images, labels, latents(state, len(labels))), 1


_RECORD_LOSSES = {
    "critic": _critic_loss,
    "classifier": _classifier_loss,
    "reconstruction": _reconstruction_loss,
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
        astray = losses.anchor_loss(images, networks.generator.mixture(z, labels).clamp(-1, 1))
        total = total + config.anchor_weight * astray
        shown["astray"] = float(astray.detach())
    if config.diversity_weight:
        alike = losses.diversity_loss(images, z)
        total = total + config.diversity_weight * alike
        shown["alike"] = float(alike.detach())
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
