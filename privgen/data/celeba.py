"""CelebA from its published files, 178×218 aligned: cropped to the central 178×178, resized to 32×32.

torchvision's loader insists on checksums of archives that few people have; this reads the unpacked layout:

    DIR/celeba/img_align_celeba/000001.jpg ...  list_attr_celeba.txt  list_eval_partition.txt
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from privgen.data.records import DataSet, ImageData, identities
from privgen.errors import DataError

CLASSES = ("not male", "male")
_SPLITS = {"train": "0", "test": "2"}


def has_all(folder: Path) -> bool:
    """Whether a folder holds the layout."""
    names = ("img_align_celeba", "list_attr_celeba.txt", "list_eval_partition.txt")
    return all((folder / name).exists() for name in names)


def celeba(folder: Path) -> DataSet:
    """Training and test split as published; class = Male.

    Raises:
        DataError: a file is missing or does not say what it should.
    """
    try:
        partition = dict(line.split()[:2] for line in _lines(folder / "list_eval_partition.txt") if line.strip())
        _, header, *rows = _lines(folder / "list_attr_celeba.txt")
        column = header.split().index("Male") + 1
        male = {row.split()[0]: int(row.split()[column] == "1") for row in rows if row.strip()}
    except (ValueError, IndexError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"The lists in {folder} are not CelebA's ({error}); expected an attribute Male in the second line of "
            "list_attr_celeba.txt and a file and a number in each line of list_eval_partition.txt; get them anew."
        ) from error
    splits = {split: _split(folder, split, [f for f, p in partition.items() if p == number], male)
              for split, number in _SPLITS.items()}  # fmt: skip
    return DataSet("celeba", splits["train"], splits["test"])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {path} ({error}).") from error


def _split(folder: Path, split: str, files: list[str], male: dict[str, int]) -> ImageData:
    if not files:
        raise DataError(f"{folder / 'list_eval_partition.txt'} names no image of the {split} split; get it anew.")
    images = np.empty((len(files), 32, 32, 3), np.uint8)
    for row, file in enumerate(files):
        path = folder / "img_align_celeba" / file
        try:
            with Image.open(path) as image:
                square = image.convert("RGB").crop((0, 20, 178, 198))
                images[row] = np.asarray(square.resize((32, 32), Image.Resampling.BILINEAR))
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"Cannot read {path} ({error}); unpack img_align_celeba.zip anew.") from error
    missing = [file for file in files if file not in male]
    if missing:
        raise DataError(f"list_attr_celeba.txt does not speak of {missing[0]}.")
    return ImageData(
        name="celeba",
        split=split,
        images=images,
        labels=np.array([male[file] for file in files], dtype=np.int64),
        class_names=CLASSES,
        ids=identities(f"celeba/{file}" for file in files),
    )
