"""CelebA from its published files, 178×218 aligned, at 32×32; class = Male. Two preparations, two data sets:

    celeba           the central 178×178, resized; tested on test
    celeba-resized   the whole image, resized, so that faces are squashed; tested on valid, as GS-WGAN does

torchvision's loader insists on checksums of archives that few people have; this reads the unpacked layout:

    DIR/celeba/img_align_celeba/000001.jpg ...  list_attr_celeba.txt  list_eval_partition.txt

`list_attr_celeba.txt` holds the number of images, the 40 attributes' names, and a line of ±1 for each image;
`list_eval_partition.txt` a line for each image with 0 (train), 1 (valid) or 2 (test). Both may be CSV files as Kaggle
has them (`.csv`, a header, commas), and the images one folder further down.

An image that cannot be read or has no attributes is left out and named to the owner.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from privgen.catalogue import DATASETS
from privgen.data.identity import identities
from privgen.data.left_out import LeftOut, UnusableRecord
from privgen.data.records import DataSet, ImageData
from privgen.errors import DataError

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
    return [name for name in NAMES if not _at(folder, name).exists()]


def _at(folder: Path, name: str) -> Path:
    """Where a file of the layout is: the published one, or the CSV in its stead."""
    published = folder / name
    table = published.with_suffix(".csv")
    return table if published.suffix and not published.exists() and table.exists() else published


def celeba(folder: Path, name: str = "celeba") -> DataSet:
    """The published training split, and the published split that this variant tests on; the third is left alone.

    Args:
        folder: the layout. name: among VARIANTS.

    Raises:
        DataError: a list is missing or does not say what it should; the message names file, line and remedy.
    """
    partition, male = _partition(_at(folder, NAMES[2])), _male(_at(folder, NAMES[1]))
    left_out: list[LeftOut] = []
    train, test = (_split(folder, name, split, partition, male, left_out) for split in ("train", _TESTED[name]))
    return DataSet(name, train, test, source=name, left_out=tuple(left_out))


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Number and words of every line that has any; a CSV's header is left out."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {path} ({error}); get it anew.") from error
    if not lines:
        raise DataError(f"{path} is empty; get it anew.")
    separator = "," if path.suffix == ".csv" else None
    rows = [(number, [word.strip() for word in line.split(separator)]) for number, line in enumerate(lines, 1)]
    return [(number, words) for number, words in rows if any(words)]


def _partition(path: Path) -> dict[str, str]:
    """Split number by file name."""
    found: dict[str, str] = {}
    for number, words in _rows(path)[int(path.suffix == ".csv") :]:
        if len(words) != 2 or words[1] not in _SPLITS.values() or words[0] in found:
            raise DataError(
                f"{path}, line {number}: {' '.join(words)[:60]!r}; expected a file that was not named before and 0, 1 "
                "or 2. Get it anew."
            )
        found[words[0]] = words[1]
    return found


def _male(path: Path) -> dict[str, int]:
    """1 or 0 by file name."""
    rows = _rows(path)
    if path.suffix == ".csv":
        names, promised, rows = rows[0][1][1:], None, rows[1:]
    else:
        names, promised, rows = (rows[1][1] if len(rows) > 1 else []), " ".join(rows[0][1]), rows[2:]
    if "Male" not in names:
        raise DataError(f"{path}, line 2: expected the attributes' names with Male among them. Get it anew.")
    column = names.index("Male") + 1
    found: dict[str, int] = {}
    for number, words in rows:
        if len(words) != 1 + len(names) or words[column] not in ("1", "-1"):
            raise DataError(
                f"{path}, line {number}: {' '.join(words)[:60]!r}; expected a file and {len(names)} values of 1 or -1. "
                "Get it anew."
            )
        found[words[0]] = int(words[column] == "1")
    if promised not in (None, str(len(found))):
        raise DataError(f"{path} promises {promised[:20]!r} images and lists {len(found)}; get it anew.")
    return found


def _split(
    folder: Path, name: str, split: str, partition: dict[str, str], male: dict[str, int], left_out: list[LeftOut]
) -> ImageData:
    files = [file for file, number in partition.items() if number == _SPLITS[split]]
    if not files:
        raise DataError(f"{_at(folder, NAMES[2])} names no image of the {split} split; get it anew.")
    images = np.empty((len(files), 32, 32, 3), np.uint8)
    kept: list[str] = []
    for file in files:
        try:
            if file not in male:
                raise UnusableRecord(f"no attributes in {_at(folder, NAMES[1]).name}")
            images[len(kept)] = _image(_picture(folder, file), _BOXES[name])
            kept.append(file)
        except UnusableRecord as error:
            left_out.append(LeftOut(file, str(error)))
    return ImageData(
        name=name,
        split=split,
        images=images[: len(kept)],
        labels=np.array([male[file] for file in kept], dtype=np.int64),
        class_names=DATASETS[name].facts.classes,
        ids=identities(f"celeba/{file}" for file in kept),
    )


def _picture(folder: Path, file: str) -> Path:
    published = folder / NAMES[0] / file
    nested = folder / NAMES[0] / NAMES[0] / file
    return nested if not published.exists() and nested.exists() else published


def _image(path: Path, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            if image.size != _SIZE:
                raise UnusableRecord(f"{image.width}×{image.height}, expected 178×218, the aligned images")
            kept = image.convert("RGB").crop(box)
            return np.asarray(kept.resize((32, 32), Image.Resampling.BILINEAR))
    except FileNotFoundError as error:
        raise UnusableRecord("no such file; unpack img_align_celeba.zip anew") from error
    except (UnusableRecord, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever they like, and one file must not end a run
        raise UnusableRecord("a damaged image; unpack img_align_celeba.zip anew") from error
