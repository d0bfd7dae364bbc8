"""`resolution`: the same RGB images at 28, 32 and 64 pixels: time and noise of a step, and what images become.

The data are patches of the two photographs that scikit-learn ships, 64×64 every 16 pixels, and smaller ones made of
them; class = photograph. The right fifth of each photograph is held out. They overlap and are public: they stand for
an RGB data set of any size, not for a promise to a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from accountant.plans.public_facts import PublicFacts
from privgen.data.records import DataSet, ImageData, identities
from privgen.errors import ConfigError
from privgen.experiments.gan_trials.experiment import gan_experiment
from privgen.experiments.gan_trials.figures import measures_figure
from privgen.experiments.gan_trials.groups import GanGroup, about, cost, gan_table, measure
from privgen.experiments.gan_trials.training import GanTrainer
from privgen.experiments.gan_trials.trial import CRITIC_ALONE, GanChoices, GanTrial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = (28, 32, 64)
_NAME, _CLASSES = "photographs", ("china", "flower")
_PATCH, _EVERY, _HELD_OUT = 64, 16, 0.2


def patches(size: int) -> DataSet:
    """The patches at size×size."""
    from sklearn.datasets import load_sample_images

    splits: dict[str, tuple[list[NDArray[np.uint8]], list[int]]] = {"train": ([], []), "test": ([], [])}
    for label, photograph in enumerate(load_sample_images().images):
        edge = round(photograph.shape[1] * (1 - _HELD_OUT))
        for split, half in (("train", photograph[:, :edge]), ("test", photograph[:, edge:])):
            for top in range(0, half.shape[0] - _PATCH + 1, _EVERY):
                for left in range(0, half.shape[1] - _PATCH + 1, _EVERY):
                    patch = Image.fromarray(half[top : top + _PATCH, left : left + _PATCH])
                    splits[split][0].append(np.asarray(patch.resize((size, size), Image.Resampling.BOX)))
                    splits[split][1].append(label)
    train, test = (
        ImageData(
            name=f"{_NAME}-{size}",
            split=split,
            images=np.stack(images),
            labels=np.array(labels),
            class_names=_CLASSES,
            ids=identities(f"{split}/{row}" for row in range(len(images))),
        )
        for split, (images, labels) in splits.items()
    )
    return DataSet(f"{_NAME}-{size}", train, test)


def _load(name: str) -> tuple[DataSet, PublicFacts | None]:
    size = int(name.rpartition("-")[2])
    return patches(size), PublicFacts(name=name, classes=_CLASSES, shape=(size, size, 3))


def trainer(choices: GanChoices, data_dir: Path | None) -> GanTrainer:
    """One that makes the patches.

    Raises:
        ConfigError: other data are asked for, which are of one size.
    """
    if choices.dataset != _NAME:
        raise ConfigError(
            f"Expected no other data set than {_NAME}, got {choices.dataset}: the same images are compared at several "
            "sizes; omit --dataset."
        )
    return GanTrainer(_load)


def trials(choices: GanChoices) -> list[GanTrial]:
    """Each size without a warm start and with one."""
    return [
        choices.trial(
            f"{size}×{size}" + (", warm start" if warm else ""),
            epsilon=epsilon,
            warm=warm,
            plan={"shares": dict(CRITIC_ALONE)},
            dataset=f"{choices.dataset}-{size}",
        )
        for epsilon in choices.epsilons
        for warm in (False, True)
        for size in SIZES
    ]


def tables(groups: Sequence[GanGroup]) -> str:
    """Cost, noise and quality."""
    columns = about() | {
        "ms a step": lambda g: f"{1000 * g.of(lambda one: one.result['step_seconds']).mean:.0f}",
        "critic's z·√P": lambda g: f"{g.of(lambda one: one.result['noise_length']['critic']).mean:.0f}",
    }
    for name in ("gen2real", "fid", "coverage"):
        columns |= measure(name)
    return f"### Resolution\n\n{gan_table(groups, columns | cost())}\n"


def figure(groups: Sequence[GanGroup]) -> Figure:
    """Each size, a panel a measure."""
    return measures_figure(groups, ("gen2real", "fid", "coverage"), "Resolution, by ImageNet features")


EXPERIMENT = gan_experiment(
    "resolution",
    factors="28×28, 32×32, 64×64 of the same RGB images; with and without a warm start",
    trials=trials,
    trainer=trainer,
    defaults=GanChoices(
        dataset=_NAME,
        iterations=25,
        batch_size=32,
        samples=400,
        metrics=("gen2real", "fid", "coverage"),
        features="imagenet",
    ),
    quick={"only": ("28×28", "64×64, warm start"), "features": None},
    tables=tables,
    figure=figure,
)
