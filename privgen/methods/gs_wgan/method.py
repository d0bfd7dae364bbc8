"""`GsWganMethod`: a generator that learns from sanitised gradients of its images (arXiv 2006.08265), by the same guard.

What differs from the published one, and why: shares take turns instead of being drawn (their draws would be as good as
known, theorem 7 of docs/privacy.md, and are not paid for); a share's critic begins anew each time, since one that
remembers would be a state of the records that checkpoints must keep apart. A release is charged as one Gaussian of
sensitivity 2C√n, not as n subsampled ones.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from accountant.ledger.writers import OWN_LOOP
from accountant.plans.plan import Plan
from privgen.config import RunSettings
from privgen.errors import RunError
from privgen.generate import ImageSampler
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.methods.gan import losses
from privgen.methods.gan.networks import Critic, Generator, NetworkConfig
from privgen.methods.gan.release import GanSampler, save_generator
from privgen.methods.gan.settings import PRESETS, GanSettings
from privgen.methods.gs_wgan.share_task import ShareTask, diameter
from privgen.methods.image_networks import no_images
from privgen.methods.samples import write_samples
from privgen.training.method import Learner, Method, RecordFacts, RecordTask

NAME, PART = "gs_wgan", "pixels"


@dataclass(frozen=True, kw_only=True)
class GsWganSettings(RunSettings):
    """Settings that are not privacy-relevant; the number of images is not among them, for the plan's clip norm has it.

    Args:
        preset: size of the networks: tiny, small or paper. latent_dim: of a latent vector, >= 1.
        critic_updates: of a share's critic, each time, >= 1. critic_rate, generator_rate: of Adam, > 0.
        penalty_weight: λ of the critic's gradient penalty, >= 0.
    """

    preset: str = "small"
    latent_dim: int = 16
    critic_updates: int = 10
    critic_rate: float = 1e-3
    generator_rate: float = 1e-3
    penalty_weight: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("preset", self.preset in PRESETS, f"one of {', '.join(PRESETS)}")
        for name in ("latent_dim", "critic_updates"):
            self.require(name, getattr(self, name) >= 1, ">= 1")
        for name in ("critic_rate", "generator_rate"):
            self.require(name, getattr(self, name) > 0, "> 0")
        self.require("penalty_weight", self.penalty_weight >= 0, ">= 0")


class Pixels(nn.Module):
    """Takes the released gradients: one step of plain descent at rate 1 from zero leaves minus them, over qN."""

    def __init__(self, images: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.pixels = nn.Parameter(torch.zeros(images, *shape))


@dataclass(kw_only=True)
class GsWganLearner(Learner):
    """The generator, and the images whose gradients are asked for in this step."""

    settings: GsWganSettings
    plan: Plan
    config: NetworkConfig
    generator: Generator
    pixels: Pixels
    optimisers: dict[str, torch.optim.Optimizer]
    latents: torch.Generator
    made: Tensor | None = field(default=None)

    @classmethod
    def of(cls, plan: Plan, config: NetworkConfig, settings: GsWganSettings, latents: torch.Generator) -> GsWganLearner:
        """A new one, on the device of `latents`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            generator = Generator(config).to(latents.device)
        pixels = Pixels(IMAGES, config.image_shape).to(latents.device)
        return cls(
            settings=settings,
            plan=plan,
            config=config,
            generator=generator,
            pixels=pixels,
            optimisers={
                PART: torch.optim.SGD(pixels.parameters(), lr=1.0),
                "generator": torch.optim.Adam(generator.parameters(), lr=settings.generator_rate, betas=(0.5, 0.9)),
            },
            latents=latents,
        )

    @property
    def network(self) -> Mapping[str, Any]:
        """What generator and critics are built from."""
        return self.config.to_json()

    @property
    def device(self) -> torch.device:
        """That of the latent vectors."""
        return self.latents.device

    def module_of(self, part: str) -> nn.Module:
        """Where the released gradients land."""
        if part != PART:
            raise ValueError(f"Expected part={part!r} to be {PART}.")
        return self.pixels

    def record_task(self, part: str, beside: RecordNumbers) -> RecordTask:
        """New images, and what a share says of them. The row check's loss is of the module alone."""
        module = self.module_of(part)
        labels = torch.arange(IMAGES, device=self.device) % self.config.classes
        z = torch.randn(IMAGES, self.config.latent_dim, generator=self.latents, device=self.device)
        made: Tensor = self.generator(z, labels, self.latents)
        self.made = made
        return ShareTask(
            module=module,
            loss=lambda x, y: (self.pixels.pixels * x).mean(),
            gradients=lambda images, own: self._gradients(images, own, made.detach(), labels),
            clip_norm=CLIP_NORM,
            grid_step=self.plan.parts[0].step,
        )

    def _gradients(self, images: Tensor, own: Tensor, made: Tensor, labels: Tensor) -> Tensor:
        """∂/∂x of a fresh critic's score of each generated image, after it was trained on the share."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed + 1)
            critic = Critic(self.config).to(self.device)
        optimiser = torch.optim.Adam(critic.parameters(), lr=self.settings.critic_rate, betas=(0.5, 0.9))
        for _ in range(self.settings.critic_updates if len(images) else 0):
            against = made[torch.arange(len(images), device=self.device) % len(made)]
            loss = losses.critic_loss("wasserstein", critic(images, own), critic(against, own)).mean()
            mix = torch.full((len(images),), 0.5, device=self.device)
            penalties = losses.gradient_penalty(lambda x: critic(x, own), images, against, mix)
            optimiser.zero_grad(set_to_none=True)
            (loss + self.settings.penalty_weight * penalties.mean()).backward()
            optimiser.step()
        asked = made.clone().requires_grad_(True)
        (found,) = torch.autograd.grad(losses.generator_loss("wasserstein", critic(asked, labels)).sum(), asked)
        return found

    def like(self) -> tuple[Tensor, ...]:
        """No images and no labels."""
        return no_images(self.config.image_shape, self.device)

    def frozen(self) -> GsWganLearner:
        """A copy as it is."""
        return replace(self, generator=copy.deepcopy(self.generator), pixels=copy.deepcopy(self.pixels))

    def after_update(self, part: str) -> None:
        """The generator's step along the released gradients of its images."""
        assert self.made is not None  # the part's task has made them
        sums = -self.pixels.pixels.detach() * self.plan.expected_batch_size
        optimiser = self.optimisers["generator"]
        optimiser.zero_grad(set_to_none=True)
        self.made.backward(sums / len(sums))
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        self.made = None
        with torch.no_grad():
            self.pixels.pixels.zero_()

    def modules(self) -> Mapping[str, nn.Module]:
        """The generator; critics are forgotten."""
        return {"generator": self.generator}

    def released(self) -> nn.Module:
        """The generator."""
        return self.generator

    def save(self, folder: Path, class_names: Sequence[str]) -> tuple[str, ...]:
        """The generator, and a grid of samples."""
        written = save_generator(self.generator, self.config, class_names, folder, method=NAME)
        return *written, write_samples(folder)


# Generated images in a release, and the clip norm of each one's gradient: as published.
IMAGES, CLIP_NORM = 32, 1.0


class GsWganMethod(Method):
    """One private part, the gradients of generated images; the ledger's writer is a loop of one's own."""

    name = NAME
    parts = (PART,)
    # A step's release is no sum over records, so nothing that privgen's training enforces of such a sum may be said.
    writer = OWN_LOOP

    def require_planned(self, plan: Plan) -> None:
        """Raise RunError unless shares take turns and the noise is for what a release can move by."""
        super().require_planned(plan)
        turns = plan.bands > 1 and math.isclose(plan.sampling_rate * plan.bands, 1) and not plan.phases
        part = plan.parts[0]
        if not turns or len(plan.parts) != 1 or part.residual_clip_norm or part.clip_norm < diameter(CLIP_NORM, IMAGES):
            raise RunError("GS-WGAN's shares take turns and are noised for 2C√n; begin it by privgen baseline gs-wgan.")

    def default_settings(self, dataset_size: int, *, warm_start: bool) -> GsWganSettings:
        """Small networks, and tiny ones below 5 000 records."""
        return GsWganSettings(preset="tiny") if dataset_size < 5000 else GsWganSettings()

    def settings_from_json(self, data: Mapping[str, Any]) -> GsWganSettings:
        """Those that `to_json` wrote."""
        return GsWganSettings.from_json(data)

    def begin(
        self, plan: Plan, facts: RecordFacts, settings: RunSettings, *, latents: torch.Generator
    ) -> GsWganLearner:
        """A generator for these images."""
        own = self.own(settings, GsWganSettings)
        base = GanSettings(preset=own.preset, latent_dim=own.latent_dim, upsampling_noise=0.0)
        network = NetworkConfig.of(base, image_shape=facts.image_shape, classes=len(facts.class_names))
        return GsWganLearner.of(plan, network, own, latents)

    def rebuild(
        self, plan: Plan, network: Mapping[str, Any], settings: RunSettings, *, latents: torch.Generator
    ) -> GsWganLearner:
        """The same generator."""
        return GsWganLearner.of(plan, NetworkConfig.from_json(network), self.own(settings, GsWganSettings), latents)

    def sampler(self, about: Mapping[str, Any], weights: Mapping[str, Tensor]) -> ImageSampler:
        """The released generator."""
        return GanSampler.of(about, weights)


METHOD = GsWganMethod()
