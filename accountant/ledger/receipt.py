"""`Receipt`: the right to add noise once, a token of the guard that made it.

Whether it was redeemed stands in the guard and nowhere else. A copy, however it was made, is the same receipt; one that
was stored and comes back is a name for what its guard still knows, in the guard's own process.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import NoReturn, Protocol

from accountant.errors import ReceiptError
from accountant.events import Event


class Issuer(Protocol):
    """Who made a receipt and knows whether it was used: a guard, or who passes on what one has charged."""

    token: bytes

    def redeem(self, number: int, *, step: int, event: Event) -> None:
        """Use up receipt `number`."""


ISSUED_BY_A_GUARD = object()
_GUARDS: weakref.WeakValueDictionary[bytes, Issuer] = weakref.WeakValueDictionary()


def know_guard(guard: Issuer) -> None:
    """Have receipts that were stored find their guard by its token, as long as it lives."""
    _GUARDS[guard.token] = guard


class Receipt:
    """The right to add noise once, for the event that was admitted: a token of the guard that made it.

    Whether it was redeemed stands in the guard and nowhere else, so a copy, however it was made, is the same receipt.

    Args:
        event: what was admitted. step: its number among the charged steps, from 0.
        cycle: its number within its segment, which says whose turn it is under cyclic sampling.
        place: its number among the plan's steps, from 0: that of a step that a crash wasted is taken again.
    """

    __slots__ = ("_guard", "_number", "cycle", "event", "place", "step")
    event: Event
    step: int
    cycle: int
    place: int
    _guard: Issuer
    _number: int

    def __init__(
        self,
        *,
        event: Event,
        step: int,
        cycle: int,
        place: int = 0,
        guard: Issuer | None = None,
        number: int = -1,
        key: object = None,
    ) -> None:
        if key is not ISSUED_BY_A_GUARD or guard is None:
            raise ReceiptError("A receipt comes from BudgetGuard.admit(event) and from nowhere else.")
        values = {
            "event": event, "step": step, "cycle": cycle, "place": place, "_guard": guard, "_number": number,
        }  # fmt: skip
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise ReceiptError(f"A receipt's {name} cannot be changed; admit the event that you release.")

    def __copy__(self) -> Receipt:
        return self

    def __deepcopy__(self, memo: object) -> Receipt:
        return self

    def __reduce__(self) -> tuple[Callable[..., Receipt], tuple[object, ...]]:
        return _receipt_of, (self._guard.token, self.event, self.step, self.cycle, self.place, self._number)

    def redeem(self, event: Event) -> None:
        """Use it up.

        Raises:
            ReceiptError: it was used before, its guard is in another process or has let go of its ledger, or another
                event was admitted than is about to be released.
        """
        self._guard.redeem(self._number, step=self.step, event=event)


def _receipt_of(token: bytes, event: Event, step: int, cycle: int, place: int, number: int) -> Receipt:
    """A receipt that was stored: a name for what its guard knows, as long as that guard lives in this process."""
    guard = _GUARDS.get(token)
    if guard is None:
        raise ReceiptError(f"The guard of this receipt (step {step}) is not in this process; admit the step anew.")
    return Receipt(event=event, step=step, cycle=cycle, place=place, guard=guard, number=number, key=ISSUED_BY_A_GUARD)
