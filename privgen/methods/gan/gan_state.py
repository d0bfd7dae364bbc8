"""`GanState`: the networks of a GAN in training, and what moves them."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from accountant.plans.parts import Part
from privgen.methods.gan.fake_pool import FakePool
from privgen.methods.gan.networks import Generator, NetworkConfig, Networks, build_networks
from privgen.methods.gan.settings import GanSettings
from privgen.methods.gan.steered_noise import SteeredNoise

Optimisers = dict[str, torch.optim.Optimizer]


@dataclass(kw_only=True)
class GanState:
    """What changes while a GAN is trained.

    Args:
        settings: what it is trained with.
        networks: generator, critic, classifier, encoder. averaged: the generator's moving average.
        optimisers: by part; "generator" is the free one.
        latents: source of latent vectors and of injected noise in the free steps, a stream of its own: what is
            released of these tells nothing of the numbers beside records.
        fakes: generated images that critic and generator share; free, and not part of a checkpoint.
        steered: the rule of a steered σ_noise, or None.
    """

    settings: GanSettings
    networks: Networks
    averaged: Generator
    optimisers: Optimisers
    latents: torch.Generator
    fakes: FakePool
    steered: SteeredNoise | None = None


def trained_by(part: str, networks: Networks) -> nn.Module:
    """The module whose parameters a part's gradient is taken of.

    The reconstruction trains the encoder and the generator together: both see the record.
    """
    if part == "critic":
        return networks.critic
    if part == "classifier":
        return networks.classifier
    if part == "reconstruction":
        return nn.ModuleDict({"encoder": networks.encoder, "generator": networks.generator})
    raise ValueError(f"Expected part={part!r} to be critic, classifier or reconstruction.")


def latent_vectors(state: GanState, count: int) -> Tensor:
    """(count, latent) standard normal vectors, for free steps."""
    generator = state.latents
    return torch.randn(count, state.networks.config.latent_dim, generator=generator, device=generator.device)


def generated(state: GanState, labels: Tensor) -> Tensor:
    """One new image of each label (n,): (n, C, H, W)."""
    images: Tensor = state.networks.generator(latent_vectors(state, len(labels)), labels, state.latents)
    return images


def initial_parts(
    parts: tuple[Part, ...], network: NetworkConfig, settings: GanSettings, device: torch.device
) -> tuple[Networks, Generator, Optimisers, FakePool]:
    """Freshly initialised networks, the average, optimisers of these parts and an empty pool, on a device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        networks = build_networks(network).to(device)
    averaged = copy.deepcopy(networks.generator).requires_grad_(False)
    each = max(1, settings.fake_batches * settings.generator_batch // network.classes)
    fakes = FakePool(classes=network.classes, each=each)
    return networks, averaged, _optimisers(parts, networks, settings), fakes


def _optimisers(parts: tuple[Part, ...], networks: Networks, settings: GanSettings) -> Optimisers:
    rates = {"critic": settings.critic_rate, "classifier": settings.classifier_rate}
    result: Optimisers = {}
    for part in parts:
        module = trained_by(part.name, networks)
        if part.name == "reconstruction":
            result["reconstruction"] = torch.optim.SGD(
                [
                    {"params": list(networks.encoder.parameters()), "lr": settings.encoder_rate},
                    {"params": list(networks.generator.parameters()), "lr": settings.reconstruction_rate},
                ],
                momentum=settings.momentum,
            )
        elif settings.optimiser == "sgd":
            result[part.name] = torch.optim.SGD(module.parameters(), lr=rates[part.name], momentum=settings.momentum)
        else:
            result[part.name] = torch.optim.AdamW(
                module.parameters(),
                lr=rates[part.name],
                betas=(settings.momentum, 0.999),
                weight_decay=settings.weight_decay,
            )
    result["generator"] = torch.optim.Adam(
        networks.generator.parameters(), lr=settings.generator_rate, betas=(settings.momentum, 0.999)
    )
    return result
