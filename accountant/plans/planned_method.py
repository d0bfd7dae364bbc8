"""`PlannedMethod`: what a plan must know of the method that it is for: its parts, and how they share the cost.

The plan has the method's name; `planners` choose by its `PlannedMethod` what was not given. An audit needs neither:
what was spent is said by parts and events, whatever is trained by them.

    >>> GAN.name, list(GAN.shares)
    ('gan', ['critic', 'classifier', 'reconstruction'])
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from accountant.errors import InvalidValue
from accountant.events import require_count
from accountant.scalars import is_number


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedMethod:
    """What is planned for of a method; public, and the same whatever the data.

    Args:
        name: an identifier.
        shares: each part that its step can release, in order, with its default share of the privacy cost, >= 0;
            they sum to 1.
        warm_shares: the same where the plan has a warm start, or None: as without.
        warm_reason: why, for a reader of the plan.
        essential: of these parts one at least must have a share; empty: of all.
        essential_reason: what is learned from them alone.
        between_classes: parts that one class teaches nothing.
        warm_start: default part of ε that a warm start costs by itself, in [0, 1).
        warm_start_reason: why so much, for a reader of the plan.
        warm_iterations: most steps that are taken by default after a warm start, or None: as many as without.
        needs_warm_start: whether it trains nothing without.
        published: the preset that is the method as it was published, which has no warm start; or None.

    Raises:
        InvalidValue: a value is out of range, or a part is named that is none.
    """

    name: str
    shares: Mapping[str, float]
    warm_shares: Mapping[str, float] | None = None
    warm_reason: str = ""
    essential: tuple[str, ...] = ()
    essential_reason: str = "nothing is learned without"
    between_classes: tuple[str, ...] = ()
    warm_start: float = 0.0
    warm_start_reason: str = ""
    warm_iterations: int | None = None
    needs_warm_start: bool = False
    published: str | None = None

    def __post_init__(self) -> None:
        require_method_name(self.name)
        for shares in (self.shares, *(() if self.warm_shares is None else (self.warm_shares,))):
            for part, share in shares.items():
                if not part.isidentifier() or not (is_number(share) and math.isfinite(share) and share >= 0):
                    raise InvalidValue(f"Expected share {part}={share!r} of {self.name} to be finite and >= 0.")
            if not math.isclose(sum(shares.values()), 1.0, rel_tol=1e-9):
                raise InvalidValue(f"Expected the shares of {self.name} to sum to 1, got {dict(shares)!r}.")
        named = {*(self.warm_shares or {}), *self.essential, *self.between_classes}
        if unknown := sorted(named - set(self.shares)):
            raise InvalidValue(f"Expected {unknown} to be among the parts of {self.name}: {', '.join(self.shares)}.")
        if not 0 <= self.warm_start < 1 or (self.needs_warm_start and not self.warm_start):
            raise InvalidValue(f"Expected warm_start={self.warm_start!r} of {self.name} in [0, 1), > 0 where needed.")
        if self.warm_iterations is not None:
            require_count(self.warm_iterations, f"warm_iterations of {self.name}", least=1)
        require_preset_name(self.published)
        if self.published is not None and self.needs_warm_start:
            raise InvalidValue(f"Expected no published preset of {self.name}: it has no warm start.")

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of what its step can release."""
        return tuple(self.shares)


def require_method_name(name: str) -> None:
    """Raise InvalidValue unless this may be a method's name."""
    if not (isinstance(name, str) and name.isidentifier()):
        raise InvalidValue(f"Expected method={name!r} to be a short word such as gan.")


def require_preset_name(name: str | None) -> None:
    """Raise InvalidValue unless this may be a preset's name, or there is none."""
    if name is not None and not (isinstance(name, str) and name.isidentifier()):
        raise InvalidValue(f"Expected preset={name!r} to be a short word such as small.")


# The paper's. The critic is what the generator learns from; the reconstruction's own updates are few and small.
GAN = PlannedMethod(
    name="gan",
    shares={"critic": 0.6, "classifier": 0.3, "reconstruction": 0.1},
    warm_shares={"critic": 1.0},
    warm_reason="a warm start knows the classes, and neither classifier nor encoder adds to it",
    essential=("critic", "reconstruction"),
    essential_reason="the generator learns what images look like from these alone",
    between_classes=("classifier",),
    warm_start=0.8,
    warm_start_reason="83 % gen2real on Fashion-MNIST at ε = 10, 77 % without: docs/results/recipe.md",
    warm_iterations=1000,
    published="paper",
)

# A model of somebody's own: one part, its gradient (`privgen.library`).
LIBRARY = PlannedMethod(name="library", shares={"model": 1.0})
