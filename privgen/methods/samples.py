"""A grid of samples for the release folder, one column a class: made from the release alone."""

from __future__ import annotations

from pathlib import Path

from privgen.data.export import write_grid
from privgen.generate import load_generator

SAMPLES = "samples.png"
_ROWS = 8


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
