"""`DpMerfLearner`: DP-MERF as training sees it. One private step over all records; everything else is free."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from privgen.mechanism.record_numbers import RecordNumbers
from privgen.methods.dp_merf.embedding import ClassEmbedding, RandomFeatures
from privgen.methods.dp_merf.settings import DpMerfSettings
from privgen.methods.gan.networks import Generator, NetworkConfig
from privgen.methods.gan.release import save_generator
from privgen.methods.image_networks import no_images
from privgen.methods.samples import write_samples
from privgen.training.method import Learner, RecordTask

EMBEDDING = "embedding"


@dataclass(kw_only=True)
class DpMerfLearner(Learner):
    """The class means that are released, and the generator that learns to match them.

    Args:
        config: of the generator. embedding: holds the means. latents: of the free updates.
    """

    settings: DpMerfSettings
    config: NetworkConfig
    embedding: ClassEmbedding
    generator: Generator
    optimisers: dict[str, torch.optim.Optimizer]
    latents: torch.Generator

    @classmethod
    def of(cls, config: NetworkConfig, settings: DpMerfSettings, latents: torch.Generator) -> DpMerfLearner:
        """A new one, on the device of `latents`."""
        channels, height, width = config.image_shape
        features = RandomFeatures(
            pixels=channels * height * width,
            frequencies=settings.features,
            length_scale=settings.length_scale,
            seed=settings.seed,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            generator = Generator(config).to(latents.device)
        embedding = ClassEmbedding(config.classes, features).to(latents.device)
        return cls(
            settings=settings,
            config=config,
            embedding=embedding,
            generator=generator,
            # At rate 1 from zero, one step is the mean itself.
            optimisers={EMBEDDING: torch.optim.SGD(embedding.parameters(), lr=1.0)},
            latents=latents,
        )

    @property
    def network(self) -> Mapping[str, Any]:
        """What the generator is built from."""
        return self.config.to_json()

    @property
    def device(self) -> torch.device:
        """That of the latent vectors."""
        return self.latents.device

    def module_of(self, part: str) -> nn.Module:
        """The means."""
        if part != EMBEDDING:
            raise ValueError(f"Expected part={part!r} to be {EMBEDDING}.")
        return self.embedding

    def record_task(self, part: str, beside: RecordNumbers) -> RecordTask:
        """The record's features, as a gradient."""
        self.module_of(part)
        return RecordTask(module=self.embedding, loss=self.embedding.record_loss)

    def like(self) -> tuple[Tensor, ...]:
        """No images and no labels."""
        return no_images(self.config.image_shape, self.device)

    def frozen(self) -> DpMerfLearner:
        """A copy of the means as they are."""
        return replace(self, embedding=copy.deepcopy(self.embedding))

    def free_step(self, progress: float, steps: int) -> Mapping[str, float]:
        """All of the generator's training, after the one release; squared distance of the means at its end."""
        settings, generator = self.settings, self.generator
        shares, wanted = self.embedding.released()
        optimiser = torch.optim.Adam(generator.parameters(), lr=settings.generator_rate)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.generator_updates)
        distance = torch.zeros(())
        for _ in range(settings.generator_updates):
            distance = self._distance(shares, wanted)
            optimiser.zero_grad(set_to_none=True)
            distance.backward()
            optimiser.step()
            falling.step()
        optimiser.zero_grad(set_to_none=True)
        return {"distance": float(distance.detach())}

    def _distance(self, shares: Tensor, wanted: Tensor) -> Tensor:
        """Σ_y (share_y ‖released mean − mean of new images‖)², times the squared number of classes."""
        classes = len(shares)
        each = max(1, self.settings.generator_batch // classes)
        labels = torch.arange(classes, device=self.device).repeat_interleave(each)
        z = torch.randn(len(labels), self.config.latent_dim, generator=self.latents, device=self.device)
        made = self.embedding.features(self.generator(z, labels, self.latents))[:, :-1]
        means: Tensor = made.view(classes, each, -1).mean(1)
        return ((classes * shares[:, None] * (wanted - means)) ** 2).sum()

    def modules(self) -> Mapping[str, nn.Module]:
        """Means and generator."""
        return {EMBEDDING: self.embedding, "generator": self.generator}

    def released(self) -> nn.Module:
        """The generator."""
        return self.generator

    def save(self, folder: Path, class_names: Sequence[str]) -> tuple[str, ...]:
        """The generator, and a grid of samples."""
        return *save_generator(
            self.generator, self.config, class_names, folder, method="dp_merf"
        ), write_samples(folder)  # fmt: skip
