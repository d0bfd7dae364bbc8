"""Images to files: a PNG grid, a folder of PNGs, an npz. Each is written whole or not at all.

>>> import tempfile
>>> path = Path(tempfile.mkdtemp()) / "grid.png"
>>> write_grid(np.zeros((4, 28, 28, 1), np.uint8), path, columns=2)
>>> Image.open(path).size
(62, 62)
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from accountant.files import write_durably
from privgen.data.folder import CLASSES_FILE

_GAP = 2
# Names that Windows keeps for itself.
_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10))}


def write_grid(images: NDArray[np.uint8], path: Path, *, columns: int) -> None:
    """A PNG grid, row by row, with white gaps.

    Args:
        images: (n, H, W, C) uint8, C 1 or 3. columns: images in a row.

    Raises:
        OSError: it cannot be written; whatever stood there is untouched.
    """
    write_durably(path, grid_png(images, columns=columns))


def grid_png(images: NDArray[np.uint8], *, columns: int) -> bytes:
    """What `write_grid` writes."""
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    size = (rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, channels)
    grid = np.full(size, 255, np.uint8)
    for index, image in enumerate(images):
        top = _GAP + index // columns * (height + _GAP)
        left = _GAP + index % columns * (width + _GAP)
        grid[top : top + height, left : left + width] = image
    return png_bytes(grid)


def png_bytes(image: NDArray[np.uint8]) -> bytes:
    """One image (H, W, C) as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(buffer, "PNG")
    return buffer.getvalue()


def write_npz(
    images: NDArray[np.uint8], labels: NDArray[np.int64], path: Path, *, class_names: Sequence[str] = ()
) -> None:
    """Arrays `images`, `labels` and, where they are given, `class_names`; readable by `--dataset npz:PATH`.

    Raises:
        OSError: it cannot be written; whatever stood there is untouched.
    """
    buffer = io.BytesIO()
    if class_names:
        np.savez_compressed(buffer, images=images, labels=labels, class_names=np.array(class_names))
    else:
        np.savez_compressed(buffer, images=images, labels=labels)
    write_durably(path, buffer.getvalue())


def write_folder(
    images: NDArray[np.uint8], labels: NDArray[np.int64], class_names: tuple[str, ...], path: Path
) -> None:
    """One PNG an image in one subfolder a class that has any; readable by `--dataset image-folder:PATH`.

    Where a folder cannot have a class's name, `classes.json` says which class it is.

    Raises:
        FileExistsError: something stands there already. OSError: it cannot be written; nothing is left.
    """
    if path.exists():
        raise FileExistsError(17, "Exists already", str(path))
    folders = safe_names(class_names)
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        for label in sorted(set(labels.tolist())):
            (temporary / folders[label]).mkdir(parents=True)
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            file = temporary / folders[label] / f"{index:06d}.png"
            file.write_bytes(png_bytes(image))
        if changed := {folder: name for folder, name in zip(folders, class_names, strict=True) if folder != name}:
            text = json.dumps(changed, indent=2, ensure_ascii=False) + "\n"
            (temporary / CLASSES_FILE).write_text(text, encoding="utf-8")
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def safe_names(class_names: Sequence[str]) -> list[str]:
    """A folder's name for each class: on every system, leading nowhere else; all numbered where two would be the same.

    >>> safe_names(("<5mm", "a/b", "CON", "ok"))
    ['-5mm', 'a-b', 'class-CON', 'ok']
    """
    names = []
    for name in class_names:
        safe = "".join(c if c.isalnum() or c in "-_ " else "-" for c in name).strip() or "class"
        names.append(f"class-{safe}" if safe.upper() in _RESERVED else safe)
    # Some systems do not tell large letters from small ones.
    different = len({name.casefold() for name in names}) == len(names)
    return names if different else [f"{index:03d}-{name}" for index, name in enumerate(names)]
