"""A model of somebody's own as a `privgen.training.method.Method`: one part, whose networks and optimiser are hers.

The run changes the very model and optimiser that are given. Released is the model, or its moving average.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from accountant.files import write_durably
from accountant.ledger.writers import PRIVGEN_LIBRARY
from accountant.plans.plan import Plan
from accountant.plans.planned_method import LIBRARY
from privgen.config import RunSettings
from privgen.errors import ConfigError, RunError
from privgen.generate import tensor_bytes
from privgen.library.optimiser import Optimiser, Schedule, progress_of, restore_progress
from privgen.library.record_form import RecordForm
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.training.method import Learner, Method, RecordFacts, RecordTask

(PART,) = LIBRARY.parts
WEIGHTS, ABOUT = "model.safetensors", "model.json"
SCHEMA = "privgen.model/1"
KINDS = ("normal", "uniform")

# (model, record) → scalar; or (model, record, numbers) where numbers are asked for.
Loss = Callable[..., Tensor]
# By name: the kind of random numbers, and their shape for one record.
Numbers = Mapping[str, tuple[str, tuple[int, ...]]]


@dataclass(frozen=True, kw_only=True)
class ModelSettings(RunSettings):
    """Settings of a run of one's own model.

    Args:
        ema: decay of the moving average that is released, in (0, 1), or None: the model itself is.
        views: augmented ones of a record.
        normalise: γ in [1e-12, 1e12] of normalised gradients, C·g/(‖g‖ + γ) (arXiv 2206.07136), or None to clip.
    """

    ema: float | None = None
    views: int = 1
    normalise: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        held = self.normalise is None or 1e-12 <= self.normalise <= 1e12
        self.require("normalise", held, "in [1e-12, 1e12], or None")
        self.require("ema", self.ema is None or 0 < self.ema < 1, "in (0, 1), or None")
        self.require("views", self.views >= 1, ">= 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordLossOf:
    """The loss of one record, on its tensors.

    Args:
        loss: (model, record[, numbers]) → scalar. form: of a record. views: how many stand behind each tensor's first
            dimension, or None where a record is itself. numbers: beside each record; may be empty.
    """

    loss: Loss
    form: RecordForm
    views: int | None
    numbers: Numbers

    def of(self, model: nn.Module) -> Callable[..., Tensor]:
        """(*tensors, *numbers) → scalar. Views' losses are averaged, so that they are clipped as one record."""
        held = len(self.form.shapes)

        def loss(*given: Tensor) -> Tensor:
            tensors, drawn = given[:held], dict(zip(self.numbers, given[held:], strict=True))
            beside = (drawn,) if drawn else ()
            if self.views is None:
                return _scalar(self.loss(model, self.form.record(tensors), *beside))
            views = [self.form.record([t[view] for t in tensors]) for view in range(self.views)]
            return torch.stack([_scalar(self.loss(model, view, *beside)) for view in views]).mean()

        return loss

    def beside(self, source: RecordNumbers) -> Callable[[int], tuple[Tensor, ...]] | None:
        """Numbers for every place of a pass, or None."""
        if not self.numbers:
            return None
        asked = tuple(self.numbers.values())
        return lambda size: tuple(getattr(source, kind)(size, *shape) for kind, shape in asked)


class ModelLearner(Learner):
    """The model, its optimiser, its schedule, and its average."""

    def __init__(self, method: ModelMethod, settings: ModelSettings) -> None:
        self.settings: ModelSettings = settings
        self._method, self.model = method, method.model
        self.averaged = None if settings.ema is None else _still(copy.deepcopy(method.model))
        self.optimisers = {PART: method.optimiser}

    @property
    def network(self) -> Mapping[str, Any]:
        """Names and shapes: the model itself is the caller's."""
        return described(self.model)

    @property
    def device(self) -> torch.device:
        """The model's."""
        return next(self.model.parameters()).device

    def module_of(self, part: str) -> nn.Module:
        """The model."""
        if part != PART:
            raise ValueError(f"Expected part={part!r} to be {PART}.")
        return self.model

    def record_task(self, part: str, beside: RecordNumbers) -> RecordTask:
        """The caller's loss of one record."""
        model, loss = self.module_of(part), self._method.loss
        return RecordTask(
            module=model, loss=loss.of(model), beside=loss.beside(beside), normalise=self.settings.normalise
        )

    def like(self) -> tuple[Tensor, ...]:
        """No records."""
        loss = self._method.loss
        return loss.form.empty(self.device, 0, *(() if loss.views is None else (loss.views,)))

    def frozen(self) -> ModelLearner:
        """Never asked for: nothing is watched."""
        raise RunError("A model of one's own has no canaries to watch.")

    def after_update(self, part: str) -> None:
        """The schedule's step, and the average's."""
        if self._method.schedule is not None:
            self._method.schedule.step()
        if self.averaged is not None and self.settings.ema is not None:
            _average(self.averaged, self.model, self.settings.ema)

    def modules(self) -> Mapping[str, nn.Module]:
        """The model; its average is what is released."""
        return {PART: self.model}

    def released(self) -> nn.Module:
        """The average where there is one."""
        return self.model if self.averaged is None else self.averaged

    def progress(self) -> Mapping[str, Any]:
        """What optimiser and schedule keep beside tensors."""
        return progress_of(self._method.optimiser, self._method.schedule)

    def restore_progress(self, progress: Mapping[str, Any]) -> None:
        """Put it back."""
        restore_progress(self._method.optimiser, self._method.schedule, progress)

    def save(self, folder: Path, class_names: Sequence[str]) -> tuple[str, ...]:
        """model.safetensors, the bytes that the last checkpoint has, and model.json."""
        write_durably(folder / WEIGHTS, tensor_bytes(self.released().state_dict()))
        about = {"schema": SCHEMA, "method": LIBRARY.name, "network": self.network, "averaged": self.settings.ema}
        write_durably(folder / ABOUT, (json.dumps(about, indent=2) + "\n").encode())
        return WEIGHTS, ABOUT


class ModelMethod(Method):
    """One model, one optimiser, one loss.

    Args:
        model, optimiser, schedule: the caller's own; the run changes them. loss: of one record. settings: what she asks
            for; a run that goes on keeps its own.
    """

    name = LIBRARY.name
    parts = LIBRARY.parts
    writer = PRIVGEN_LIBRARY

    def __init__(
        self,
        model: nn.Module,
        optimiser: Optimiser,
        schedule: Schedule | None,
        loss: RecordLossOf,
        settings: ModelSettings,
    ) -> None:
        self.model, self.optimiser, self.schedule, self.loss = model, optimiser, schedule, loss
        self.settings = settings

    def default_settings(self, dataset_size: int, *, warm_start: bool) -> ModelSettings:
        """What was asked for."""
        return self.settings

    def settings_from_json(self, data: Mapping[str, Any]) -> ModelSettings:
        """See Method."""
        return ModelSettings.from_json(data)

    def begin(self, plan: Plan, facts: RecordFacts, settings: RunSettings, *, latents: torch.Generator) -> ModelLearner:
        """Around the model as it is."""
        return ModelLearner(self, self.own(settings, ModelSettings))

    def rebuild(
        self, plan: Plan, network: Mapping[str, Any], settings: RunSettings, *, latents: torch.Generator
    ) -> ModelLearner:
        """Around the caller's model, which must be built as the one that the run was begun with.

        Raises:
            RunError: it is not.
        """
        own = self.own(settings, ModelSettings)
        if (found := described(self.model)) != dict(network):
            begun = dict(network).get("parameters", {})
            other = sorted(set(found["parameters"].items()) ^ {(k, v) for k, v in begun.items()})
            raise RunError(
                f"The model is not built as the one that the run was begun with: {other[:2] or found['kind']}. "
                "Build the same model, or begin another run with another out=."
            )
        for name in ("ema", "views", "normalise"):
            if (begun := getattr(own, name)) != (asked := getattr(self.settings, name)):
                raise RunError(f"The run was begun with {name}={begun!r}, not with {name}={asked!r}; give the former.")
        return ModelLearner(self, own)


def described(model: nn.Module) -> dict[str, Any]:
    """JSON of a model: its class, and the shape and kind of each of its tensors."""
    tensors = {name: f"{list(t.shape)} {t.dtype}" for name, t in model.state_dict().items()}
    trained = sorted(name for name, p in model.named_parameters() if p.requires_grad)
    return {"kind": type(model).__name__, "parameters": tensors, "trained": trained}


def _scalar(loss: Any) -> Tensor:
    if not isinstance(loss, Tensor) or loss.dim():
        found = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise ConfigError(f"Expected one loss a record, a scalar, got {found} for one record.")
    return loss


def _still(model: nn.Module) -> nn.Module:
    return model.requires_grad_(False)


@torch.no_grad()
def _average(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    """averaged ← decay · averaged + (1 − decay) · model; what is no float is copied."""
    for own, new in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
        if own.is_floating_point():
            own.lerp_(new, 1 - decay)
        else:
            own.copy_(new)
