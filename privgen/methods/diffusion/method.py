"""`DiffusionMethod`: diffusion over a class mixture, behind the interface of a method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from accountant.plans.plan import Plan
from privgen.config import RunSettings
from privgen.errors import ConfigError
from privgen.generate import ImageSampler
from privgen.methods.diffusion.config import DenoiserConfig
from privgen.methods.diffusion.learner import DENOISER, DiffusionLearner
from privgen.methods.diffusion.release import DiffusionSampler
from privgen.methods.diffusion.settings import DiffusionSettings, default_settings
from privgen.training.method import Method, RecordFacts


class DiffusionMethod(Method):
    """One private part, the denoiser, over the mixture that a warm start releases."""

    name = "diffusion"
    parts = (DENOISER,)
    # A canary's gradient depends on noise that nobody outside the step knows; over many steps its mean is felt.
    watched = (DENOISER,)
    needs_warm_start = True

    def default_settings(self, dataset_size: int, *, warm_start: bool) -> DiffusionSettings:
        """A small network, and a tiny one below 5 000 records."""
        return default_settings(dataset_size)

    def settings_from_json(self, data: Mapping[str, Any]) -> DiffusionSettings:
        """Those that `to_json` wrote."""
        return DiffusionSettings.from_json(data)

    def begin(
        self, plan: Plan, facts: RecordFacts, settings: RunSettings, *, latents: torch.Generator
    ) -> DiffusionLearner:
        """A denoiser for these images."""
        own = self.own(settings, DiffusionSettings)
        if plan.warm_start is None:
            raise ConfigError(
                "The plan has no warm start, and diffusion begins from its mixture; plan again without --warm-start 0: "
                "privgen plan --method diffusion."
            )
        config = own.denoiser(image_shape=facts.image_shape, classes=len(facts.class_names), warm_start=plan.warm_start)
        return DiffusionLearner.of(plan, config, own, latents)

    def rebuild(
        self, plan: Plan, network: Mapping[str, Any], settings: RunSettings, *, latents: torch.Generator
    ) -> DiffusionLearner:
        """The same denoiser."""
        return DiffusionLearner.of(
            plan, DenoiserConfig.from_json(network), self.own(settings, DiffusionSettings), latents
        )

    def sampler(self, about: Mapping[str, Any], weights: Mapping[str, Tensor]) -> ImageSampler:
        """The released denoiser."""
        return DiffusionSampler.of(about, weights)


METHOD = DiffusionMethod()
