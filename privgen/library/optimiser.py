"""What is asked of an optimiser and its learning-rate schedule, and how they go into a checkpoint.

Tensors of an optimiser's state are saved by `privgen.training.state`. Here is the rest: rates and other numbers of its
groups, numbers beside the tensors, and the schedule's state, all as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from privgen.errors import ConfigError

Optimiser = torch.optim.Optimizer
Schedule = torch.optim.lr_scheduler.LRScheduler


def require_optimiser(optimiser: Any, model: nn.Module) -> None:
    """Raise ConfigError unless an optimiser is of the model's trainable parameters, and steps by gradients alone."""
    if not isinstance(optimiser, Optimiser):
        raise ConfigError(f"Expected an optimiser of torch.optim, got {type(optimiser).__name__}.")
    if isinstance(optimiser, torch.optim.LBFGS):
        raise ConfigError(
            "LBFGS asks for the loss several times a step, and a private step releases one gradient; use SGD or Adam."
        )
    if isinstance(optimiser, torch.optim.SparseAdam):
        raise ConfigError("SparseAdam wants sparse gradients, and noise is dense; use Adam.")
    named = {id(p): name for name, p in model.named_parameters()}
    held = {id(p) for group in optimiser.param_groups for p in group["params"]}
    if others := len(held - set(named)):
        raise ConfigError(
            f"The optimiser has {others} parameters that are not the model's, which no private gradient reaches: make "
            "it of model.parameters(), after every layer is replaced and moved to its device."
        )
    missing = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in held]
    if missing:
        raise ConfigError(
            f"The optimiser does not have {', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}, which would be "
            "clipped and noised for nothing: give it all, or freeze the rest by requires_grad_(False)."
        )


def require_schedule(schedule: Any, optimiser: Optimiser) -> None:
    """Raise ConfigError unless a schedule is of this optimiser and needs nothing measured."""
    if isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise ConfigError(
            "ReduceLROnPlateau needs a measured loss, which on private records is not covered; use a schedule by steps."
        )
    if not isinstance(schedule, Schedule):
        raise ConfigError(f"Expected a schedule of torch.optim.lr_scheduler, got {type(schedule).__name__}.")
    if schedule.optimizer is not optimiser:
        raise ConfigError("The schedule is of another optimiser; make it of the one that is given.")


def progress_of(optimiser: Optimiser, schedule: Schedule | None) -> dict[str, Any]:
    """JSON of all that changes beside tensors.

    Raises:
        ConfigError: something in it is neither a number nor text.
    """
    groups = [{k: v for k, v in group.items() if k != "params"} for group in optimiser.param_groups]
    slots = {
        str(index): plain
        for index, found in optimiser.state_dict()["state"].items()
        if (plain := {k: v for k, v in found.items() if not isinstance(v, Tensor) and v is not None})
    }
    found = {"groups": groups, "slots": slots}
    if schedule is not None:
        found["schedule"] = _changing(schedule.state_dict())
    try:
        return dict(json.loads(json.dumps(found, allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"The optimiser or its schedule keeps something that no checkpoint holds ({error}); expected numbers and "
            "text: a learning rate that is no tensor, a schedule of torch.optim.lr_scheduler."
        ) from error


def restore_progress(optimiser: Optimiser, schedule: Schedule | None, progress: Mapping[str, Any]) -> None:
    """Put back what `progress_of` gave; the optimiser's tensors are there already.

    Raises:
        ValueError, KeyError: it is of another optimiser, or of one with another schedule.
    """
    if len(progress["groups"]) != len(optimiser.param_groups) or ("schedule" in progress) != (schedule is not None):
        raise ValueError("the optimiser's groups or its schedule are others than the run was begun with")
    for group, saved in zip(optimiser.param_groups, progress["groups"], strict=True):
        if set(saved) != set(group) - {"params"}:
            raise ValueError("the optimiser is another than the run was begun with")
        group.update({k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()})
    if progress["slots"]:
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        for index, plain in progress["slots"].items():
            optimiser.state[parameters[int(index)]].update(plain)
    if schedule is not None:
        schedule.load_state_dict(dict(progress["schedule"]))


def _changing(value: Any) -> Any:
    """A schedule's state without tables by number, such as milestones: these are fixed where it is made."""
    if isinstance(value, Mapping):
        return {k: _changing(v) for k, v in value.items() if not (isinstance(v, Mapping) and not _named(v))}
    return [_changing(part) for part in value] if isinstance(value, list | tuple) else value


def _named(table: Mapping[Any, Any]) -> bool:
    return all(isinstance(key, str) for key in table)
