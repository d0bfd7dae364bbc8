"""`JsonObject`: a JSON object that is read once, at the door, field by field, and is a typed value afterwards.

Whatever does not have the form that is expected is refused with its name, what was expected and what was found.

    >>> read = JsonObject({"steps": 3, "event": {"kind": "x"}}, "entry 2")
    >>> read.integer("steps", least=1), read.child("event").text("kind")
    (3, 'x')
    >>> read.number("epsilon")
    Traceback (most recent call last):
    ...
    accountant.errors.InvalidValue: entry 2 lacks the field 'epsilon'.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NoReturn

from accountant.errors import InvalidValue


class JsonObject:
    """Reads a JSON object.

    Args:
        data: what was parsed. where: what it is, for errors.

    Raises:
        InvalidValue: it is no object.
    """

    def __init__(self, data: object, where: str) -> None:
        if not isinstance(data, Mapping):
            raise InvalidValue(f"Expected {where} to be an object, got {_shown(data)}.")
        self.data: Mapping[str, object] = data
        self.where = where

    def __contains__(self, name: str) -> bool:
        return name in self.data

    def require_fields(self, expected: Iterable[str], *, optional: Iterable[str] = ()) -> None:
        """Raise InvalidValue unless it has all of the expected fields and none but these and the optional ones."""
        needed, given = set(expected), set(self.data)
        unknown, missing = sorted(given - needed - set(optional)), sorted(needed - given)
        if unknown or missing:
            raise InvalidValue(f"Expected exactly the fields of {self.where}: unknown {unknown}, missing {missing}.")

    def value(self, name: str) -> object:
        """Anything that stands there.

        Raises:
            InvalidValue: nothing does.
        """
        if name not in self.data:
            raise InvalidValue(f"{self.where} lacks the field {name!r}.")
        return self.data[name]

    def text(self, name: str) -> str:
        """A string."""
        value = self.value(name)
        if not isinstance(value, str):
            self._refuse(name, "text", value)
        return value

    def optional_text(self, name: str) -> str | None:
        """A string, or None where there is null or nothing."""
        return None if self.data.get(name) is None else self.text(name)

    def number(self, name: str) -> float:
        """A number as it stands: 10 stays an integer, so that what is written again has the same digest."""
        value = self.value(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._refuse(name, "a number", value)
        return value

    def integer(self, name: str, *, least: int | None = None) -> int:
        """An integer, of at least `least` where that is given."""
        value = self.value(name)
        if type(value) is not int:
            self._refuse(name, "an integer", value)
        if least is not None and value < least:
            self._refuse(name, f"an integer >= {least}", value)
        return value

    def flag(self, name: str, *, default: bool | None = None) -> bool:
        """True or false, or the default where nothing stands there."""
        if default is not None and name not in self.data:
            return default
        value = self.value(name)
        if not isinstance(value, bool):
            self._refuse(name, "true or false", value)
        return value

    def child(self, name: str) -> JsonObject:
        """An object in it."""
        return JsonObject(self.value(name), f"{self.where}'s {name}")

    def optional_child(self, name: str) -> JsonObject | None:
        """An object in it, or None where there is null or nothing."""
        return None if self.data.get(name) is None else self.child(name)

    def children(self, name: str) -> Iterator[JsonObject]:
        """The objects of an array in it."""
        value = self.value(name)
        if not isinstance(value, list | tuple):
            self._refuse(name, "an array", value)
        for item in value:
            yield JsonObject(item, f"an item of {self.where}'s {name}")

    def texts(self, name: str) -> dict[str, str]:
        """An object in it that holds nothing but strings."""
        inner = self.child(name)
        return {key: inner.text(key) for key in inner.data}

    def _refuse(self, name: str, expected: str, value: object) -> NoReturn:
        raise InvalidValue(f"Expected {self.where}'s {name} to be {expected}, got {_shown(value)}.")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
