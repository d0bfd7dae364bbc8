"""N of each named data set: the size of what is trained on (DESIGN section 9). Loads nothing."""

from __future__ import annotations

DATASET_SIZES: dict[str, int] = {
    "digits": 1437,
    "mnist-5k": 4000,
    "mnist": 60000,
    "fashion-mnist": 60000,
    "celeba": 162770,
}
