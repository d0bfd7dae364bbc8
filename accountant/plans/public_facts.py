"""`PublicFacts`: what is publicly known of a data set before training; a plan states it and no record decides it.

Classes, shape and name appear in what is released (`generator.json`, the report) and fix the networks. If they were
read from the data when training begins, one record alone in its class would decide them. So they are stated in the
plan, and a record that does not fit them contributes nothing (docs/privacy.md).

    >>> facts = PublicFacts(name="scans", classes=("benign", "malignant"), shape=(32, 32, 1), resize=32, crop="pad")
    >>> PublicFacts.from_json(JsonObject(facts.to_json(), "the facts")) == facts
    True
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from accountant.errors import InvalidValue
from accountant.json_reader import JsonObject
from accountant.scalars import is_integer, plain

# One record is the unit that is protected.
UNITS = ("record",)
# How an image that is not square becomes square before it is resized.
CROPS = ("centre", "none", "pad")
MOST_CLASSES = 10_000
_LONGEST = 200


class PublicFactsJson(TypedDict):
    """Public facts as JSON."""

    name: str
    classes: list[str]
    shape: list[int]
    unit: str
    resize: int | None
    crop: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicFacts:
    """What a plan states about its data; public, and the same whichever records there are.

    Args:
        name: of the data set, 1 to 200 printable characters; not a path.
        classes: names, in the order of the labels 0, 1, …; 1 to 10 000, each different. One may have no record.
        shape: (height, width, channels) of an image as it is trained on, each >= 1.
        unit: whose presence is protected: "record".
        resize: side in pixels to which images are resized, or None: they are taken as they are.
        crop: what comes before: "centre" keeps the central square, "pad" adds black bars, "none" changes the aspect;
            None where nothing is resized.

    Raises:
        InvalidValue: a value is out of range.
    """

    name: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    unit: str = "record"
    resize: int | None = None
    crop: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "shape", tuple(map(plain, self.shape)))
        _require_text(self.name, "name")
        if any(mark in self.name for mark in "/\\"):
            raise InvalidValue(f"Expected name={self.name!r} to be a name and not a path; a plan is public.")
        self._require_classes()
        whole = [is_integer(side) and side >= 1 for side in self.shape]
        if len(whole) != 3 or not all(whole):
            raise InvalidValue(f"Expected shape={self.shape!r} to be height, width and channels, each >= 1.")
        if self.unit not in UNITS:
            raise InvalidValue(f"Expected unit={self.unit!r} to be one of: {', '.join(UNITS)}.")
        self._require_resizing()

    def _require_classes(self) -> None:
        if not 1 <= len(self.classes) <= MOST_CLASSES:
            raise InvalidValue(f"Expected 1 to {MOST_CLASSES} classes, got {len(self.classes)}.")
        for name in self.classes:
            _require_text(name, "a class")
        if len(set(self.classes)) != len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise InvalidValue(f"Expected each class once, got {twice!r} twice.")

    def _require_resizing(self) -> None:
        if (self.resize is None) != (self.crop is None):
            raise InvalidValue(f"Expected resize={self.resize!r} and crop={self.crop!r} both or neither.")
        if self.resize is None:
            return
        if self.crop not in CROPS:
            raise InvalidValue(f"Expected crop={self.crop!r} to be one of: {', '.join(CROPS)}.")
        if self.shape[:2] != (self.resize, self.resize):
            raise InvalidValue(f"Expected shape={self.shape!r} to be square with the side resize={self.resize!r}.")

    @property
    def images(self) -> str:
        """The images in words: 32×32×3, resized (centre)."""
        size = "×".join(map(str, self.shape))
        return size if self.resize is None else f"{size}, resized (crop: {self.crop})"

    def to_json(self) -> PublicFactsJson:
        """A JSON object; `from_json` is its inverse."""
        return {
            "name": self.name,
            "classes": list(self.classes),
            "shape": list(self.shape),
            "unit": self.unit,
            "resize": self.resize,
            "crop": self.crop,
        }

    @classmethod
    def from_json(cls, read: JsonObject) -> PublicFacts:
        """The facts that `to_json` wrote.

        Raises:
            InvalidValue: missing or unknown fields, a wrong type or a value out of range.
        """
        read.require_fields(PublicFactsJson.__annotations__)
        height, width, channels = _integers(read, "shape")
        return cls(
            name=read.text("name"),
            classes=tuple(_texts(read, "classes")),
            shape=(height, width, channels),
            unit=read.text("unit"),
            resize=None if read.value("resize") is None else read.integer("resize"),
            crop=read.optional_text("crop"),
        )


def _texts(read: JsonObject, name: str) -> list[str]:
    found = read.value(name)
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise InvalidValue(f"Expected {read.where}'s {name} to be a list of text, got {found!r:.80}.")
    return found


def _integers(read: JsonObject, name: str) -> list[int]:
    found = read.value(name)
    if not isinstance(found, list) or len(found) != 3 or not all(type(item) is int for item in found):
        raise InvalidValue(f"Expected {read.where}'s {name} to be a list of three integers, got {found!r:.80}.")
    return found


def _require_text(text: str, what: str) -> None:
    if not (isinstance(text, str) and text.strip() and len(text) <= _LONGEST and text.isprintable()):
        raise InvalidValue(f"Expected {what}={text!r} to be 1 to {_LONGEST} printable characters.")
