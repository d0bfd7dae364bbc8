"""Every error that `planners` raises of its own, in one tree.

A value out of its range is `accountant.errors.InvalidValue`, as everywhere. What is here is about requests
whose values are each in range and which cannot be met together; each message says what would be possible.

    >>> issubclass(ImpossiblePlan, PlannerError) and issubclass(PlannerError, ValueError)
    True
"""

from __future__ import annotations


class PlannerError(ValueError):
    """Base of everything raised here."""


class ImpossiblePlan(PlannerError):
    """No value of what was asked for keeps the budget; the message says which request would."""


class ContradictoryRequest(PlannerError):
    """Two of the values that were given exclude each other."""
