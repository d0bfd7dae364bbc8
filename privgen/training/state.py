"""`TrainState`: everything that changes while training, and how it goes into a checkpoint and comes back.

The noise source, the Poisson coins and the receipts are never part of it: a resumed step draws afresh.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from accountant.events import Event
from accountant.plans.parts import Feedback, Part
from accountant.plans.plan import Plan
from privgen.config import TrainConfig
from privgen.errors import CheckpointError
from privgen.mechanism.error_feedback import FeedbackMemory, PublishedError
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.methods.gan.fake_pool import FakePool
from privgen.methods.gan.networks import Generator, NetworkConfig, Networks, build_networks
from privgen.training.checkpoint import Snapshot

Optimisers = dict[str, torch.optim.Optimizer]


@dataclass(kw_only=True)
class TrainState:
    """The changing half of a run.

    Args:
        networks: generator, critic, classifier, encoder. averaged: the generator's moving average.
        optimisers: by name; "generator" is the free one.
        event: of the current segment, or None before the first step.
        owed: hidden error of each part in the current segment; made of raw gradients, private.
        beside: source of the numbers that stand beside records.
        latents: source of latent vectors and of injected noise in the free steps, a stream of its own: what is
            released of these tells nothing of the numbers beside records.
        physical_batches: records in a pass of each part, as the row check left them; empty before it ran.
        fakes: generated images that critic and generator share; free, and not part of a checkpoint.
    """

    networks: Networks
    averaged: Generator
    optimisers: Optimisers
    event: Event | None
    owed: dict[str, FeedbackMemory | PublishedError]
    beside: RecordNumbers
    latents: torch.Generator
    fakes: FakePool
    physical_batches: dict[str, int] = field(default_factory=dict)


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


def parameters_of(module: nn.Module) -> dict[str, Tensor]:
    """Trainable parameters by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def new_state(
    plan: Plan,
    network_config: NetworkConfig,
    config: TrainConfig,
    latents: torch.Generator,
    beside: RecordNumbers | None = None,
) -> TrainState:
    """Freshly initialised networks and optimisers, on the device of `latents`; nothing owed.

    Args:
        latents: of the free steps. beside: of numbers beside records, or None for the operating system's.
    """
    device = latents.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        networks = build_networks(network_config).to(device)
    averaged = copy.deepcopy(networks.generator).requires_grad_(False)
    return TrainState(
        networks=networks,
        averaged=averaged,
        optimisers=_optimisers(plan.parts, networks, config),
        event=None,
        owed={},
        beside=RecordNumbers(device=device) if beside is None else beside,
        latents=latents,
        fakes=FakePool(
            classes=network_config.classes,
            each=max(1, config.fake_batches * config.generator_batch // network_config.classes),
        ),
    )


def _optimisers(parts: tuple[Part, ...], networks: Networks, config: TrainConfig) -> Optimisers:
    rates = {"critic": config.critic_rate, "classifier": config.classifier_rate}
    result: Optimisers = {}
    for part in parts:
        module = trained_by(part.name, networks)
        if part.name == "reconstruction":
            result["reconstruction"] = torch.optim.SGD(
                [
                    {"params": list(networks.encoder.parameters()), "lr": config.encoder_rate},
                    {"params": list(networks.generator.parameters()), "lr": config.reconstruction_rate},
                ],
                momentum=config.momentum,
            )
        elif config.optimiser == "sgd":
            result[part.name] = torch.optim.SGD(module.parameters(), lr=rates[part.name], momentum=config.momentum)
        else:
            result[part.name] = torch.optim.AdamW(
                module.parameters(),
                lr=rates[part.name],
                betas=(config.momentum, 0.999),
                weight_decay=config.weight_decay,
            )
    result["generator"] = torch.optim.Adam(
        networks.generator.parameters(), lr=config.generator_rate, betas=(config.momentum, 0.999)
    )
    return result


def begin_segment(state: TrainState, plan: Plan, event: Event) -> None:
    """A new segment starts with nothing owed (docs/privacy.md, theorem 3)."""
    state.event = event
    state.owed = {}
    for part in plan.parts:
        like = parameters_of(trained_by(part.name, state.networks))
        if plan.feedback is Feedback.PAPER:
            state.owed[part.name] = PublishedError(like)
        elif event.bands > 1:
            state.owed[part.name] = FeedbackMemory(like, event.bands)


def snapshot(state: TrainState, facts: Mapping[str, Any]) -> Snapshot:
    """The state as tensors and JSON. `facts` are the run's own: step, salt, configurations."""
    return Snapshot(
        networks={f"{name}.{key}": tensor for name, key, tensor in _network_tensors(state)},
        optimisers=_optimiser_tensors(state.optimisers),
        owed={f"{part}/{name}": tensor for part, owed in state.owed.items() for name, tensor in owed.tensors().items()},
        generator=state.averaged.state_dict(),
        state=facts,
    )


def _network_tensors(state: TrainState) -> list[tuple[str, str, Tensor]]:
    return [
        (name, key, tensor) for name, module in _modules(state).items() for key, tensor in module.state_dict().items()
    ]


def _modules(state: TrainState) -> dict[str, nn.Module]:
    networks = state.networks
    return {
        "generator": networks.generator,
        "critic": networks.critic,
        "classifier": networks.classifier,
        "encoder": networks.encoder,
    }


def _optimiser_tensors(optimisers: Optimisers) -> dict[str, Tensor]:
    return {
        f"{name}/{index}/{key}": value
        for name, optimiser in optimisers.items()
        for index, slots in optimiser.state_dict()["state"].items()
        for key, value in slots.items()
        if isinstance(value, Tensor)
    }


def restore(state: TrainState, snap: Snapshot, *, plan: Plan, event: Event | None, clean: bool) -> None:
    """Put a checkpoint's contents into a new state.

    Args:
        clean: the owed error comes back only if nothing ran after the checkpoint; after a crash it is
            dropped and `begin_segment` starts a new segment (docs/privacy.md, theorem 3).

    Raises:
        CheckpointError: it is a checkpoint of other networks.
    """
    try:
        for name, module in _modules(state).items():
            prefix = f"{name}."
            module.load_state_dict(
                {k.removeprefix(prefix): v for k, v in snap.networks.items() if k.startswith(prefix)}
            )
        state.averaged.load_state_dict(dict(snap.generator))
        for name, optimiser in state.optimisers.items():
            _restore_optimiser(optimiser, name, snap.optimisers)
        if clean and event is not None:
            begin_segment(state, plan, event)
            for part, owed in state.owed.items():
                prefix = f"{part}/"
                owed.restore({k.removeprefix(prefix): v for k, v in snap.owed.items() if k.startswith(prefix)})
    except (RuntimeError, KeyError, ValueError) as error:
        raise CheckpointError(f"The checkpoint is not of this run's networks: {error}") from error


def _restore_optimiser(optimiser: torch.optim.Optimizer, name: str, tensors: Mapping[str, Tensor]) -> None:
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        owner, index, slot = key.split("/")
        if owner == name:
            slots.setdefault(int(index), {})[slot] = value
    current = optimiser.state_dict()
    current["state"] = slots
    optimiser.load_state_dict(current)
