"""What is trained in the clipping-bias experiment: two small classifiers, and the critic of a GAN.

A task is a module, a loss for each record, what happens between private steps, and what is measured. The critic
trains against a generator that learns from it (`privgen.methods.gan.generator_step`), as in `privgen train`.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from privgen.data import DataSet, ImageData
from privgen.experiments.clipping_bias.results import Scores
from privgen.experiments.clipping_bias.settings import Trial
from privgen.gradients.passes import losses_of
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.methods.gan import losses
from privgen.methods.gan.fake_pool import FakePool
from privgen.methods.gan.gan_state import GanState
from privgen.methods.gan.generator_step import generator_step
from privgen.methods.gan.networks import NetworkConfig, build_networks
from privgen.methods.gan.record_tasks import critic_task
from privgen.methods.gan.settings import GanSettings
from privgen.training.method import RecordTask

Weights = dict[str, Tensor]
_EVALUATED = 2000  # held-out records in one forward pass
_CRITICISED = 256  # held-out records for the critic: each needs a generated image
_CRITIC_STEPS = 5  # for one of the generator


class Task(Protocol):
    """What `privgen.experiments.clipping_bias.training.train` needs of a task."""

    part: str
    module: nn.Module
    optimiser: torch.optim.Optimizer

    def record_task(self) -> RecordTask:
        """What is asked of each record, at the weights as they are now."""

    def between(self) -> None:
        """What happens after a private step; touches no record."""

    def companions(self) -> Weights:
        """Whatever else the gradient of a record depends on, to be able to return to this step."""

    def recall(self, companions: Weights) -> None:
        """Return to a step, as far as `companions` go."""

    def scores(self) -> Scores:
        """Held-out loss, and accuracy where there is one."""


class MlpClassifier(nn.Module):
    """One hidden layer of 32: 25 450 parameters at 28×28, where a step takes two milliseconds."""

    def __init__(self, pixels: int, classes: int, width: int = 32) -> None:
        super().__init__()
        self.hidden = nn.Linear(pixels, width)
        self.logits = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, H, W) → (n, classes)."""
        logits: Tensor = self.logits(torch.relu(self.hidden(x.flatten(1))))
        return logits


class CnnClassifier(nn.Module):
    """Two strided convolutions, 8×8 and 4×4: 12 154 parameters at 28×28."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, _ = shape
        self.first = nn.Conv2d(channels, 16, 8, stride=4, padding=2)
        self.second = nn.Conv2d(16, 32, 4, stride=2, padding=1)
        side = ((height + 4 - 8) // 4 + 1 + 2 - 4) // 2 + 1
        self.logits = nn.Linear(32 * side * side, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, H, W) → (n, classes)."""
        x = torch.relu(self.first(x))
        logits: Tensor = self.logits(torch.relu(self.second(x)).flatten(1))
        return logits


@dataclass(frozen=True, slots=True)
class Records:
    """A data set as tensors, made once for all trials.

    Args:
        images, labels: of the records, (N, C, H, W) in [−1, 1] and (N,). ids: their identities, (N, 16) uint8.
        held_out: images and labels of others. classes: how many.
    """

    images: Tensor
    labels: Tensor
    ids: NDArray[np.uint8]
    held_out: tuple[Tensor, Tensor]
    classes: int

    @classmethod
    def of(cls, data: DataSet) -> Records:
        """From a data set."""
        return cls(*_tensors(data.train), data.train.ids, _tensors(data.test), len(data.train.class_names))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.images.shape
        return channels, height, width


def _tensors(data: ImageData) -> tuple[Tensor, Tensor]:
    images = torch.tensor(data.images).permute(0, 3, 1, 2).float() / 127.5 - 1
    return images.contiguous(), torch.tensor(data.labels.astype(np.int64))


class ClassifierTask:
    """Cross-entropy of a small classifier, by SGD with momentum.

    Args:
        trial: its task says which. data: the held-out half is what `scores` measures.
    """

    part = "classifier"

    def __init__(self, trial: Trial, data: Records) -> None:
        self._held_out = data.held_out
        pixels = math.prod(data.shape)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(trial.seed)
            self.module: nn.Module = (
                CnnClassifier(data.shape, data.classes) if trial.task == "cnn" else MlpClassifier(pixels, data.classes)
            )
        self.optimiser: torch.optim.Optimizer = torch.optim.SGD(
            self.module.parameters(), lr=trial.learning_rate, momentum=trial.momentum
        )

    def record_task(self) -> RecordTask:
        """Cross-entropy of each record."""
        module = self.module
        return RecordTask(module=module, loss=lambda x, y: losses.classifier_loss(module(x[None]), y[None])[0])

    def between(self) -> None:
        """Nothing."""

    def companions(self) -> Weights:
        """Nothing."""
        return {}

    def recall(self, companions: Weights) -> None:
        """Nothing to return to."""

    @torch.no_grad()
    def scores(self) -> Scores:
        """Cross-entropy and accuracy (%) of the held-out records."""
        images, labels = self._held_out
        logits = torch.cat([self.module(chunk) for chunk in images.split(_EVALUATED)])
        right = (logits.argmax(1) == labels).float().mean()
        return {"loss": float(functional.cross_entropy(logits, labels)), "accuracy": 100 * float(right)}


class CriticTask:
    """The critic of a class-conditional GAN, by Adam, against a generator that learns from it alone.

    Args:
        trial: its momentum is Adam's first. data: the data set.
    """

    part = "critic"

    def __init__(self, trial: Trial, data: Records) -> None:
        self._held_out = tuple(t[:_CRITICISED] for t in data.held_out)
        self._steps = 0
        settings = GanSettings(
            preset="tiny",
            critic_rate=trial.learning_rate,
            momentum=trial.momentum,
            generator_batch=32,
            fake_batches=0,
            seed=trial.seed,
        )
        network = NetworkConfig(
            preset="tiny",
            image_shape=data.shape,
            classes=data.classes,
            latent_dim=settings.latent_dim,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(trial.seed)
            networks = build_networks(network)
        betas = (trial.momentum, 0.999)
        self.module: nn.Module = networks.critic
        rate = trial.learning_rate
        self.optimiser: torch.optim.Optimizer = torch.optim.Adam(self.module.parameters(), lr=rate, betas=betas)
        free = torch.optim.Adam(networks.generator.parameters(), lr=settings.generator_rate, betas=betas)
        self._beside = RecordNumbers.insecure_fixed_seed(trial.seed)
        self._state = GanState(
            settings=settings,
            networks=networks,
            averaged=copy.deepcopy(networks.generator),
            optimisers={"critic": self.optimiser, "generator": free},
            latents=torch.Generator().manual_seed(trial.seed + 1),
            # Stays empty: each record of this task gets an image that is made for it.
            fakes=FakePool(classes=data.classes, each=1),
        )

    def record_task(self) -> RecordTask:
        """Hinge loss of each record against one generated image of its class."""
        return critic_task(self._state, self._beside)

    def between(self) -> None:
        """Every fifth time one free update of the generator."""
        self._steps += 1
        if self._steps % _CRITIC_STEPS == 0:
            generator_step(self._state, class_weight=0.0)

    def companions(self) -> Weights:
        """The generator's weights and the state of its latent vectors."""
        own = {name: p.detach().clone() for name, p in self._state.networks.generator.named_parameters()}
        return own | {"latents": self._state.latents.get_state()}

    @torch.no_grad()
    def recall(self, companions: Weights) -> None:
        """Put them back."""
        for name, p in self._state.networks.generator.named_parameters():
            p.copy_(companions[name])
        self._state.latents.set_state(companions["latents"])

    @torch.no_grad()
    def scores(self) -> Scores:
        """Hinge loss of held-out records against generated images, the same latent vectors each time."""
        task = critic_task(self._state, RecordNumbers.insecure_fixed_seed(0))
        images, labels = self._held_out
        assert task.beside is not None
        return {"loss": float(losses_of(task.loss, (images, labels, *task.beside(len(labels)))).mean())}


def task_of(trial: Trial, data: Records) -> Task:
    """The task that a trial names, freshly initialised from its seed."""
    return CriticTask(trial, data) if trial.task == "critic" else ClassifierTask(trial, data)


def part_of(trial: Trial) -> str:
    """Name of the one part that the trial's task releases."""
    return CriticTask.part if trial.task == "critic" else ClassifierTask.part
