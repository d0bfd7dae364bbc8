"""Who a record is, whatever other records there are: the keys of groups and coins, and the held-out split.

A position is no identity: removing one record would rename all later ones. An identity is, in this order,

    an id          given with the record (`ids` of an .npz, column `id` of a manifest); unique
    a file's path  below the folder that was named
    its content    what training sees, its class and its person, and how many equal ones came before

Equal records are interchangeable, so removing one of k equal ones, whichever it is, leaves the identities 0 to k − 2 to
the others: it is removing the last, and nobody else moves (docs/privacy.md).

Whether a record is held out is a fixed public function of its person or, where none is named, of its image alone: equal
images fall on one side, plans and evaluations agree, and no other record matters.

    >>> same = [b"x", b"y", b"x"]
    >>> first, less = content_ids(same), content_ids(same[1:])
    >>> bool((less == first[[1, 0]]).all())
    True
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from privgen.errors import DataError

# One in so many is held out.
_HELD_OUT = 5


def identities(keys: Iterable[str]) -> NDArray[np.uint8]:
    """(N, 16) identities from keys that name each record for good: an id, a path, a row of a published file."""
    return _stacked(map(_bytes_of, keys))


def content_ids(contents: Iterable[bytes]) -> NDArray[np.uint8]:
    """(N, 16) identities from digests of content: equal ones are told apart by how many came before."""
    before: dict[bytes, int] = {}

    def numbered(content: bytes) -> bytes:
        before[content] = before.get(content, -1) + 1
        return content + before[content].to_bytes(8, "little")

    return _stacked(map(numbered, contents))


def _bytes_of(text: str) -> bytes:
    """UTF-8; also of what is no text, as the name of a file may be: one such name must not end a run."""
    return text.encode("utf-8", "surrogatepass")


def _stacked(keys: Iterable[bytes]) -> NDArray[np.uint8]:
    digests = bytearray()
    for key in keys:
        digests += hashlib.sha256(key).digest()[:16]
    return np.frombuffer(bytes(digests), dtype=np.uint8).reshape(-1, 16).copy()


def require_unique(ids: Sequence[str], what: str) -> None:
    """Raise DataError if one id stands twice: two records would be one, and share their group.

    That ids are unique is part of the promise's domain, for a refusal is an output.
    """
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise DataError(
            f"{what}: {len(twice)} ids stand more than once, {twice[0]!r} first; expected one of its own for each "
            "record: number the repeated ones, or leave the ids out, and records are told apart by content."
        )


def image_digest(image: NDArray[np.uint8]) -> bytes:
    """32 bytes that stand for an image (H, W, C) as it is trained on."""
    shape = "×".join(map(str, image.shape))
    return hashlib.sha256(shape.encode() + np.ascontiguousarray(image).tobytes()).digest()


def content_digest(image: bytes, label: str, person: str | None) -> bytes:
    """32 bytes that stand for what is trained on of a record: its image's digest, its class, its person."""
    parts = [image, _bytes_of(label), b"" if person is None else b"of " + _bytes_of(person)]
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "little") + part for part in parts)).digest()


def held_out(image: bytes, person: str | None) -> bool:
    """Whether a record is for testing; one in five, by a public hash of its person or of its image's digest."""
    key = b"image " + image if person is None else b"person " + _bytes_of(person)
    return int.from_bytes(hashlib.sha256(b"privgen held out 1 " + key).digest()[:8], "little") % _HELD_OUT == 0
