"""RGB data without a download: patches of the two photographs that scikit-learn ships; class = photograph.

python photographs.py patches.npz 32
privgen data npz:patches.npz
"""

import sys

import numpy as np
from sklearn.datasets import load_sample_images


def patches(photograph: np.ndarray, size: int) -> np.ndarray:
    """(H, W, 3) → all whole (size, size, 3) patches that do not overlap, row by row."""
    rows, columns = (length // size for length in photograph.shape[:2])
    whole = photograph[: rows * size, : columns * size]
    return whole.reshape(rows, size, columns, size, 3).swapaxes(1, 2).reshape(-1, size, size, 3)


def main(path: str, size: int) -> None:
    """Write arrays images and labels."""
    found = [patches(photograph, size) for photograph in load_sample_images().images]
    labels = np.repeat(np.arange(len(found)), [len(one) for one in found])
    np.savez_compressed(path, images=np.concatenate(found), labels=labels)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
