"""`RunSettings`: what a run trains with, beside its plan. Nothing in it can change what the run costs.

Everything that privacy depends on is in the plan (`accountant.plans.plan`). Here is what every method has; a method's
own settings are a subclass with learning rates, schedules and sizes beside. They are recorded in each checkpoint.

    >>> RunSettings.from_json(RunSettings(keep_checkpoints=3).to_json()).keep_checkpoints
    3
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from privgen.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of a run that are not privacy-relevant, whatever it trains.

    Args:
        checkpoint_every: private steps between checkpoints, >= 1.
        keep_checkpoints: how many of the newest are kept, >= 2.
        physical_batch: records in one forward pass, rounded up to a multiple of 32 but for 1, or None for what is fast;
            never changes accounting.
        seed: of initialisation; never of noise, batches or latent vectors.

    Raises:
        ConfigError: a value is out of range.
    """

    checkpoint_every: int = 500
    keep_checkpoints: int = 2
    physical_batch: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values; a subclass checks its own, and calls this first."""
        self.require("checkpoint_every", self.checkpoint_every >= 1, ">= 1")
        self.require("keep_checkpoints", self.keep_checkpoints >= 2, ">= 2")
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
