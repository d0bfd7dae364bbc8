"""A method from outside the tree: an image a class, learned by stochastic gradient descent, and noise around it.

All that a method needs is here: settings, a learner, a method, an entry for the registry.
"""

import json
from dataclasses import dataclass

import torch
from torch import nn

from accountant.plans.planned_method import PlannedMethod
from privgen.catalogue import TrainableMethod
from privgen.config import RunSettings
from privgen.generate import ImageSampler, write_release
from privgen.training.method import Learner, Method, RecordTask


@dataclass(frozen=True, kw_only=True)
class PaletteSettings(RunSettings):
    """A learning rate that falls with each step, and how far samples scatter."""

    preset: str = "even"
    rate: float = 0.5
    fall: float = 0.99
    spread: float = 0.1

    def __post_init__(self):
        super().__post_init__()
        self.require("preset", self.preset in ("even", "wild"), "even or wild")
        for name in ("rate", "fall", "spread"):
            self.require(name, getattr(self, name) > 0, "> 0")


class Palette(nn.Module):
    """Label → image (C, H, W) in about [−1, 1]."""

    def __init__(self, classes, shape):
        super().__init__()
        self.classes, self.shape = classes, tuple(shape)
        self.images = nn.Linear(classes, torch.Size(shape).numel(), bias=False)
        nn.init.zeros_(self.images.weight)

    def forward(self, labels):
        hot = nn.functional.one_hot(labels, self.classes).to(self.images.weight.dtype)
        return self.images(hot).view(-1, *self.shape)


class PaletteLearner(Learner):
    """One part, one optimiser; what is released is the palette itself."""

    def __init__(self, palette, settings, latents):
        self.palette, self.settings, self._device = palette.to(latents.device), settings, latents.device
        self.optimisers = {"palette": torch.optim.SGD(palette.parameters(), lr=settings.rate)}
        self.taken = 0

    @property
    def network(self):
        return {"classes": self.palette.classes, "shape": list(self.palette.shape)}

    @property
    def device(self):
        return self._device

    def module_of(self, part):
        if part != "palette":
            raise ValueError(f"Expected part={part!r} to be palette.")
        return self.palette

    def record_task(self, part, beside):
        palette = self.module_of(part)
        return RecordTask(module=palette, loss=lambda x, y: 8 * (palette(y[None])[0] - x).square().mean())

    def like(self):
        shape = self.palette.shape
        return torch.zeros(0, *shape, device=self.device), torch.zeros(0, dtype=torch.int64, device=self.device)

    def frozen(self):
        copied = Palette(self.palette.classes, self.palette.shape)
        copied.load_state_dict(self.palette.state_dict())
        return PaletteLearner(copied, self.settings, torch.Generator(device=self.device))

    def begin_step(self, progress):
        for group in self.optimisers["palette"].param_groups:
            group["lr"] = self.settings.rate * self.settings.fall**self.taken

    def after_update(self, part):
        self.taken += 1

    def free_step(self, progress, steps):
        return {"brightness": float(self.palette.images.weight.detach().mean())}

    def modules(self):
        return {"palette": self.palette}

    def released(self):
        return self.palette

    def progress(self):
        return {"taken": self.taken}

    def restore_progress(self, progress):
        self.taken = int(progress["taken"])

    def save(self, folder, class_names):
        about = {"method": "palette", "network": self.network, "spread": self.settings.spread}
        own = write_release(folder, self.palette.state_dict(), {**about, "class_names": list(class_names)})
        (folder / "palette.json").write_text(json.dumps({"steps": self.taken}))
        return *own, "palette.json"


class PaletteSampler(ImageSampler):
    """The class's image, and noise around it."""

    def __init__(self, palette, spread):
        super().__init__(palette.classes)
        self.palette, self.spread = palette, spread

    def forward(self, labels, normal):
        images = self.palette(labels)
        return images + self.spread * normal(images.shape).to(images)


class PaletteMethod(Method):
    """Images of classes."""

    name, parts, watched = "palette", ("palette",), ("palette",)

    def default_settings(self, dataset_size, *, warm_start):
        return PaletteSettings()

    def settings_from_json(self, data):
        return PaletteSettings.from_json(data)

    def begin(self, plan, facts, settings, *, latents):
        return PaletteLearner(Palette(len(facts.class_names), facts.shape), settings, latents)

    def rebuild(self, plan, network, settings, *, latents):
        return PaletteLearner(Palette(network["classes"], network["shape"]), settings, latents)

    def sampler(self, about, weights):
        palette = Palette(about["network"]["classes"], about["network"]["shape"])
        palette.load_state_dict(dict(weights))
        return PaletteSampler(palette, float(about["spread"]))


METHOD = PaletteMethod()
ENTRY = TrainableMethod(
    planned=PlannedMethod(name="palette", shares={"palette": 1.0}),
    summary="an image a class",
    presets=("even", "wild"),
    place="shop_method:METHOD",
)
