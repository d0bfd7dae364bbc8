"""`TrainState`: everything that changes while training, and how it goes into a checkpoint and comes back.

The noise source, the Poisson coins and the receipts are never part of it: a resumed step draws afresh.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from accountant.events import Event
from accountant.plans.plan import Plan
from privgen.errors import CheckpointError
from privgen.mechanism.error_feedback import FeedbackMemory
from privgen.mechanism.part_feedback import Owed, nothing_owed
from privgen.mechanism.ranks import ALONE, Ranks
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.training.checkpoint import Snapshot
from privgen.training.method import Learner


@dataclass(kw_only=True)
class TrainState:
    """The changing half of a run.

    Args:
        learner: the method's networks and optimisers.
        beside: source of the numbers that stand beside records.
        event: of the current segment, or None before the first step.
        owed: hidden error of each part in the current segment; made of raw gradients, private.
        physical_batches: records in a pass of each part, as the row check left them; empty before it ran.
    """

    learner: Learner
    beside: RecordNumbers
    event: Event | None = None
    owed: dict[str, Owed] = field(default_factory=dict)
    physical_batches: dict[str, int] = field(default_factory=dict)


def parameters_of(module: nn.Module) -> dict[str, Tensor]:
    """Trainable parameters by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def begin_segment(state: TrainState, plan: Plan, event: Event) -> None:
    """A new segment starts with nothing owed (docs/privacy.md, theorem 3)."""
    state.event = event
    state.owed = {}
    for part in plan.parts:
        owed = nothing_owed(event, parameters_of(state.learner.module_of(part.name)))
        if owed is not None:
            state.owed[part.name] = owed


def whole_owed(state: TrainState, ranks: Ranks) -> dict[str, Tensor]:
    """What all ranks owe together, by part and name: each holds what its own records are owed, integers that add up."""
    found = {f"{part}/{name}": t for part, owed in state.owed.items() for name, t in owed.tensors().items()}
    # Where a slot stands is the same on all; the published error is rank 0's alone.
    shared = [
        f"{part}/{name}"
        for part, owed in state.owed.items()
        if isinstance(owed, FeedbackMemory)
        for name in owed.tensors()
        if name != "oldest"
    ]
    if shared:
        whole = ranks.added(torch.cat([found[name].reshape(-1) for name in shared]))
        for name, piece in zip(shared, whole.split([found[name].numel() for name in shared]), strict=True):
            found[name] = piece.view(found[name].shape)
    return found


def snapshot(state: TrainState, facts: Mapping[str, Any], *, ranks: Ranks = ALONE) -> Snapshot:
    """The state as tensors and JSON. `facts` are the run's own: step, salt, configurations.

    Args:
        ranks: who trains together; all call this at once, for what they owe is added up.
    """
    learner = state.learner
    return Snapshot(
        networks={
            f"{name}.{key}": tensor
            for name, module in learner.modules().items()
            for key, tensor in module.state_dict().items()
        },
        optimisers=_optimiser_tensors(learner.optimisers),
        owed=whole_owed(state, ranks),
        generator=learner.released().state_dict(),
        state={**facts, **({"progress": progress} if (progress := learner.progress()) else {})},
    )


def _optimiser_tensors(optimisers: Mapping[str, torch.optim.Optimizer]) -> dict[str, Tensor]:
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
    learner = state.learner
    try:
        for name, module in learner.modules().items():
            prefix = f"{name}."
            module.load_state_dict(
                {k.removeprefix(prefix): v for k, v in snap.networks.items() if k.startswith(prefix)}
            )
        learner.released().load_state_dict(dict(snap.generator))
        for name, optimiser in learner.optimisers.items():
            _restore_optimiser(optimiser, name, snap.optimisers)
        learner.restore_progress(snap.state.get("progress", {}))
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
