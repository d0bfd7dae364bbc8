"""`DiffusionLearner`: a denoiser as training sees it. One private part, `denoiser`; everything else is free."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from accountant.plans.plan import Plan
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.methods.class_mixture.statistics import MixtureStatistics
from privgen.methods.diffusion.config import DenoiserConfig
from privgen.methods.diffusion.denoiser import Denoiser
from privgen.methods.diffusion.release import DiffusionSampler, save_denoiser
from privgen.methods.diffusion.settings import DiffusionSettings
from privgen.methods.image_networks import no_images
from privgen.methods.moving_average import average_into, young_decay
from privgen.methods.samples import glance, write_samples
from privgen.training.method import Learner, RecordTask

DENOISER = "denoiser"


@dataclass(kw_only=True)
class DiffusionLearner(Learner):
    """The mixture of a warm start, and the network that learns what its ideal denoiser lacks.

    Args:
        denoiser: mixture, ideal denoiser and the network that is trained. averaged: with the network's moving average.
        latents: of where the mixture's clusters begin; free.
    """

    settings: DiffusionSettings
    denoiser: Denoiser
    averaged: Denoiser
    optimisers: dict[str, torch.optim.Optimizer]
    latents: torch.Generator
    statistics: MixtureStatistics | None = field(default=None)

    @classmethod
    def of(
        cls, plan: Plan, config: DenoiserConfig, settings: DiffusionSettings, latents: torch.Generator
    ) -> DiffusionLearner:
        """A new one, on the device of `latents`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            denoiser = Denoiser(config).to(latents.device)
        start = plan.warm_start
        return cls(
            settings=settings,
            denoiser=denoiser,
            averaged=copy.deepcopy(denoiser).requires_grad_(False),
            optimisers={
                DENOISER: torch.optim.Adam(
                    denoiser.network.parameters(), lr=settings.rate, betas=(settings.momentum, 0.999)
                )
            },
            latents=latents,
            statistics=None if start is None else MixtureStatistics(denoiser.mixture, start, latents),
        )

    @property
    def network(self) -> Mapping[str, Any]:
        """What the denoiser is built from."""
        return self.denoiser.config.to_json()

    @property
    def device(self) -> torch.device:
        """That of the latent vectors."""
        return self.latents.device

    def module_of(self, part: str) -> nn.Module:
        """The network: the mixture under it is released as it is."""
        _require_denoiser(part)
        return self.denoiser.network

    def record_task(self, part: str, beside: RecordNumbers) -> RecordTask:
        """The record's mean loss over K noisy images of it: one loss, one gradient, clipped once."""
        _require_denoiser(part)
        settings, shape = self.settings, self.denoiser.config.image_shape

        def numbers(size: int) -> tuple[Tensor, Tensor]:
            log_sigma = settings.sigma_middle + settings.sigma_spread * beside.normal(size, settings.draws)
            return beside.normal(size, settings.draws, *shape), log_sigma.exp()

        return RecordTask(module=self.denoiser.network, loss=self.denoiser.loss, beside=numbers)

    def like(self) -> tuple[Tensor, ...]:
        """No images and no labels."""
        return no_images(self.denoiser.config.image_shape, self.device)

    def frozen(self) -> DiffusionLearner:
        """A copy of the denoiser as it is."""
        return replace(self, denoiser=copy.deepcopy(self.denoiser))

    def free_step(self, progress: float, steps: int) -> Mapping[str, float]:
        """The moving average. There is nothing to show: the loss is of records."""
        average_into(self.averaged.network, self.denoiser.network, young_decay(self.settings.ema_decay, steps))
        return {}

    def after_statistics(self) -> None:
        """The ideal denoiser of what is released so far, here and under the average."""
        self.averaged.mixture.load_state_dict(self.denoiser.mixture.state_dict())
        self._take_up_mixture()

    def modules(self) -> Mapping[str, nn.Module]:
        """Mixture and network."""
        return {DENOISER: self.denoiser}

    def restore_progress(self, progress: Mapping[str, Any]) -> None:
        """What is made of the mixture is no part of a checkpoint."""
        self._take_up_mixture()

    def released(self) -> nn.Module:
        """The mixture, and the network's moving average."""
        return self.averaged

    def samples_png(self) -> bytes:
        """A few images of the average."""
        return glance(DiffusionSampler(copy.deepcopy(self.averaged)))

    def save(self, folder: Path, class_names: Sequence[str]) -> tuple[str, ...]:
        """The averaged denoiser, and a grid of samples."""
        return *save_denoiser(self.averaged, class_names, folder), write_samples(folder)

    def _take_up_mixture(self) -> None:
        for denoiser in (self.denoiser, self.averaged):
            denoiser.take_up_mixture()


def _require_denoiser(part: str) -> None:
    if part != DENOISER:
        raise ValueError(f"Expected part={part!r} to be {DENOISER}.")
