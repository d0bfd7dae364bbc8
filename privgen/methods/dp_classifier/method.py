"""`DpClassifierMethod`: the private classifier alone, by DP-SGD. It makes no images; its measure is its accuracy."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from accountant.files import write_durably
from accountant.plans.plan import Plan
from privgen.config import RunSettings
from privgen.generate import tensor_bytes
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.methods.gan.networks import Classifier, NetworkConfig
from privgen.methods.gan.settings import PRESETS, GanSettings
from privgen.methods.image_networks import no_images
from privgen.methods.moving_average import average_into, young_decay
from privgen.training.method import Learner, Method, RecordFacts, RecordTask

NAME, PART = "dp_classifier", "classifier"
# As a library run's model is called, so that an audit holds it to the last checkpoint.
WEIGHTS, ABOUT = "model.safetensors", "model.json"


@dataclass(frozen=True, kw_only=True)
class DpClassifierSettings(RunSettings):
    """Settings of the classifier that are not privacy-relevant.

    Args:
        preset: size of the network: tiny, small or paper. rate: Adam's learning rate, > 0.
        ema_decay: of the moving average that is released, in [0, 1).
    """

    preset: str = "small"
    rate: float = 2e-3
    ema_decay: float = 0.98

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("preset", self.preset in PRESETS, f"one of {', '.join(PRESETS)}")
        self.require("rate", self.rate > 0, "> 0")
        self.require("ema_decay", 0 <= self.ema_decay < 1, "in [0, 1)")


@dataclass(kw_only=True)
class DpClassifierLearner(Learner):
    """The classifier, and its moving average."""

    settings: DpClassifierSettings
    config: NetworkConfig
    classifier: Classifier
    averaged: Classifier
    optimisers: dict[str, torch.optim.Optimizer]
    place: torch.device

    @classmethod
    def of(cls, config: NetworkConfig, settings: DpClassifierSettings, device: torch.device) -> DpClassifierLearner:
        """A new one."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            classifier = Classifier(config).to(device)
        return cls(
            settings=settings,
            config=config,
            classifier=classifier,
            averaged=copy.deepcopy(classifier).requires_grad_(False),
            optimisers={PART: torch.optim.Adam(classifier.parameters(), lr=settings.rate)},
            place=device,
        )

    @property
    def network(self) -> Mapping[str, Any]:
        """What the classifier is built from."""
        return self.config.to_json()

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.place

    def module_of(self, part: str) -> nn.Module:
        """The classifier."""
        if part != PART:
            raise ValueError(f"Expected part={part!r} to be {PART}.")
        return self.classifier

    def record_task(self, part: str, beside: RecordNumbers) -> RecordTask:
        """Cross-entropy of one record."""
        self.module_of(part)

        def loss(x: Tensor, y: Tensor) -> Tensor:
            return functional.cross_entropy(self.classifier(x[None]), y[None])

        return RecordTask(module=self.classifier, loss=loss)

    def like(self) -> tuple[Tensor, ...]:
        """No images and no labels."""
        return no_images(self.config.image_shape, self.device)

    def frozen(self) -> DpClassifierLearner:
        """A copy of the classifier as it is."""
        return replace(self, classifier=copy.deepcopy(self.classifier))

    def free_step(self, progress: float, steps: int) -> Mapping[str, float]:
        """The moving average."""
        average_into(self.averaged, self.classifier, young_decay(self.settings.ema_decay, steps))
        return {}

    def modules(self) -> Mapping[str, nn.Module]:
        """The classifier."""
        return {PART: self.classifier}

    def released(self) -> nn.Module:
        """Its moving average."""
        return self.averaged

    def save(self, folder: Path, class_names: Sequence[str]) -> tuple[str, ...]:
        """The averaged classifier, and how to build it."""
        about = {"method": NAME, "network": self.config.to_json(), "class_names": list(class_names)}
        write_durably(folder / WEIGHTS, tensor_bytes(self.averaged.state_dict()))
        write_durably(folder / ABOUT, (json.dumps(about, indent=2, ensure_ascii=False) + "\n").encode())
        return WEIGHTS, ABOUT


class DpClassifierMethod(Method):
    """One private part, the classifier."""

    name = NAME
    parts = (PART,)
    watched = (PART,)

    def default_settings(self, dataset_size: int, *, warm_start: bool) -> DpClassifierSettings:
        """A small network, and a tiny one below 5 000 records."""
        return DpClassifierSettings(preset="tiny") if dataset_size < 5000 else DpClassifierSettings()

    def settings_from_json(self, data: Mapping[str, Any]) -> DpClassifierSettings:
        """Those that `to_json` wrote."""
        return DpClassifierSettings.from_json(data)

    def begin(
        self, plan: Plan, facts: RecordFacts, settings: RunSettings, *, latents: torch.Generator
    ) -> DpClassifierLearner:
        """A classifier of these images."""
        own = self.own(settings, DpClassifierSettings)
        network = NetworkConfig.of(
            GanSettings(preset=own.preset), image_shape=facts.image_shape, classes=len(facts.class_names)
        )
        return DpClassifierLearner.of(network, own, latents.device)

    def rebuild(
        self, plan: Plan, network: Mapping[str, Any], settings: RunSettings, *, latents: torch.Generator
    ) -> DpClassifierLearner:
        """The same classifier."""
        own = self.own(settings, DpClassifierSettings)
        return DpClassifierLearner.of(NetworkConfig.from_json(network), own, latents.device)


METHOD = DpClassifierMethod()
