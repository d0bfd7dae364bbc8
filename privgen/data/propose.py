"""Public facts as the data suggest them, for `privgen plan` and `privgen data` to show before anybody states them.

A proposal is read from the data, so it is not private: who accepts it states that classes, shape and N may be known.
Training never proposes; it takes the plan's.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from accountant.errors import InvalidValue
from accountant.plans.public_facts import MOST_CLASSES, PublicFacts
from privgen.catalogue import EXPECTED, upsamplings
from privgen.data.left_out import LeftOut, UnusableRecord, lines_of
from privgen.data.natural import natural_order
from privgen.data.source import UNLABELLED, Opened, Size, Source
from privgen.errors import DataError

_SIZES_SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedFacts:
    """Public facts that somebody stated; None where the data may suggest one.

    Args:
        name: public name. classes: their names in order. shape: (height, width, channels).
        resize: side to resize to. crop: centre, none or pad; needs resize.
    """

    name: str | None = None
    classes: tuple[str, ...] | None = None
    shape: Size | None = None
    resize: int | None = None
    crop: str | None = None

    def __post_init__(self) -> None:
        if self.crop is not None and self.resize is None:
            raise DataError(f"--crop {self.crop} needs --resize, such as --resize 32.")

    def anything(self) -> bool:
        """Whether anything was stated."""
        return self != AskedFacts()


def propose(opened: Opened, asked: AskedFacts, spec: str) -> PublicFacts:
    """Facts that fit the data, with what was asked for kept.

    Args:
        opened: the data. spec: how they were named, for the remedy in an error.

    Raises:
        DataError: there is no image, several sizes and nothing that makes one of them, or a size that cannot be made.
    """
    sources = [opened.train] if opened.test is None else [opened.train, opened.test]
    readable: list[tuple[str, Size]] = []
    unread: list[LeftOut] = []
    for source in sources:
        for row, label in enumerate(source.labels):
            try:
                readable.append((label, source.size_of(row)))
            except UnusableRecord as error:
                unread.append(LeftOut(source.name_of(row), str(error)))
    if not readable:
        raise DataError("; ".join((f"{spec} holds no images", *lines_of(unread))) + ". Name another, or convert them.")
    classes = asked.classes or _classes(sources, [label for label, _ in readable], spec)
    listed = {label for label, _ in readable} if classes == (UNLABELLED,) else set(classes)
    sizes = Counter(size for label, size in readable if label in listed)
    crop = asked.crop or ("centre" if asked.resize is not None else None)
    try:
        return PublicFacts(
            name=asked.name or opened.kind,
            classes=classes,
            shape=asked.shape or _shape(sizes, asked.resize, spec),
            resize=asked.resize,
            crop=crop,
        )
    except InvalidValue as error:
        raise DataError(f"{spec}: {error}") from error


def _classes(sources: Sequence[Source], labels: Sequence[str], spec: str) -> tuple[str, ...]:
    known = tuple(dict.fromkeys(name for source in sources for name in source.known_classes))
    found = set(labels) - set(known)
    if len(found | set(known)) > 1:
        # Images in no class, among others that are in one.
        found -= {UNLABELLED}
    classes = (*known, *natural_order(found))
    if len(classes) > MOST_CLASSES:
        raise DataError(
            f"{spec} has {len(classes)} different labels, {classes[0]!r} first; expected at most {MOST_CLASSES}: "
            "name those that are classes by --classes."
        )
    return classes


def _shape(sizes: Counter[Size], resize: int | None, spec: str) -> Size:
    if not sizes:
        raise DataError(f"{spec} has no image of a class that --classes names.")
    channels = max(size[2] for size in sizes)
    if resize is not None:
        shape = (resize, resize, channels)
        if upsamplings(channels, resize, resize) is None:
            raise DataError(f"--resize {resize} gives images that cannot be generated; expected {EXPECTED}.")
        return shape
    squares = Counter[tuple[int, int]]()
    for (height, width, _), count in sizes.items():
        squares[height, width] += count
    if len(squares) > 1:
        shown = ", ".join(f"{height}×{width} ({count})" for (height, width), count in squares.most_common(_SIZES_SHOWN))
        more = f" and {len(squares) - _SIZES_SHOWN} more" if len(squares) > _SIZES_SHOWN else ""
        raise DataError(
            f"{spec}: images are of {len(squares)} sizes (height × width): {shown}{more}; {_remedy(squares, spec)}"
        )
    ((height, width),) = squares
    if upsamplings(channels, height, width) is None:
        raise DataError(
            f"{spec}: images are {height}×{width} with {channels} channel{'s' if channels > 1 else ''}; "
            f"expected {EXPECTED}; {_remedy(squares, spec)}"
        )
    return height, width, channels


def _remedy(sizes: Counter[tuple[int, int]], spec: str) -> str:
    """The command that makes one size of these."""
    least = min(min(size) for size in sizes)
    side = 64 if least >= 64 else 32
    crop = "" if all(height == width for height, width in sizes) else " --crop centre (or pad, or none)"
    return f"resize them: privgen plan --dataset {shlex.quote(spec)} --resize {side}{crop} …"
