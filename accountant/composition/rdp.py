"""`RdpAccountant`: the running record of what was spent, by Rényi differential privacy.

One charge's curve is computed once and cached; composing a step counts it, reading ε is a product, an addition and
a minimum.

    >>> from accountant.events import BandedGaussian, SubsampledGaussian
    >>> event = SubsampledGaussian(sampling_rate=0.04, noise_multiplier=1.5)
    >>> round(RdpAccountant().compose(event, 2250).get_epsilon(1e-5), 4)  # REFERENCE row 1
    7.3284
    >>> banded = BandedGaussian(sampling_rate=0.01, noise_multiplier=1.5, bands=4)
    >>> nine = RdpAccountant().compose(banded, 9).get_epsilon(1e-5)
    >>> nine == RdpAccountant().compose(banded.per_block, 3).get_epsilon(1e-5)
    True

Guarantees: `get_epsilon` is an upper bound on the ε of everything composed, at that δ and adjacency, for
events that were not chosen by looking at outputs (the data may be: composition is adaptive). Where the events too
are chosen so, a filter at one order fixed before is needed: `accountant.ledger.account`. Curves, their sum and the
conversion are rounded up by proved bounds (docs/privacy.md, theorem 5a).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from accountant.budget import Neighbouring, require_delta, require_neighbouring
from accountant.composition.block_meter import BlockMeter
from accountant.composition.conversion import Conversion, delta_of, epsilon_of
from accountant.composition.renyi import default_orders, pair_curve
from accountant.composition.rounding import U
from accountant.errors import InvalidValue
from accountant.events import Event, require_count, require_event
from accountant.mixtures import Floats
from accountant.scalars import is_number, plain

_DEFAULT_ORDERS = default_orders()
_DEFAULT_ORDERS.setflags(write=False)


class RdpAccountant:
    """Composes events by Rényi differential privacy.

    Args:
        neighbouring: adjacency.
        orders: Rényi orders, each finite and > 1, or None for the default, which serve ε from 0.01 to 1000.
        group_size: k, records that are added, removed or replaced together, integer >= 1.

    Raises:
        InvalidValue: a value is out of range.
    """

    def __init__(
        self,
        neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE,
        *,
        orders: Iterable[float] | None = None,
        group_size: int = 1,
    ) -> None:
        require_neighbouring(neighbouring)
        require_count(group_size, "group_size", least=1)
        self.neighbouring = neighbouring
        self.group_size = group_size
        self.orders = _DEFAULT_ORDERS if orders is None else _checked_orders(orders)
        # What was charged before the event that is being charged, and how many sums it took.
        self._settled = np.zeros(len(self.orders))
        self._sums = 0
        self._current: tuple[Event, int] | None = None
        self._meter = BlockMeter(group_size)
        self._curves: dict[Event, Floats] = {}
        self._conversions: dict[float, Conversion] = {}

    def copy(self) -> RdpAccountant:
        """An independent accountant that has composed the same."""
        other = RdpAccountant(self.neighbouring, group_size=self.group_size)
        other.orders = self.orders
        other._settled, other._sums, other._current = self._settled.copy(), self._sums, self._current
        other._meter = self._meter.copy()
        other._curves, other._conversions = self._curves, self._conversions
        return other

    def compose(self, event: Event, count: int = 1) -> RdpAccountant:
        """Charge `count` steps of an event, continuing the current segment of a banded one.

        Args:
            event: what each step released. count: integer >= 0.

        Returns:
            self, changed.

        Raises:
            InvalidValue: event or count is not what is expected.
        """
        require_count(count)
        require_event(event)
        self._curve(event)
        charges = self._meter.charge(event, plain(count))
        if charges:
            self._current = (event, charges + self._take_up(event))
        return self

    def _take_up(self, event: Event) -> int:
        """How often this event was charged since the last other one, which is settled now."""
        if self._current is None:
            return 0
        last, count = self._current
        if last == event:
            return count
        self._settled = self._settled + count * self._curve(last)
        self._sums += 1
        self._current = None
        return 0

    def _total(self, event: Event | None = None, charges: int = 0) -> Floats:
        """Divergences of all that was charged, and so many charges more, rounded up once for each rounding."""
        total, sums = self._settled, self._sums
        pending = [] if self._current is None else [self._current]
        if pending and pending[0][0] == event:
            pending = [(pending[0][0], pending[0][1] + charges)]
        elif event is not None and charges:
            # None charged is no addition: 0 · ∞ would be NaN at orders without a bound.
            pending.append((event, charges))
        for one, count in pending:
            total, sums = total + count * self._curve(one), sums + 1
        return np.asarray(total * (1 + (2 * sums + 2) * U))

    def new_segment(self) -> RdpAccountant:
        """Start another segment: a banded event's next step begins a new block. Returns self."""
        self._meter.cut()
        return self

    def get_epsilon(self, target_delta: float) -> float:
        """Upper bound on ε at δ = target_delta in (0, 1); ∞ where there is none. Changes nothing.

        Raises:
            InvalidValue: target_delta is out of range.
        """
        return epsilon_of(self._total(), self._conversion(target_delta))

    def get_delta(self, target_epsilon: float) -> float:
        """Upper bound on δ at ε = target_epsilon >= 0; at most 1. Changes nothing.

        Raises:
            InvalidValue: target_epsilon is negative or not a number.
        """
        if not (is_number(target_epsilon) and target_epsilon >= 0):
            raise InvalidValue(f"Expected target_epsilon={target_epsilon!r} >= 0.")
        return delta_of(self._total(), self.orders, epsilon=plain(target_epsilon))

    def epsilon_after(self, event: Event, steps: int, delta: float) -> float:
        """What `get_epsilon(delta)` would say after `steps` more of this event. Changes nothing."""
        require_count(steps, "steps")
        require_event(event)
        charges = self._meter.would_charge(event, steps)
        return epsilon_of(self._total(event, charges), self._conversion(delta))

    def best_order(self, target_delta: float) -> float:
        """The order α at which `get_epsilon` finds its bound."""
        return float(self.orders[np.argmin(self._total() + self._conversion(target_delta).added)])

    def divergences(self) -> Floats:
        """(len(orders),) total Rényi divergence at each order; a copy."""
        return self._total()

    def _curve(self, event: Event) -> Floats:
        known = self._curves.get(event)
        if known is None:
            pair = event.dominating_pair(self.neighbouring, self.group_size)
            known = self._curves[event] = pair_curve(pair, self.orders)
        return known

    def _conversion(self, delta: float) -> Conversion:
        known = self._conversions.get(delta)
        if known is None:
            require_delta(delta, "target_delta")
            known = self._conversions[delta] = Conversion.at(self.orders, delta=plain(delta))
        return known


def _checked_orders(orders: Iterable[float]) -> Floats:
    values = np.array(list(orders), dtype=np.float64)
    if values.ndim != 1 or not len(values) or not (np.isfinite(values) & (values > 1)).all():
        raise InvalidValue(f"Expected orders={orders!r} to be finite numbers > 1, at least one.")
    return np.unique(values)
