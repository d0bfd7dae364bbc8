"""`torchvision:NAME`: what torchvision has downloaded, by its published splits. Nothing is downloaded here.

Those whose files are pickles (CIFAR) are not read: loading a file must not run code.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from privgen.data.left_out import LeftOut, UnusableRecord
from privgen.data.pixels import picture_pixels
from privgen.data.source import Opened, Size
from privgen.errors import DataError

# Images with one label each, in files that are read as numbers or pictures.
READABLE = (
    "DTD", "FGVCAircraft", "FashionMNIST", "Flowers102", "Food101", "GTSRB", "Imagenette", "KMNIST", "MNIST",
    "OxfordIIITPet", "PCAM", "QMNIST", "RenderedSST2", "STL10", "SVHN", "StanfordCars", "USPS",
)  # fmt: skip
_PICKLED = ("CIFAR10", "CIFAR100")
# Training and test split where they are called otherwise.
_SPLITS = {
    "FGVCAircraft": ("trainval", "test"),
    "Imagenette": ("train", "val"),
    "OxfordIIITPet": ("trainval", "test"),
}


class _Pictures:
    """One split as a `Source`; content is a record's identity.

    Args:
        pictures: a torchvision data set of (picture, label). split: to call its records.
    """

    def __init__(self, pictures: Any, split: str) -> None:
        self._pictures, self._split = pictures, split
        names = [str(name) for name in getattr(pictures, "classes", ())]
        self.known_classes = tuple(names) if len(set(names)) == len(names) else ()
        known = self.known_classes
        self.labels = [known[k] if 0 <= k < len(known) else str(k) for k in _numbers(pictures)]
        self.keys: Sequence[str] | None = None
        self.persons: Sequence[str] | None = None
        self.keeps_ids = False
        self.left_out: tuple[LeftOut, ...] = ()

    def name_of(self, row: int) -> str:
        """Its split and row."""
        return f"{self._split} row {row}"

    def size_of(self, row: int) -> Size:
        """Of the picture."""
        picture = self._picture(row)
        return picture.height, picture.width, 1 if picture.mode in ("1", "L", "LA") else 3

    def read(self, row: int) -> NDArray[np.uint8]:
        """Its picture's pixels."""
        return picture_pixels(self._picture(row))

    def whole(self) -> None:
        """They are pictures."""

    def _picture(self, row: int) -> Image.Image:
        try:
            picture = self._pictures[row][0]
        except MemoryError:
            raise
        except Exception as error:  # decoders raise whatever they like, and one picture must not end a run
            raise UnusableRecord(f"a damaged picture ({type(error).__name__})") from error
        if not isinstance(picture, Image.Image):
            raise UnusableRecord(f"a {type(picture).__name__}, where a picture is expected")
        return picture


def _numbers(pictures: Any) -> list[int]:
    """The label of each, without decoding its picture where the data set keeps labels apart."""
    for name in ("targets", "labels", "_labels"):
        found = getattr(pictures, name, None)
        if found is not None and len(found) == len(pictures):
            return [int(label) for label in found]
    samples = getattr(pictures, "_samples", None)
    if samples is not None and len(samples) == len(pictures):
        return [int(label) for _, label in samples]
    return [_label_with_its_picture(pictures, row) for row in range(len(pictures))]


def _label_with_its_picture(pictures: Any, row: int) -> int:
    """Of a data set that gives no label without decoding: -1, which is no class, where that fails."""
    try:
        return int(pictures[row][1])
    except MemoryError:
        raise
    except Exception:  # decoders raise whatever they like; the picture is left out when it is read
        return -1


def open_torchvision(name: str, root: Path) -> Opened:
    """The published splits of a torchvision data set.

    Args:
        name: its class in torchvision.datasets, such as KMNIST. root: the folder it was downloaded to.

    Raises:
        DataError: it is unknown, is a pickle, or is not there.
    """
    if name in _PICKLED:
        raise DataError(
            f"torchvision:{name} is a pickle, and loading a file must not run code; write it to an .npz where you "
            "trust it: d = torchvision.datasets."
            f"{name}(ROOT); numpy.savez('{name.lower()}.npz', images=d.data, labels=d.targets)."
        )
    if name not in READABLE:
        raise DataError(f"Unknown data set torchvision:{name}; known are: {', '.join(READABLE)}.")
    from torchvision import datasets

    kind = getattr(datasets, name)
    by_flag = "train" in inspect.signature(kind).parameters
    words = _SPLITS.get(name, ("train", "test"))
    try:
        train, test = (
            kind(str(root), download=False, **({"train": first} if by_flag else {"split": word}))
            for first, word in zip((True, False), words, strict=True)
        )
        return Opened("torchvision", _Pictures(train, "train"), _Pictures(test, "test"))
    except (RuntimeError, OSError, ImportError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(
            f"torchvision:{name} is not in {root} ({reason}); name its folder by --data-dir, or download it by "
            f"torchvision.datasets.{name}({str(root)!r}, download=True)."
        ) from error
