"""What critic, classifier and reconstruction ask of each record: a module, a loss of one record, numbers beside it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from privgen.mechanism.record_numbers import RecordNumbers
from privgen.methods.gan import losses
from privgen.methods.gan.gan_state import GanState, generated, trained_by
from privgen.methods.gan.networks.generator import GivenNoise
from privgen.training.method import RecordTask


def record_task(part: str, state: GanState, beside: RecordNumbers) -> RecordTask:
    """What this part asks of each record, at the weights as they are now.

    Raises:
        ValueError: there is no such part.
    """
    if part not in _RECORD_TASKS:
        raise ValueError(f"Expected part={part!r} to be one of {', '.join(_RECORD_TASKS)}.")
    return _RECORD_TASKS[part](state, beside)


def critic_task(state: GanState, beside: RecordNumbers) -> RecordTask:
    """Each record against one generated image of its class: two rows of the critic, one clipped gradient."""
    networks, settings = state.networks, state.settings
    if settings.fake_batches:
        _fill_pool(state)

    def fake_of(y: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """One image of the label: the pool's at a number, or a new one of a latent vector and injected noise."""
        if settings.fake_batches:
            return state.fakes.matching(y, first)[None]
        with torch.no_grad():
            made: Tensor = networks.generator(first[None], y[None], GivenNoise(second))
        return made

    def numbers(size: int) -> tuple[Tensor, Tensor]:
        if settings.fake_batches:
            return beside.uniform(size), beside.uniform(size, 0)
        generator = networks.generator
        return beside.normal(size, networks.config.latent_dim), beside.normal(size, generator.injected_numbers())

    def loss(x: Tensor, y: Tensor, *own: Tensor) -> Tensor:
        scores = networks.critic(torch.cat([x[None], fake_of(y, *own)]), torch.stack([y, y]))  # (2,)
        return losses.critic_loss(settings.adversarial, scores[0], scores[1])

    return RecordTask(module=networks.critic, loss=loss, beside=numbers)


@torch.no_grad()
def _fill_pool(state: GanState) -> None:
    """An image of every class, where the generator's updates have not brought one yet."""
    if not state.fakes.ready:
        every = torch.arange(state.networks.config.classes, device=state.latents.device).repeat(state.fakes.each)
        state.fakes.add(generated(state, every), every)


def _classifier_task(state: GanState, beside: RecordNumbers) -> RecordTask:
    classifier = state.networks.classifier
    return RecordTask(module=classifier, loss=lambda x, y: losses.classifier_loss(classifier(x[None]), y[None])[0])


def _reconstruction_task(state: GanState, beside: RecordNumbers) -> RecordTask:
    networks, settings = state.networks, state.settings

    def numbers(size: int) -> tuple[Tensor, Tensor]:
        generator = networks.generator
        return beside.normal(size, networks.config.latent_dim), beside.normal(size, generator.injected_numbers())

    def loss(x: Tensor, y: Tensor, noise: Tensor, injected: Tensor) -> Tensor:
        mean, log_variance = networks.encoder(x[None], y[None])
        z = mean + noise * torch.exp(0.5 * log_variance)
        return losses.reconstruction_loss(
            networks.generator.decode(z, y[None], GivenNoise(injected)),
            x[None],
            mean,
            log_variance,
            reconstruction_weight=settings.reconstruction_weight,
            kl_weight=settings.kl_weight,
        )[0]

    return RecordTask(module=trained_by("reconstruction", networks), loss=loss, beside=numbers)


_RECORD_TASKS: dict[str, Callable[[GanState, RecordNumbers], RecordTask]] = {
    "critic": critic_task,
    "classifier": _classifier_task,
    "reconstruction": _reconstruction_task,
}
