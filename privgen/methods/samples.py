"""Grids of samples, one column a class: of the release for its folder, and of what would be released while training."""

from __future__ import annotations

from pathlib import Path

from privgen.data.export import grid_png, write_grid
from privgen.generate import ImageSampler, LoadedGenerator, load_generator

SAMPLES = "samples.png"
_ROWS = 8
# While training: a glance, which is to take no time.
_GLANCE_ROWS, _GLANCE_CLASSES = 4, 10


def write_samples(folder: Path) -> str:
    """Load what was released into the folder, and write samples.png beside it; the same images each time.

    Returns:
        The file's name.

    Raises:
        OSError: no room.
    """
    generator = load_generator(folder, without_privacy=True)
    classes = len(generator.class_names)
    labels = [k for _ in range(_ROWS) for k in range(classes)]
    write_grid(generator(len(labels), labels=labels, seed=0), folder / SAMPLES, columns=classes)
    return SAMPLES


def glance(sampler: ImageSampler) -> bytes:
    """A few images of each of the first classes as PNG; of the same latent vectors each time, so that they compare."""
    classes = min(sampler.classes, _GLANCE_CLASSES)
    labels = [k for _ in range(_GLANCE_ROWS) for k in range(classes)]
    generator = LoadedGenerator(sampler, tuple(map(str, range(sampler.classes))))
    return grid_png(generator(len(labels), labels=labels, seed=0), columns=classes)
