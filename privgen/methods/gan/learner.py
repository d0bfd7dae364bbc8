"""`GanLearner`: a GAN as training sees it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from accountant.plans.parts import Part
from accountant.plans.plan import Plan
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.methods.class_mixture.statistics import MixtureStatistics
from privgen.methods.gan.gan_state import GanState, initial_parts, trained_by
from privgen.methods.gan.generator_step import average_generator, generator_step, refresh_fakes
from privgen.methods.gan.gradient_penalty import penalty_gradient
from privgen.methods.gan.networks import NetworkConfig
from privgen.methods.gan.record_tasks import record_task
from privgen.methods.gan.release import GanSampler, save_generator
from privgen.methods.gan.settings import GanSettings
from privgen.methods.gan.steered_noise import SteeredNoise
from privgen.methods.image_networks import no_images
from privgen.methods.moving_average import young_decay
from privgen.methods.samples import glance, write_samples
from privgen.training.method import Learner, RecordTask


@dataclass(kw_only=True)
class GanLearner(GanState, Learner):
    """The paper's GAN: critic, classifier and reconstruction see records, the generator learns from them for free.

    Args:
        plan: of the run, whose parts have optimisers here; the others are left as they are.
    """

    settings: GanSettings
    plan: Plan

    def __post_init__(self) -> None:
        generator, start = self.networks.generator, self.plan.warm_start
        if start is not None and self.networks.config.mixture_clusters:
            self.statistics = MixtureStatistics(generator.mixture, start, self.latents)

    @classmethod
    def of(cls, plan: Plan, network: NetworkConfig, settings: GanSettings, latents: torch.Generator) -> GanLearner:
        """A new one, on the device of `latents`."""
        networks, averaged, optimisers, fakes = initial_parts(plan.parts, network, settings, latents.device)
        return cls(
            plan=plan, settings=settings, networks=networks, averaged=averaged, optimisers=optimisers, latents=latents,
            fakes=fakes, steered=_steered(settings),
        )  # fmt: skip

    @property
    def network(self) -> Mapping[str, Any]:
        """What the networks are built from."""
        return self.networks.config.to_json()

    @property
    def device(self) -> torch.device:
        """That of the latent vectors."""
        return self.latents.device

    def module_of(self, part: str) -> nn.Module:
        """Critic, classifier, or encoder and generator."""
        return trained_by(part, self.networks)

    def record_task(self, part: str, beside: RecordNumbers) -> RecordTask:
        """Loss of one image under one label."""
        return record_task(part, self, beside)

    def like(self) -> tuple[Tensor, ...]:
        """No images and no labels."""
        return no_images(self.networks.config.image_shape, self.device)

    def frozen(self) -> GanLearner:
        """A copy of the networks and of the pool as they are."""
        return replace(self, networks=copy.deepcopy(self.networks), fakes=copy.deepcopy(self.fakes))

    def begin_step(self, progress: float) -> None:
        """The generator's injected noise, where it is scheduled."""
        self.networks.generator.schedule_noise(progress)

    def free_gradient(self, part: Part) -> Mapping[str, Tensor]:
        """The critic's gradient penalty, on generated images."""
        if part.name != "critic" or self.settings.critic_constraint != "gradient-penalty":
            return {}
        return penalty_gradient(
            self.networks,
            self.latents,
            images=self.settings.generator_batch,
            weight=self.settings.penalty_weight,
            # As long as the mean of records that all agree.
            largest=part.clip_norm + part.residual_clip_norm,
        )

    def after_update(self, part: str) -> None:
        """Spectral norms of the critic's new weights."""
        if part == "critic":
            self.networks.critic.update_spectral_norms()

    def free_step(self, progress: float, steps: int) -> Mapping[str, float]:
        """The generator's own updates: they touch released networks only."""
        settings = self.settings
        weight = settings.class_weight if progress >= settings.class_start else 0.0
        losses: dict[str, float] = {}
        for _ in range(settings.generator_steps if progress >= settings.generator_start else 0):
            losses = generator_step(self, class_weight=weight)
        if not losses:
            refresh_fakes(self)
        average_generator(self, young_decay(settings.ema_decay, steps))
        return losses

    def after_statistics(self) -> None:
        """The average takes the mixture; no weight has moved."""
        average_generator(self, 1.0)

    @property
    def pictured_classes(self) -> int:
        """All of them."""
        return self.networks.config.classes

    def pictured(self, labels: Tensor, source: torch.Generator) -> Tensor:
        """New images of the generator as it is."""
        z = torch.randn(len(labels), self.networks.config.latent_dim, generator=source, device=source.device)
        images: Tensor = self.networks.generator(z, labels, source)
        return images

    def judged(self, images: Tensor, labels: Tensor) -> Mapping[str, float]:
        """The critic's mean score, whose 0 parts real from generated, and the classifier's accuracy; those trained."""
        found: dict[str, float] = {}
        if "critic" in self.optimisers:
            found["score gap"] = float(self.networks.critic(images, labels).mean())
        if "classifier" in self.optimisers:
            found["accuracy"] = float((self.networks.classifier(images).argmax(1) == labels).double().mean())
        return found

    def progress(self) -> Mapping[str, Any]:
        """Where a steered σ_noise stands."""
        return {} if self.steered is None else {"steered": self.steered.to_json()}

    def restore_progress(self, progress: Mapping[str, Any]) -> None:
        """Take it back."""
        if self.steered is not None and "steered" in progress:
            self.steered.restore(progress["steered"])

    def modules(self) -> Mapping[str, nn.Module]:
        """All four networks."""
        networks = self.networks
        return {
            "generator": networks.generator,
            "critic": networks.critic,
            "classifier": networks.classifier,
            "encoder": networks.encoder,
        }

    def released(self) -> nn.Module:
        """The generator's moving average."""
        return self.averaged

    def samples_png(self) -> bytes:
        """A few images of the average."""
        return glance(GanSampler(copy.deepcopy(self.averaged)))

    def save(self, folder: Path, class_names: Sequence[str]) -> tuple[str, ...]:
        """The averaged generator, and a grid of samples."""
        method, network = self.plan.method, self.networks.config
        return *save_generator(self.averaged, network, class_names, folder, method=method), write_samples(folder)


def _steered(settings: GanSettings) -> SteeredNoise | None:
    return SteeredNoise(settings.upsampling_noise) if settings.upsampling_noise_kind == "steered" else None
