"""`Grant` and `GrantedGuard`: a step that a guard in another process has charged, and the receipt for it here.

Where several processes train together, one holds the ledger and the guard. It charges a step, has that on disk, and
only then says so; the others draw their records and their share of the noise by what it said:

    rank 0       receipt = guard.admit(event)  →  says Grant.of(guard, receipt)
    the others   receipt = granted.admit(grant)

    >>> from accountant.budget import Budget
    >>> from accountant.events import SubsampledGaussian
    >>> from accountant.ledger.guard import BudgetGuard
    >>> guard = BudgetGuard(Budget(epsilon=1.0, delta=1e-5))
    >>> event = SubsampledGaussian(sampling_rate=0.01, noise_multiplier=1.0)
    >>> grant, elsewhere = Grant.of(guard, guard.admit(event)), GrantedGuard(steps=0, held=0)
    >>> elsewhere.admit(Grant.from_json(grant.to_json())).redeem(event)
    >>> elsewhere.admit(grant)
    Traceback (most recent call last):
    ...
    accountant.errors.ReceiptError: Step 0 was granted already; each step is granted once.

Guarantees: a grant makes one receipt in one process, in the order of the steps. That a grant was charged is the word of
who said it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from accountant.errors import ReceiptError
from accountant.events import Event, event_from_json, event_to_json
from accountant.json_reader import JsonObject
from accountant.ledger.receipt import ISSUED_BY_A_GUARD, Receipt, know_guard

if TYPE_CHECKING:
    from accountant.ledger.guard import BudgetGuard


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """One step that stands in the ledger, and how its guard stands.

    Args:
        event, step, cycle, place: as the receipt has them. held, charged, reserved_ahead, reservations, epsilon_spent:
            as the guard has them once the step is admitted.
    """

    event: Event
    step: int
    cycle: int
    place: int
    held: int
    charged: int
    reserved_ahead: int
    reservations: int
    epsilon_spent: float

    @classmethod
    def of(cls, guard: BudgetGuard, receipt: Receipt) -> Grant:
        """What a guard has just admitted."""
        return cls(
            event=receipt.event, step=receipt.step, cycle=receipt.cycle, place=receipt.place, held=guard.held,
            charged=guard.charged, reserved_ahead=guard.reserved_ahead, reservations=guard.reservations,
            epsilon_spent=guard.epsilon_spent(),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """As JSON; `from_json` is its inverse."""
        numbers = {name: getattr(self, name) for name in _COUNTS}
        return {"event": event_to_json(self.event), **numbers, "epsilon_spent": self.epsilon_spent}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Grant:
        """What `to_json` wrote.

        Raises:
            InvalidValue: it is no such object.
        """
        read = JsonObject(data, "a grant")
        return cls(
            event=event_from_json(read.child("event").data), epsilon_spent=read.number("epsilon_spent"),
            **{name: read.integer(name) for name in _COUNTS},
        )  # fmt: skip


_COUNTS = ("step", "cycle", "place", "held", "charged", "reserved_ahead", "reservations")


class GrantedGuard:
    """Receipts for what a guard in another process has charged.

    Args:
        steps, held: of that guard, where this process joins it.
    """

    def __init__(self, *, steps: int, held: int) -> None:
        self.steps, self.held, self.charged = steps, held, steps
        self.reserved_ahead = self.reservations = 0
        self._epsilon = 0.0
        self._open: dict[int, Event] = {}
        self._process = os.getpid()
        self.token = os.urandom(16)
        know_guard(self)

    def epsilon_spent(self) -> float:
        """ε of all that is charged, as the guard said it with the last grant."""
        return self._epsilon

    def admit(self, grant: Grant) -> Receipt:
        """A receipt for a step that was granted.

        Raises:
            ReceiptError: the step is no new one.
        """
        if grant.step < self.steps:
            raise ReceiptError(f"Step {grant.step} was granted already; each step is granted once.")
        self.steps, self.held, self.charged = grant.step + 1, grant.held, grant.charged
        self.reserved_ahead, self.reservations = grant.reserved_ahead, grant.reservations
        self._epsilon = grant.epsilon_spent
        self._open[grant.step] = grant.event
        return Receipt(
            event=grant.event, step=grant.step, cycle=grant.cycle, place=grant.place, guard=self, number=grant.step,
            key=ISSUED_BY_A_GUARD,
        )  # fmt: skip

    def redeem(self, number: int, *, step: int, event: Event) -> None:
        """Use up a receipt; called by the receipt.

        Raises:
            ReceiptError: see `Receipt.redeem`.
        """
        if os.getpid() != self._process:
            raise ReceiptError(f"This receipt (step {step}) was granted to another process; admit each step anew.")
        if number not in self._open:
            raise ReceiptError(f"This receipt (step {step}) was redeemed already; admit each step anew.")
        if event != self._open[number]:
            raise ReceiptError(f"This receipt is for {self._open[number]}, not for {event}; admit what you release.")
        del self._open[number]

    def __reduce__(self) -> NoReturn:
        raise ReceiptError("A guard cannot be copied: two would use one grant. Ask the guard that charges again.")
