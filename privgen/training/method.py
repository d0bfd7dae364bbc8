"""`Method` and `Learner`: all that training knows of what it trains.

A method is a folder behind these two classes. A `Method` says what there is before a step: its name, its parts, its
settings, how its networks are built and how its release is loaded. A `Learner` is one run's changing half: networks,
optimisers, and what happens to them. The loop asks it in this order:

    warm start      statistics: sums of all records → released → update        → after_statistics
    each step       begin_step → record_task of each part → clipped sums → released
                    → gradient (+ free_gradient) → optimiser → after_update    → free_step
    checkpoint      modules, optimisers, released, progress; and restore_progress
    the end         save

Guarantees: what a method can do to privacy is here, and is little. It never holds a receipt or the privacy noise. A
record reaches it in two places only: as an argument of `RecordTask.loss`, one record at a time, whose gradient is
clipped, noised and charged by `privgen.training.private_step`; and in `Statistics.sums`, whose integer sums go through
`privgen.mechanism.release` before `Statistics.update` sees them. Everything else it is given is released, public, or
random. What it must promise itself stands with each method below under Guarantees.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from accountant.ledger.writers import PRIVGEN_TRAINING
from accountant.plans.parts import Part
from accountant.plans.plan import Plan
from accountant.plans.warm_start import WarmRelease
from privgen.config import RunSettings
from privgen.errors import ConfigError, RunError
from privgen.generate import ImageSampler
from privgen.gradients.clipped_sums import Beside, Rows, Sums, Weighting, private_sums
from privgen.gradients.passes import RecordLoss
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.training.pictured import Pictured

Tensors = dict[str, Tensor]
Own = TypeVar("Own", bound=RunSettings)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordFacts:
    """What is publicly known of a record before any is read.

    Args:
        shape: of a record's first tensor, (C, H, W) of an image. class_names: of the labels 0, 1, …; may be empty.
    """

    shape: tuple[int, ...]
    class_names: tuple[str, ...] = ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W).

        Raises:
            ConfigError: the records are no images.
        """
        if len(self.shape) != 3:
            raise ConfigError(f"Expected records of images (C, H, W), got shape={self.shape!r}.")
        channels, height, width = self.shape
        return channels, height, width


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordTask:
    """What a private part asks of each record, at the weights as they are now.

    Args:
        module: whose trainable parameters the gradient is taken of.
        loss: (*record, *numbers) → scalar, of one record without a batch dimension. Of an image: (C, H, W), label.
        beside: (size) → the numbers for every place of a pass, (size, ...) each, or None where there are none.
        normalise: γ > 0 where each gradient is brought to the clip norm's length (`clipped_weights`), or None to clip.

    Guarantees (the method's): the loss is a function of its arguments and of released or public values alone; it
    remembers nothing between calls. That it mixes no records is looked at by the row check, and by a test of yours.
    """

    module: nn.Module
    loss: RecordLoss
    beside: Beside | None = None
    normalise: float | None = None

    def sums(self, records: tuple[Rows, ...], weighting: Weighting, *, physical_batch: int | None) -> Sums:
        """`private_sums` of these records, each tensor with the records first."""
        return private_sums(
            self.module, self.loss, records, weighting, beside=self.beside, physical_batch=physical_batch
        )


class Statistics(Protocol):
    """What a warm start releases of all records, and what becomes of it."""

    counted_twice: frozenset[str]

    def sums(self, release: WarmRelease, records: Any, *, grid_step: float) -> Tensors:
        """Integer sums of one release over all records, before noise.

        Args:
            records: `TrainingRecords.everything` of the run's data. grid_step: h.

        Returns:
            int64, in grid steps. Those named in `counted_twice` stand for two numbers of a symmetric matrix.

        Guarantees (the method's): one record more moves them by at most `release.sensitivity / h` in L2 norm.
        """

    def update(self, place: int, noised: Mapping[str, Tensor], *, grid_step: float) -> None:
        """Take up release number `place` of the warm start, from 0. Post-processing."""


class Learner(Pictured, ABC):
    """One run's networks and optimisers, and what is done with them.

    Attributes a learner has:
        settings: what it is trained with.
        network: JSON that builds the same networks again; goes into checkpoints. No weights.
        optimisers: by part, and by any other name those of free steps. All go into checkpoints.
        device: where it is.
        statistics: what a warm start fills, or None where the plan has none.
    """

    settings: RunSettings
    optimisers: dict[str, torch.optim.Optimizer]
    statistics: Statistics | None = None

    @property
    @abstractmethod
    def network(self) -> Mapping[str, Any]:
        """JSON that builds the same networks again."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where it is."""

    # What records are asked.

    @abstractmethod
    def module_of(self, part: str) -> nn.Module:
        """The module whose trainable parameters a part's gradient is taken of; the same object each time or made of
        the same parameters.

        Raises:
            ValueError: there is no such part.
        """

    @abstractmethod
    def record_task(self, part: str, beside: RecordNumbers) -> RecordTask:
        """What this part asks of each record, at the weights as they are now.

        Args:
            beside: the only source of a record's own random numbers; a method holds none of its own for them.

        Raises:
            ValueError: there is no such part.
        """

    @abstractmethod
    def like(self) -> tuple[Tensor, ...]:
        """No records of the right shapes and types, (0, ...) each, on the device; of images: (0, C, H, W), (0,)."""

    @abstractmethod
    def frozen(self) -> Learner:
        """A copy whose record tasks stay what they are now while this one learns on. Only they are asked of it."""

    # What happens between releases. No record reaches any of it.

    def begin_step(self, progress: float) -> None:
        """Before the private half of a step: schedules.

        Args:
            progress: share of the plan's iterations that are in the weights, from 0; above 1 in an extension.
        """

    def free_gradient(self, part: Part) -> Mapping[str, Tensor]:
        """What is added to the released gradient of a part, by parameter name; made of released values alone."""
        return {}

    def after_update(self, part: str) -> None:
        """After the optimiser's step of a part."""

    def free_step(self, progress: float, steps: int) -> Mapping[str, float]:
        """After the private half: whatever is learned from released values alone.

        Args:
            progress: as `begin_step` has it. steps: charged so far, this one included.

        Returns:
            Losses by name, of released or generated values only: they are shown to anyone. One that is not finite
            ends the run.
        """
        return {}

    def after_statistics(self) -> None:
        """After a release of the warm start was taken up."""

    # Checkpoints and the end.

    @abstractmethod
    def modules(self) -> Mapping[str, nn.Module]:
        """Everything that a resume needs, by name without a dot: networks.safetensors of a checkpoint."""

    @abstractmethod
    def released(self) -> nn.Module:
        """What the end releases, as it would be now; its digest goes into the ledger with each checkpoint."""

    def progress(self) -> Mapping[str, Any]:
        """JSON of what else changes, such as a schedule's state; in checkpoints. No record may decide it."""
        return {}

    def restore_progress(self, progress: Mapping[str, Any]) -> None:
        """Put back what `progress` gave.

        Raises:
            KeyError, ValueError: it is not of this learner.
        """

    def samples_png(self) -> bytes | None:
        """A picture of what would be released now, as PNG, or None: of released values alone; it changes nothing."""
        return None

    @abstractmethod
    def save(self, folder: Path, class_names: Sequence[str]) -> tuple[str, ...]:
        """Write what is released, each file whole or not at all.

        Args:
            folder: the run's release folder. class_names: the plan's.

        Returns:
            Names of the files, which the ledger then holds.

        Raises:
            OSError: no room.
        """


class Method(ABC):
    """A way to train: what there is before a step. One instance serves any number of runs.

    The project's own are made once and named in `privgen.catalogue.METHODS`; one that is made from a user's model is
    handed to `begin` and `resume` like any other, and needs no entry.

    Attributes a method has:
        name: an identifier; plans, checkpoints and releases have it.
        parts: names of what its step can release.
        watched: those of them in whose gradient a planted canary can be felt from outside; empty: no canaries.
        needs_warm_start: whether it trains nothing without one. without_privacy: its images may only be measured.
        writer: who writes the ledger, of `accountant.ledger.writers`: what is enforced of a step differs with it.
    """

    name: str
    parts: tuple[str, ...]
    writer: str = PRIVGEN_TRAINING
    watched: tuple[str, ...] = ()
    needs_warm_start: bool = False
    without_privacy: bool = False

    @abstractmethod
    def default_settings(self, dataset_size: int, *, warm_start: bool) -> RunSettings:
        """What to train with where nothing is said.

        Args:
            dataset_size: N, public. warm_start: whether the plan has one.
        """

    def planned_settings(self, plan: Plan) -> RunSettings:
        """The defaults, with the preset that the plan names; ConfigError where the method has none of that name."""
        chosen = self.default_settings(plan.dataset_size, warm_start=plan.warm_start is not None)
        if plan.preset is None:
            return chosen
        if not hasattr(chosen, "preset"):
            raise ConfigError(f"Method {self.name} has no presets, and the plan names {plan.preset}; plan without.")
        return self.settings_from_json({**chosen.to_json(), "preset": plan.preset})

    @abstractmethod
    def settings_from_json(self, data: Mapping[str, Any]) -> RunSettings:
        """The settings that their `to_json` wrote.

        Raises:
            ConfigError: unknown names, or a value out of range.
        """

    @abstractmethod
    def begin(self, plan: Plan, facts: RecordFacts, settings: RunSettings, *, latents: torch.Generator) -> Learner:
        """A new learner, on the device of `latents`.

        Args:
            latents: the source of random numbers in free steps and of nothing else; what is released of these tells
                nothing of the numbers beside records.

        Raises:
            ConfigError: facts and settings do not fit each other or the plan.
        """

    @abstractmethod
    def rebuild(
        self, plan: Plan, network: Mapping[str, Any], settings: RunSettings, *, latents: torch.Generator
    ) -> Learner:
        """A learner of the same networks, whose contents a checkpoint then restores.

        Args:
            network: `Learner.network` of the one that was begun.

        Raises:
            ConfigError, KeyError, TypeError: it is not of this method.
        """

    def own(self, settings: RunSettings, kind: type[Own]) -> Own:
        """The settings, known to be this method's.

        Args:
            kind: the method's class of settings.

        Raises:
            ConfigError: they are another method's.
        """
        if not isinstance(settings, kind):
            raise ConfigError(f"Expected the settings of {self.name}, got {type(settings).__name__}.")
        return settings

    def require_planned(self, plan: Plan) -> None:
        """Raise RunError unless a plan is one that this method can carry out."""
        if plan.method != self.name:
            raise RunError(f"The plan is for method {plan.method}, not for {self.name}; plan again by --method.")
        if unknown := [part.name for part in plan.parts if part.name not in self.parts]:
            raise RunError(
                f"The plan has parts that method {self.name} does not release: {', '.join(unknown)}; it releases "
                f"{', '.join(self.parts)}. Plan again."
            )
        if self.needs_warm_start and plan.warm_start is None:
            raise RunError(f"Method {self.name} begins from a warm start, and the plan has none; plan one.")

    def sampler(self, about: Mapping[str, Any], weights: Mapping[str, Tensor]) -> ImageSampler:
        """What makes images of a release; free, so it is asked wherever the release is.

        Args:
            about: generator.json. weights: generator.safetensors.

        Raises:
            ConfigError, KeyError, TypeError, AttributeError, RuntimeError: they are not of this method.
            RunError: it makes no images.
        """
        raise RunError(f"A release of method {self.name} makes no images; load its weights into the model.")
