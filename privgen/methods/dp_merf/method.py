"""`DpMerfMethod`: DP-MERF behind the interface of a method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from accountant.plans.plan import Plan
from privgen.config import RunSettings
from privgen.errors import RunError
from privgen.generate import ImageSampler
from privgen.methods.dp_merf.learner import EMBEDDING, DpMerfLearner
from privgen.methods.dp_merf.settings import DpMerfSettings, default_settings
from privgen.methods.gan.networks import NetworkConfig
from privgen.methods.gan.release import GanSampler
from privgen.training.method import Method, RecordFacts


class DpMerfMethod(Method):
    """One private part, the class means, released once over all records."""

    name = "dp_merf"
    parts = (EMBEDDING,)

    def require_planned(self, plan: Plan) -> None:
        """Raise RunError unless the plan is of one release that every record is in."""
        super().require_planned(plan)
        if plan.iterations != 1 or plan.sampling_rate != 1:
            raise RunError("DP-MERF releases its means once, over all records; begin it by privgen baseline dp-merf.")

    def default_settings(self, dataset_size: int, *, warm_start: bool) -> DpMerfSettings:
        """A small generator, and a tiny one below 5 000 records."""
        return default_settings(dataset_size)

    def settings_from_json(self, data: Mapping[str, Any]) -> DpMerfSettings:
        """Those that `to_json` wrote."""
        return DpMerfSettings.from_json(data)

    def begin(
        self, plan: Plan, facts: RecordFacts, settings: RunSettings, *, latents: torch.Generator
    ) -> DpMerfLearner:
        """A generator for these images, and means of zero."""
        own = self.own(settings, DpMerfSettings)
        network = NetworkConfig.of(own.generator(), image_shape=facts.image_shape, classes=len(facts.class_names))
        return DpMerfLearner.of(network, own, latents)

    def rebuild(
        self, plan: Plan, network: Mapping[str, Any], settings: RunSettings, *, latents: torch.Generator
    ) -> DpMerfLearner:
        """The same generator and features."""
        return DpMerfLearner.of(NetworkConfig.from_json(network), self.own(settings, DpMerfSettings), latents)

    def sampler(self, about: Mapping[str, Any], weights: Mapping[str, Tensor]) -> ImageSampler:
        """The released generator."""
        return GanSampler.of(about, weights)


METHOD = DpMerfMethod()
