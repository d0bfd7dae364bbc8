"""`GanMethod`: the paper's class-conditional GAN, behind the interface of a method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from accountant.plans.plan import Plan
from accountant.plans.planned_method import GAN
from privgen.config import RunSettings
from privgen.generate import ImageSampler
from privgen.methods.gan.learner import GanLearner
from privgen.methods.gan.networks import NetworkConfig
from privgen.methods.gan.release import GanSampler
from privgen.methods.gan.settings import GanSettings, default_settings, published_losses, warm_settings
from privgen.training.method import Method, RecordFacts


class GanMethod(Method):
    """Critic, classifier and reconstruction are private parts; the generator is trained for free."""

    name = GAN.name
    parts = GAN.parts
    # The reconstruction's gradient depends on latent vectors that nobody outside the step knows.
    watched: tuple[str, ...] = ("critic", "classifier")

    def default_settings(self, dataset_size: int, *, warm_start: bool) -> GanSettings:
        """Small networks, and tiny ones below 5 000 records."""
        return (warm_settings if warm_start else default_settings)(dataset_size)

    def planned_settings(self, plan: Plan) -> GanSettings:
        """The defaults; for the published preset the published losses, where there is no mixture to keep near."""
        chosen = self.own(super().planned_settings(plan), GanSettings)
        return published_losses(chosen) if plan.preset == GAN.published and plan.warm_start is None else chosen

    def settings_from_json(self, data: Mapping[str, Any]) -> GanSettings:
        """Those that `to_json` wrote."""
        return GanSettings.from_json(data)

    def begin(self, plan: Plan, facts: RecordFacts, settings: RunSettings, *, latents: torch.Generator) -> GanLearner:
        """Networks for these images, with a mixture under the generator where the plan has a warm start."""
        own = self.own(settings, GanSettings)
        network = NetworkConfig.of(
            own,
            image_shape=facts.image_shape,
            classes=len(facts.class_names),
            warm_start=plan.warm_start,
        )
        return GanLearner.of(plan, network, own, latents)

    def rebuild(
        self, plan: Plan, network: Mapping[str, Any], settings: RunSettings, *, latents: torch.Generator
    ) -> GanLearner:
        """The same networks."""
        return GanLearner.of(plan, NetworkConfig.from_json(network), self.own(settings, GanSettings), latents)

    def sampler(self, about: Mapping[str, Any], weights: Mapping[str, Tensor]) -> ImageSampler:
        """The released generator."""
        return GanSampler.of(about, weights)


METHOD = GanMethod()
