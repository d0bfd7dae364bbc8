"""`image-folder:PATH`: one subfolder a class, or images without classes; read as folders are, not as they should be.

Every file is tried, whatever its suffix. Links are followed, but none that leads back to where it came from. What is
hidden, no image, or in no class is left out and named to whoever owns it. A file `classes.json` ({folder: class}), as
`privgen sample` writes it, gives classes names that no folder can have.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from privgen.data.left_out import LeftOut
from privgen.data.source import UNLABELLED, FileSource, Opened
from privgen.errors import DataError

CLASSES_FILE = "classes.json"
# Says what the images are, for people; no record.
CARD = "README.md"


def open_folder(path: Path) -> Opened:
    """The files of a folder, each with its class.

    Raises:
        DataError: there is no folder, or no file in it.
    """
    if not path.is_dir():
        raise DataError(f"{path} is no folder; name one that has a subfolder of images for each class.")
    left_out: list[LeftOut] = []
    files = sorted(_files(path, path, (os.path.realpath(path),), left_out), key=lambda file: file.as_posix())
    folders = [entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    if not files and not folders:
        raise DataError(f"{path} holds no images; expected {path}/CLASS/*.png or *.jpg, or {path}/*.png.")
    names = _class_names(path)
    parts = [file.relative_to(path).parts for file in files]
    loose = [len(part) == 1 for part in parts]
    filled = {part[0] for part in parts}
    left_out += [LeftOut(folder, "a class folder without files") for folder in sorted(folders) if folder not in filled]
    return Opened(
        "image-folder",
        FileSource(
            root=path,
            files=files,
            labels=[UNLABELLED if one else names.get(part[0], part[0]) for one, part in zip(loose, parts, strict=True)],
            keys=[f"path/{'/'.join(part)}" for part in parts],
            # A class that is part of the path changes with the record; without classes, the path is kept.
            keeps_ids=not folders,
            left_out=tuple(left_out),
        ),
    )


def _files(root: Path, folder: Path, above: tuple[str, ...], left_out: list[LeftOut]) -> Iterator[Path]:
    """Every file below a folder, links followed."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        left_out.append(LeftOut(_shown(root, folder), f"a folder that cannot be read ({error.strerror})"))
        return
    for entry in entries:
        if entry.name.startswith("."):
            left_out.append(LeftOut(_shown(root, entry), "hidden"))
        elif entry.is_dir():
            real = os.path.realpath(entry)
            if real in above:
                left_out.append(LeftOut(_shown(root, entry), "a link that leads back to where it is"))
            else:
                yield from _files(root, entry, (*above, real), left_out)
        elif not entry.is_file():
            left_out.append(LeftOut(_shown(root, entry), "a link that leads nowhere, or no file"))
        elif entry not in (root / CLASSES_FILE, root / CARD):
            yield entry


def _shown(root: Path, entry: Path) -> str:
    return entry.relative_to(root).as_posix()


def _class_names(root: Path) -> dict[str, str]:
    """Class by folder, for those whose name no folder can have."""
    path = root / CLASSES_FILE
    if not path.is_file():
        return {}
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
            raise ValueError("expected an object of folder names and class names")
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read {path} ({error}); mend or remove it.") from error
    return names
