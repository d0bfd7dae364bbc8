"""A source's records as the stated facts have them: what each contributes is decided by itself alone.

    a record of a class that is not listed      contributes nothing
    one that cannot be read, or does not fit    contributes nothing
    held out or trained on                      by a public hash of its person or image
    its identity                                its key, or its content with its occurrence number

What was left out is named to the owner and to nobody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from accountant.plans.public_facts import PublicFacts
from privgen.data.fitting import fitted
from privgen.data.identity import content_digest, content_ids, held_out, identities, image_digest
from privgen.data.left_out import LeftOut, UnusableRecord
from privgen.data.mapped import MappedImages, room_for, taken
from privgen.data.records import DataSet, ImageData
from privgen.data.source import UNLABELLED, Opened, Source


@dataclass(frozen=True, slots=True)
class Assembled:
    """Records of one source.

    Args:
        records: all that fit the facts. held_out: (N,) bool, which of them are for testing. left_out: the others.
    """

    records: ImageData
    held_out: NDArray[np.bool_]
    left_out: tuple[LeftOut, ...]


def data_set(opened: Opened, facts: PublicFacts, source: str) -> DataSet:
    """Training and held-out records by the stated facts.

    Args:
        source: what they were loaded by; kept in private.
    """
    first = assemble(opened.train, facts)
    if opened.test is not None:
        other = assemble(opened.test, facts)
        train, test, left_out = first.records, other.records, first.left_out + other.left_out
    else:
        chosen = (np.flatnonzero(~first.held_out), np.flatnonzero(first.held_out))
        train, test = (first.records.subset(rows) for rows in chosen)
        left_out = first.left_out
    return DataSet(
        facts.name,
        train.renamed("train"),
        test.renamed("test"),
        source=source,
        left_out=left_out,
        keeps_ids=opened.train.keeps_ids,
    )


def assemble(source: Source, facts: PublicFacts) -> Assembled:
    """The records of a source that fit the facts."""
    left_out = list(source.left_out)
    rows, labels = _listed(source, facts, left_out)
    images, readable = _images(source, rows, facts, left_out)
    rows, labels = list(compress(rows, readable)), list(compress(labels, readable))
    persons = [None if source.persons is None else source.persons[row] for row in rows]
    digests = [image_digest(images[at]) for at in range(len(rows))]
    if source.keys is not None:
        ids = identities(source.keys[row] for row in rows)
    else:
        classes = (facts.classes[label] for label in labels)
        ids = content_ids(map(content_digest, digests, classes, persons))
    records = ImageData(
        name=facts.name,
        split="all",
        images=images,
        labels=np.array(labels, dtype=np.int64),
        class_names=facts.classes,
        ids=ids,
    )
    return Assembled(records, np.array(list(map(held_out, digests, persons)), dtype=np.bool_), tuple(left_out))


def _listed(source: Source, facts: PublicFacts, left_out: list[LeftOut]) -> tuple[list[int], list[int]]:
    """Rows whose class is listed, and its number."""
    if facts.classes == (UNLABELLED,):
        return list(range(len(source.labels))), [0] * len(source.labels)
    numbers = {name: number for number, name in enumerate(facts.classes)}
    rows, labels = [], []
    for row, label in enumerate(source.labels):
        number = numbers.get(label)
        if number is None:
            reason = "in no class" if label == UNLABELLED else f"of the class {label!r}, which is not listed"
            left_out.append(LeftOut(source.name_of(row), reason))
        else:
            rows.append(row)
            labels.append(number)
    return rows, labels


def _images(
    source: Source, rows: Sequence[int], facts: PublicFacts, left_out: list[LeftOut]
) -> tuple[NDArray[np.uint8] | MappedImages, list[bool]]:
    """The images of these rows that can be read and fit, and of each row whether its is among them."""
    whole = source.whole()
    if whole is not None and whole.shape[1:] == facts.shape:
        everything = len(rows) == len(whole) and not isinstance(whole, np.memmap)
        return whole if everything else taken(whole, np.array(rows, dtype=np.int64)), [True] * len(rows)
    room = room_for((len(rows), *facts.shape))
    readable = []
    at = 0
    for row in rows:
        try:
            room[at] = fitted(source.read(row), shape=facts.shape, resize=facts.resize, crop=facts.crop)
            at += 1
            readable.append(True)
        except UnusableRecord as error:
            left_out.append(LeftOut(source.name_of(row), str(error)))
            readable.append(False)
    return taken(room, np.arange(at)) if isinstance(room, np.memmap) else room[:at], readable
