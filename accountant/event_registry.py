"""Which classes of events there are, by their kind, and events as JSON.

>>> from accountant.events import SubsampledGaussian
>>> event_to_json(SubsampledGaussian(sampling_rate=0.5, noise_multiplier=1.0))
{'kind': 'subsampled-gaussian', 'sampling_rate': 0.5, 'noise_multiplier': 1.0}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, TypeVar

from accountant.errors import InvalidValue

if TYPE_CHECKING:
    from accountant.events import Event

JsonScalar = str | int | float | bool | None

_E = TypeVar("_E", bound="Event")
_KINDS: dict[str, type[Event]] = {}


def register_event(cls: type[_E]) -> type[_E]:
    """Make a class of events known by its `kind`, so that ledgers with it can be written, replayed and audited.

    Use it as a decorator above `@dataclass(frozen=True)`. Whoever audits such a ledger must have imported the class.

    Raises:
        InvalidValue: not a frozen dataclass with a kind, or the kind is another class's.
    """
    kind = getattr(cls, "kind", None)
    parameters = getattr(cls, "__dataclass_params__", None)
    if not (isinstance(kind, str) and parameters is not None and parameters.frozen):
        raise InvalidValue(f"Expected {cls.__name__} to be a frozen dataclass with kind: ClassVar[str].")
    if kind in _KINDS:
        raise InvalidValue(f"Expected another kind than {kind!r}: it is that of {_KINDS[kind].__qualname__}.")
    _KINDS[kind] = cls
    return cls


def require_event(event: Event) -> None:
    """Raise InvalidValue unless this is an event of a registered class."""
    kind = getattr(event, "kind", None)
    if not isinstance(kind, str) or type(event) is not _KINDS.get(kind):
        raise InvalidValue(f"Expected event={event!r} to be one of: {', '.join(_KINDS)}; register_event adds a class.")


def event_to_json(event: Event) -> dict[str, JsonScalar]:
    """The event as a JSON object with a `kind` and its parameters.

    Raises:
        InvalidValue: it is no event of a registered class.
    """
    require_event(event)
    return {"kind": event.kind} | {f.name: getattr(event, f.name) for f in fields(event)}


def event_from_json(data: Mapping[str, object]) -> Event:
    """The event that `event_to_json` wrote.

    Raises:
        InvalidValue: unknown kind, missing or additional fields, or a value out of range.
    """
    kind = data.get("kind")
    cls = _KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise InvalidValue(f"Expected event kind={kind!r} to be one of: {', '.join(_KINDS)}.")
    names = {f.name for f in fields(cls)}
    given = set(data) - {"kind"}
    if names != given:
        raise InvalidValue(f"Expected a {kind} event with fields {sorted(names)}, got {sorted(given)}.")
    return cls(**{name: data[name] for name in names})
