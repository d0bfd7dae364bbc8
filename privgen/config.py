"""`RunSettings`: what a run trains with, beside its plan. Nothing in it can change what the run costs.

Everything that privacy depends on is in the plan (`accountant.plans.plan`). Here is what every method has; a method's
own settings are a subclass with learning rates, schedules and sizes beside. They are recorded in each checkpoint.

    >>> RunSettings.from_json(RunSettings(keep_checkpoints=3).to_json()).keep_checkpoints
    3
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real
from typing import Any, Self

from privgen.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of a run that are not privacy-relevant, whatever it trains.

    Args:
        checkpoint_every: private steps between checkpoints, >= 1.
        keep_checkpoints: how many of the newest are kept, >= 2.
        samples_every_minutes: about so long from one grid of samples in the run's folder to the next, >= 0; 0 for none.
        physical_batch: records in one forward pass, rounded up to a multiple of 32 but for 1, or None for what is fast;
            never changes accounting.
        seed: of initialisation; never of noise, batches or latent vectors.

    Raises:
        ConfigError: a value is out of range.
    """

    checkpoint_every: int = 500
    keep_checkpoints: int = 2
    samples_every_minutes: float = 3.0
    physical_batch: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values; a subclass checks its own, and calls this first."""
        for one in fields(self):
            _require_kind(one.name, getattr(self, one.name), str(one.type))
        self.require("checkpoint_every", self.checkpoint_every >= 1, ">= 1")
        self.require("keep_checkpoints", self.keep_checkpoints >= 2, ">= 2")
        self.require("samples_every_minutes", self.samples_every_minutes >= 0, ">= 0")
        self.require("physical_batch", self.physical_batch is None or self.physical_batch >= 1, ">= 1")

    def require(self, name: str, holds: bool, expected: str) -> None:
        """Raise ConfigError, which names the value and what was expected, unless it holds."""
        if not holds:
            raise ConfigError(f"Expected {name}={getattr(self, name)!r} to be {expected}.")

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; `from_json` is its inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The settings that `to_json` wrote.

        Raises:
            ConfigError: unknown fields, or a value out of range.
        """
        unknown = set(data) - {f.name for f in fields(cls)}
        if unknown:
            raise ConfigError(f"Unknown training settings: {', '.join(sorted(unknown))}.")
        try:
            return cls(**data)
        except TypeError as error:
            raise ConfigError(f"The training settings are inconsistent: {error}") from error


# What a value in JSON may be, for each type of a field; a bool is a number to Python and to nobody else.
_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "str": ("a word", lambda value: isinstance(value, str)),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "int": ("a whole number", lambda value: isinstance(value, Integral) and not isinstance(value, bool)),
    "float": (
        "a finite number",
        lambda value: isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value),
    ),
}


def _require_kind(name: str, value: Any, kind: str) -> None:
    """Raise ConfigError unless a value is of its field's type, such as "int | None"; other types a method checks."""
    words = kind.split(" | ")
    allowed = [_KINDS[word] for word in words if word in _KINDS]
    if not allowed or (value is None and "None" in words) or any(holds(value) for _, holds in allowed):
        return
    raise ConfigError(f"Expected {name}={value!r} to be {' or '.join(words for words, _ in allowed)}.")
