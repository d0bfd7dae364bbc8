"""`Account`: one budget over many runs, each of which may be chosen by looking at the ones before.

Ten tries at ε = 1 are not one try at ε = 1. An account is a ledger of its own in which every run reserves its
steps before it reserves them in its own ledger. Runs under one account are chosen adaptively, so the spend is
that of a Rényi filter at one order α that is fixed when the account is made:

    Σ D_α(step) <= B(α) = ε − log((α − 1)/α) + (log δ + log α)/(α − 1)

Guarantees: everything that all runs of an account release is (ε, δ)-DP together, whatever each run's plan was
chosen by. Proof: with predictable per-step divergences whose sum never passes B(α), exp((α − 1)·loss − (α − 1)·Σ D_α)
is a supermartingale, so the whole has divergence at most B(α) at α (Feldman & Zrnic 2021, arXiv 2008.11193,
theorem 4.3 in the form for one order), and B(α) converts to (ε, δ) (`accountant.composition.conversion`). The
least over several
orders is no filter: which order is the best would depend on outputs. PRV is none either (docs/privacy.md, theorem 6).

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "clinic.jsonl"
    >>> made = Account.new(path, budget=Budget(epsilon=3.0, delta=1e-6))
    >>> from accountant.events import SubsampledGaussian
    >>> step = SubsampledGaussian(sampling_rate=0.01, noise_multiplier=1.0)
    >>> Account(path).reserve(step, 100, run="first")
    100
    >>> Account(path).state().steps
    100
"""

from __future__ import annotations

import math
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from accountant.bound_text import upper_text
from accountant.budget import Budget
from accountant.composition.conversion import Conversion
from accountant.composition.rdp import RdpAccountant
from accountant.composition.segments import compose_segments
from accountant.errors import BudgetExhausted, InvalidValue, LedgerBroken, LedgerError, LedgerLocked
from accountant.events import Event, SubsampledGaussian, event_to_json, require_count
from accountant.ledger.chain import Ledger
from accountant.ledger.entry import Entry, read_entries
from accountant.ledger.outside_head import OutsideHead, OutsideHeads, heads_at_hand, require_in
from accountant.ledger.replay import replay
from accountant.ledger.state import LedgerState, charged

_WAIT_SECONDS, _POLL_SECONDS = 20.0, 0.02
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountState:
    """What an account says.

    Args:
        budget: the promise. order: α of the filter, > 1. dataset: its name, or None.
        limit: B(α), the divergence that may be spent. spent: the divergence that is.
        reservations: how many there were. steps: reserved by all of them. runs: steps by run.
    """

    budget: Budget
    order: float
    dataset: str | None
    limit: float
    spent: float
    reservations: int
    steps: int
    runs: Mapping[str, int]

    @property
    def epsilon_spent(self) -> float:
        """ε of what is spent, at the budget's δ and the filter's order; 0 where nothing is."""
        return max(0.0, self.spent - self.limit + self.budget.epsilon) if self.steps else 0.0


class Account:
    """A budget over many runs, in a file. Each call locks the file, reads it whole and lets it go.

    Args:
        path: of an account that `Account.new` made.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @classmethod
    def new(
        cls, path: Path | str, *, budget: Budget, dataset: str | None = None, order: float | None = None
    ) -> Account:
        """Make an account.

        Args:
            budget: for all runs together. dataset: its name; runs on others are refused. order: α of the
                filter, > 1, or None for `default_order`. It cannot be changed afterwards.

        Raises:
            LedgerError: the file exists or cannot be made. InvalidValue: at this order nothing may be spent.
        """
        order = default_order(budget) if order is None else float(order)
        if not _limit(budget, order) > 0:
            raise InvalidValue(
                f"At order={order:g} not even one release fits ε = {budget.epsilon:g}; omit --order for "
                f"{default_order(budget):.4g}."
            )
        if Path(path).exists():
            raise LedgerError(
                f"{path} exists already, and an account's budget is never changed; see what is left of it by privgen "
                f"account show {shlex.quote(str(path))}, or give another name."
            )
        with Ledger.create(path) as ledger:
            about = {"epsilon": budget.epsilon, "delta": budget.delta, "neighbouring": budget.neighbouring.value}
            # No two accounts begin alike: a run knows its own by the digest of this entry.
            own = {"account": True, "name": os.urandom(8).hex()}
            ledger.append("genesis", {**own, "budget": about, "order": order, "dataset": dataset})
            with _remembered(ledger) as heads:
                heads.advance(ledger.entries[-1])
        return cls(path)

    def state(self) -> AccountState:
        """What it says now.

        Raises:
            LedgerError: it cannot be read, was changed or put back to an older state, or is a run's ledger and no
                account.
        """
        return _read(self._entries(), self.path)

    def _entries(self) -> list[Entry]:
        if not self.path.exists():
            raise LedgerError(f"There is no account {self.path}; make one with privgen account new.")
        known = heads_at_hand(self.identity)
        entries = read_entries(self.path)
        require_in(known, entries, path=self.path)
        return entries

    def require_newest(self, entries: Sequence[Entry], *, path: Path) -> None:
        """Raise LedgerBroken where a run's ledger lacks an entry that the run had when it last reserved here.

        Args:
            entries: of the run's ledger. path: its file, for the message.
        """
        for entry in reversed(self._entries()):
            known = entry.body.get("ledger")
            if isinstance(known, Mapping) and known.get("ledger") == entries[0].digest:
                OutsideHead(**known).require_in(entries, file=self.path, path=path)
                return

    @property
    def identity(self) -> str:
        """Digest of its first entry: another account in its place is seen by it."""
        return read_entries(self.path)[0].digest

    def affordable(self, event: Event, wanted: int) -> int:
        """The most steps, up to `wanted`, that fit now; reserves nothing."""
        return _affordable(self.state(), event, wanted)

    def reserve(
        self,
        event: Event,
        wanted: int,
        *,
        run: str,
        dataset: str | None = None,
        ledger: Sequence[Entry] = (),
    ) -> int:
        """Reserve up to `wanted` steps of a run, durable before it returns.

        Args:
            event: what each step will release. wanted: steps, >= 1. run: which run, for the record.
            dataset: the run's; must be the account's where it names one.
            ledger: entries of the run's ledger as it stands: the account remembers its head.

        Returns:
            How many were reserved, from 1 to `wanted`.

        Raises:
            BudgetExhausted: not even one step fits. InvalidValue: another data set.
            LedgerLocked: another process held the file too long. LedgerError: it could not be written.
        """
        require_count(wanted, "wanted", least=1)
        head = _head_of(ledger)
        return self._locked(lambda own: self._reserve(own, event, wanted, run, dataset, head))

    def _reserve(
        self, ledger: Ledger, event: Event, wanted: int, run: str, dataset: str | None, head: Mapping[str, Any]
    ) -> int:
        state = _read(ledger.entries, self.path)
        if state.dataset is not None and dataset != state.dataset:
            raise InvalidValue(f"The account {self.path} is for data set {state.dataset}, not for {dataset}.")
        steps = _affordable(state, event, wanted)
        if steps == 0:
            raise BudgetExhausted(
                f"The account {self.path} is spent: ε = {upper_text(state.epsilon_spent)} of "
                f"{state.budget.epsilon:g} at δ = {state.budget.delta:g} over {len(state.runs)} runs."
            )
        # A segment a reservation: blocks of a banded event round up in each, which over-counts and never under.
        body = {"segment": state.reservations, "steps": steps, "event": event_to_json(event), "run": run}
        with _remembered(ledger) as heads:
            heads.advance(ledger.append("reserve", {**body, **head}))
        return steps

    def _locked(self, work: Callable[[Ledger], _Result]) -> _Result:
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                with Ledger.open(self.path) as ledger:
                    return work(ledger)
            except LedgerLocked:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_SECONDS)


def _head_of(entries: Sequence[Entry]) -> dict[str, Any]:
    """The newest entry of a run's ledger, as a reservation names it; nothing for a run without one."""
    if not entries:
        return {}
    # Where the run lies is private, and the account may not be.
    head = OutsideHead(
        ledger=entries[0].digest, seq=entries[-1].seq, digest=entries[-1].digest, path="the run's folder", inode=0
    )
    return {"ledger": asdict(head)}


@contextmanager
def _remembered(ledger: Ledger) -> Iterator[OutsideHeads]:
    """What the user's state folder knows of an account, which must be in it."""
    heads = OutsideHeads.of(ledger.path, ledger.entries[0].digest)
    try:
        heads.require_in(ledger.entries)
        yield heads
    finally:
        heads.close()


def default_order(budget: Budget, event: Event | None = None) -> float:
    """The order at which a filter admits the most steps of an event: argmax B(α)/D_α.

    Args:
        budget: the account's. event: of the runs that are expected, or None for a reference, a thousand steps at
            sampling rate 0.01 with the noise that just keeps the budget.
    """
    reference = _reference(budget) if event is None else event
    accountant = RdpAccountant(neighbouring=budget.neighbouring).compose(reference)
    limits = budget.epsilon - Conversion.at(accountant.orders, delta=budget.delta).added
    with np.errstate(invalid="ignore", divide="ignore"):
        steps = np.nan_to_num(limits / accountant.divergences(), nan=0.0)
    return float(accountant.orders[np.argmax(steps)])


def _reference(budget: Budget) -> Event:
    low, high = 0.1, 1e4
    for _ in range(20):
        middle = math.sqrt(low * high)
        event = SubsampledGaussian(sampling_rate=0.01, noise_multiplier=middle)
        fits = RdpAccountant(neighbouring=budget.neighbouring).epsilon_after(event, 1000, budget.delta)
        low, high = (low, middle) if fits <= budget.epsilon else (middle, high)
    return SubsampledGaussian(sampling_rate=0.01, noise_multiplier=high)


def _limit(budget: Budget, order: float) -> float:
    """B(α): the largest divergence at α that proves (ε, δ)."""
    return float(budget.epsilon - Conversion.at(np.array([order]), delta=budget.delta).added[0])


def _spent(state: LedgerState, order: float) -> float:
    accountant = RdpAccountant(neighbouring=state.budget.neighbouring, orders=[order])
    return float(compose_segments(accountant, charged(state.segments)).divergences()[0])


def _affordable(state: AccountState, event: Event, wanted: int) -> int:
    """The most steps, up to `wanted`, that stay within the limit."""
    one = RdpAccountant(neighbouring=state.budget.neighbouring, orders=[state.order])
    low, high = 0, wanted + 1
    while high - low > 1:
        middle = (low + high) // 2
        cost = float(one.copy().compose(event, middle).divergences()[0])
        low, high = (middle, high) if state.spent + cost <= state.limit else (low, middle)
    return low


def _read(entries: list[Entry], path: Path) -> AccountState:
    known = replay(entries)
    if known.genesis.get("account") is not True:
        raise LedgerBroken(f"{path} is a run's ledger and no account; make one with privgen account new.")
    genesis = entries[0].read
    order = genesis.number("order")
    runs: dict[str, int] = {}
    for entry in entries:
        if entry.kind == "reserve":
            name = str(entry.body.get("run"))
            runs[name] = runs.get(name, 0) + entry.read.integer("steps")
    return AccountState(
        budget=known.budget,
        order=order,
        dataset=genesis.optional_text("dataset"),
        limit=_limit(known.budget, order),
        spent=_spent(known, order),
        reservations=len(known.segments),
        steps=known.steps_charged,
        runs=runs,
    )
