"""CelebA from its published files, 178×218 aligned, at 32×32; class = Male. Two preparations, two data sets:

    celeba           the central 178×178, resized; tested on test
    celeba-resized   the whole image, resized, so that faces are squashed; tested on valid, as GS-WGAN does

torchvision's loader insists on checksums of archives that few people have; this reads the unpacked layout:

    DIR/celeba/img_align_celeba/000001.jpg ...  list_attr_celeba.txt  list_eval_partition.txt

`list_attr_celeba.txt` holds the number of images, the 40 attributes' names, and a line of ±1 for each image;
`list_eval_partition.txt` a line for each image with 0 (train), 1 (valid) or 2 (test).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from privgen.data.records import DataSet, ImageData, identities
from privgen.errors import DataError

CLASSES = ("not male", "male")
NAMES = ("img_align_celeba", "list_attr_celeba.txt", "list_eval_partition.txt")
_SIZE = (178, 218)
_BOXES = {"celeba": (0, 20, 178, 198), "celeba-resized": (0, 0, 178, 218)}  # left, upper, right, lower
_TESTED = {"celeba": "test", "celeba-resized": "valid"}
VARIANTS = tuple(_BOXES)
_SPLITS = {"train": "0", "valid": "1", "test": "2"}


def has_all(folder: Path) -> bool:
    """Whether a folder holds the layout."""
    return not missing(folder)


def missing(folder: Path) -> list[str]:
    """What of the layout a folder lacks."""
    return [name for name in NAMES if not (folder / name).exists()]


def celeba(folder: Path, name: str = "celeba") -> DataSet:
    """The published training split, and the published split that this variant tests on; the third is left alone.

    Args:
        folder: the layout. name: among VARIANTS.

    Raises:
        DataError: a file is missing or does not say what it should; the message names file, line and remedy.
    """
    partition, male = _partition(folder / NAMES[2]), _male(folder / NAMES[1])
    train, test = (_split(folder, name, split, partition, male) for split in ("train", _TESTED[name]))
    return DataSet(name, train, test)


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {path} ({error}); get it anew.") from error
    if not lines:
        raise DataError(f"{path} is empty; get it anew.")
    return lines


def _partition(path: Path) -> dict[str, str]:
    """Split number by file name."""
    found: dict[str, str] = {}
    for number, line in enumerate(_lines(path), 1):
        words = line.split()
        if words and (len(words) != 2 or words[1] not in _SPLITS.values() or words[0] in found):
            raise DataError(
                f"{path}, line {number}: {line[:60]!r}; expected a file that was not named before and 0, 1 or 2. "
                "Get it anew."
            )
        if words:
            found[words[0]] = words[1]
    return found


def _male(path: Path) -> dict[str, int]:
    """1 or 0 by file name."""
    lines = _lines(path)
    names = lines[1].split() if len(lines) > 1 else []
    if "Male" not in names:
        raise DataError(f"{path}, line 2: expected the attributes' names with Male among them. Get it anew.")
    column = names.index("Male") + 1
    found: dict[str, int] = {}
    for number, line in enumerate(lines[2:], 3):
        words = line.split()
        if words and (len(words) != 1 + len(names) or words[column] not in ("1", "-1")):
            raise DataError(
                f"{path}, line {number}: {line[:60]!r}; expected a file and {len(names)} values of 1 or -1. "
                "Get it anew."
            )
        if words:
            found[words[0]] = int(words[column] == "1")
    if lines[0].strip() != str(len(found)):
        raise DataError(f"{path} promises {lines[0][:20]!r} images and lists {len(found)}; get it anew.")
    return found


def _split(folder: Path, name: str, split: str, partition: dict[str, str], male: dict[str, int]) -> ImageData:
    files = [file for file, number in partition.items() if number == _SPLITS[split]]
    if not files:
        raise DataError(f"{folder / NAMES[2]} names no image of the {split} split; get it anew.")
    if unknown := [file for file in files if file not in male]:
        raise DataError(
            f"{folder / NAMES[1]} does not speak of {unknown[0]}, which {NAMES[2]} names ({len(unknown)} such); "
            "get both anew."
        )
    images = np.empty((len(files), 32, 32, 3), np.uint8)
    for row, file in enumerate(files):
        images[row] = _image(folder / NAMES[0] / file, _BOXES[name])
    return ImageData(
        name=name,
        split=split,
        images=images,
        labels=np.array([male[file] for file in files], dtype=np.int64),
        class_names=CLASSES,
        ids=identities(f"celeba/{file}" for file in files),
    )


def _image(path: Path, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            if image.size != _SIZE:
                raise ValueError(f"it is {image.width}×{image.height}, expected 178×218, the aligned images")
            kept = image.convert("RGB").crop(box)
            return np.asarray(kept.resize((32, 32), Image.Resampling.BILINEAR))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"Cannot read {path} ({error}); unpack img_align_celeba.zip anew.") from error
