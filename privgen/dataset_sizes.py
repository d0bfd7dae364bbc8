"""N, image shape and classes of each named data set, of what is trained on (DESIGN section 9). Loads nothing."""

from __future__ import annotations

DATASET_SIZES: dict[str, int] = {
    "digits": 1437,
    "mnist-5k": 4000,
    "mnist": 60000,
    "fashion-mnist": 60000,
    "celeba": 162770,
    "celeba-resized": 162770,
}

# (channels, height, width), classes.
DATASET_SHAPES: dict[str, tuple[tuple[int, int, int], int]] = {
    "digits": ((1, 28, 28), 10),
    "mnist-5k": ((1, 28, 28), 10),
    "mnist": ((1, 28, 28), 10),
    "fashion-mnist": ((1, 28, 28), 10),
    "celeba": ((3, 32, 32), 2),
    "celeba-resized": ((3, 32, 32), 2),
}
