"""`BudgetGuard`: no step without room in the budget, and no noise without the guard's receipt.

    receipt = guard.admit(event)      # raises BudgetExhausted before the step; nothing is drawn yet
    batch → clipped sums              # sampler, clipping and noise all read the same event
    receipt.redeem(event)             # done by the one function that adds noise; works once

`admit` takes from a reservation: a block of steps whose spend was verified and which stands in the ledger,
fsynced, before the first of them runs. A crash therefore over-counts by at most one block and never
under-counts; `commit` gives back what was reserved and not used.

    >>> from accountant.budget import Budget
    >>> from accountant.events import SubsampledGaussian
    >>> guard = BudgetGuard(Budget(epsilon=1.0, delta=1e-5))
    >>> event = SubsampledGaussian(sampling_rate=0.01, noise_multiplier=1.0)
    >>> receipt = guard.admit(event)
    >>> receipt.redeem(event)
    >>> receipt.redeem(event)
    Traceback (most recent call last):
    ...
    accountant.errors.ReceiptError: This receipt (step 0) was redeemed already; admit each step anew.

Guarantees: after any sequence of calls and crashes, the (ε, δ) of what is charged is at most the budget, by
the RDP bound, or by the PRV upper bound where `accountant="prv"` lets RDP's halt be re-examined. Both are for events
that were not chosen by looking at outputs; who does choose them so needs an `accountant.ledger.account.Account`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from accountant.bound_text import upper_text
from accountant.budget import Budget
from accountant.composition.rdp import RdpAccountant
from accountant.composition.segments import compose_segments
from accountant.errors import BudgetExhausted, InvalidValue, LedgerError, ReceiptError
from accountant.events import Event, event_to_json, require_count
from accountant.ledger.account import Account
from accountant.ledger.affordable import largest, most_by_prv
from accountant.ledger.chain import Ledger
from accountant.ledger.receipt import ISSUED_BY_A_GUARD, Receipt, know_guard
from accountant.ledger.replay import replay
from accountant.ledger.state import LedgerState, Segment, charged, charged_blocks
from accountant.ledger.writers import OWN_LOOP
from accountant.plans.caps import Caps, most_steps
from accountant.plans.plan import Plan

DEFAULT_BLOCK = 64


class BudgetGuard:
    """Admits steps while the budget lasts, and has the ledger know before they run.

    Args:
        budget: the promise.
        ledger: an open `Ledger` to reserve in (it must hold a genesis entry), a path for a new one, or None
            for a guard in memory only, which a crash forgets: use that in experiments, never for a release.
        accountant: "rdp", or "prv" to ask PRV where RDP alone would stop.
        block: steps in one reservation, >= 1.
        account: of a budget over many runs, in which steps are reserved first; or None.
        run: what this run is called in the account.

    Raises:
        InvalidValue: a value is out of range. LedgerError: the ledger cannot be made or was made for another
            budget.
    """

    def __init__(
        self,
        budget: Budget,
        *,
        ledger: Ledger | Path | str | None = None,
        accountant: str = "rdp",
        block: int = DEFAULT_BLOCK,
        account: Account | None = None,
        run: str = "unnamed",
    ) -> None:
        if accountant not in ("rdp", "prv"):
            raise InvalidValue(f"Expected accountant={accountant!r} to be rdp or prv.")
        require_count(block, "block", least=1)
        self.budget = budget
        self.accountant = accountant
        self.block = block
        self.account, self.run = account, run
        # Steps of the current segment that the account has charged and the run has not.
        self._credit = 0
        self._dataset: str | None = None
        self.ledger = ledger if isinstance(ledger, Ledger) or ledger is None else _new_ledger(ledger, budget)
        self._segments: list[Segment] = []
        self._plan: Plan | None = None
        self._caps: Caps | None = None
        self._closed_steps = 0
        self._held = 0
        if self.ledger is not None:
            self._adopt(replay(self.ledger.entries))
        self._outstanding = 0
        self._reservations = 0
        self._halted = False
        # Of receipts: what was admitted and not yet redeemed, by number.
        self._open: dict[int, Event] = {}
        self._admitted = 0
        self._process = os.getpid()
        self.token = os.urandom(16)
        know_guard(self)
        if self.ledger is not None:
            self.ledger.guarded_by = self.token
        self._used = self._segments[-1].reserved if self._segments else 0
        self._rdp = self._composed()
        self._prv_affordable: dict[tuple[object, ...], int] = {}

    def _adopt(self, state: LedgerState) -> None:
        if state.budget != self.budget:
            raise InvalidValue(f"The ledger was begun for {state.budget}, not for {self.budget}.")
        if state.halted is not None:
            raise BudgetExhausted(f"The ledger has halted ({state.halted}); nothing more is admitted.")
        self._plan, self._caps = state.plan, state.caps
        self._dataset = None if state.plan is None else state.plan.dataset
        self._held = state.held
        self._segments = list(state.segments)
        self._closed_steps = sum(segment.reserved for segment in self._segments[:-1])

    def _composed(self) -> RdpAccountant:
        accountant = compose_segments(RdpAccountant(self.budget.neighbouring), charged(self._segments))
        return accountant.new_segment() if self._at_cut() else accountant

    @property
    def steps(self) -> int:
        """Steps admitted or charged so far."""
        return self._closed_steps + self._used

    @property
    def held(self) -> int:
        """Steps that the weights hold when what was admitted has run: those that crashes wasted are not among them."""
        return self._held

    @property
    def charged(self) -> int:
        """Steps that are charged: those admitted, and those that stand reserved."""
        return self.steps + self._outstanding

    @property
    def reserved_ahead(self) -> int:
        """Steps that stand reserved and are not admitted yet."""
        return self._outstanding

    @property
    def reservations(self) -> int:
        """How many blocks of steps this guard has reserved: what is to be looked at once a block can tell by it."""
        return self._reservations

    @property
    def segments(self) -> tuple[Segment, ...]:
        """What is charged, as the ledger says it."""
        return tuple(self._segments)

    def epsilon_spent(self) -> float:
        """ε of all that is charged, reservations included, by RDP."""
        return self._rdp.get_epsilon(self.budget.delta) if self.steps or self._outstanding else 0.0

    def admit(self, event: Event, *, at_most: int | None = None) -> Receipt:
        """Room for one more step of this event, durable before it is returned.

        Args:
            event: what the step will release.
            at_most: steps of this event that are still to come, this one included; no more are reserved.

        Raises:
            BudgetExhausted: this step would overspend. Nothing is reserved or drawn.
            LedgerError: the reservation could not be written. The step must not run.
        """
        if self._halted:
            raise BudgetExhausted("This guard has halted; nothing more is admitted.")
        self._require_own_ledger()
        phase, left = self._planned(event)
        if self._segments and (self._segments[-1].event, self._segments[-1].phase) != (event, phase):
            # Also where nothing is outstanding: a segment that ended is committed before the next one begins.
            self.commit()
            self._rdp.new_segment()
        if not self._outstanding:
            self._reserve(event, max(1, min(n for n in (self.block, at_most, left) if n is not None)), phase)
        self._outstanding -= 1
        number = self._admitted
        receipt = Receipt(
            event=event, step=self.steps, cycle=self._used, place=self._held, guard=self, number=number,
            key=ISSUED_BY_A_GUARD,
        )  # fmt: skip
        self._admitted += 1
        self._used += 1
        self._held += 1
        self._open[number] = event
        return receipt

    def _planned(self, event: Event) -> tuple[int, int | None]:
        """The phase whose turn it is, and the steps that it still has; (0, None) without a plan.

        Raises:
            BudgetExhausted: the plan is done. InvalidValue: it plans another event.
        """
        if self._plan is None or self._caps is None:
            return 0, None
        phase = self._plan.phase_number(self._held)
        if phase == len(self._caps.phases):
            raise BudgetExhausted(f"The plan's {self._plan.iterations} iterations are done.")
        if event != self._caps.phases[phase].event:
            raise InvalidValue(f"The plan says {self._caps.phases[phase].event} for this step, not {event}.")
        return phase, sum(cap.steps for cap in self._caps.phases[: phase + 1]) - self._held

    def redeem(self, number: int, *, step: int, event: Event) -> None:
        """Use up receipt `number`; called by the receipt.

        Raises:
            ReceiptError: see `Receipt.redeem`.
        """
        if os.getpid() != self._process:
            raise ReceiptError(f"This receipt (step {step}) was admitted in another process; admit each step anew.")
        if number not in self._open:
            raise ReceiptError(f"This receipt (step {step}) was redeemed already; admit each step anew.")
        if event != self._open[number]:
            raise ReceiptError(f"This receipt is for {self._open[number]}, not for {event}; admit what you release.")
        if self.ledger is not None and self.ledger.closed:
            raise ReceiptError(
                f"The ledger of this receipt (step {step}) was closed: another process may go on with it by now. "
                "Open it again and admit the step anew."
            )
        del self._open[number]

    def _require_own_ledger(self) -> None:
        """Raise LedgerError if a later guard was made on the same ledger: neither would count what the other admits."""
        if self.ledger is not None and self.ledger.guarded_by != self.token:
            raise LedgerError(
                f"Another guard was made on {self.ledger.path} after this one, and is the one that counts its steps; "
                "use that."
            )

    def __reduce__(self) -> NoReturn:
        raise ReceiptError("A guard cannot be copied: two would spend one budget. Open its ledger again instead.")

    def would_exceed(self, event: Event, count: int = 1) -> bool:
        """Whether `count` more steps of this event would overspend. Changes nothing.

        Raises:
            InvalidValue: count is not an integer >= 1.
        """
        require_count(count, "count", least=1)
        goes_on = bool(self._segments) and self._segments[-1].event == event
        return self._affordable(event, count, goes_on=goes_on) < count

    def _reserve(self, event: Event, wanted: int, phase: int) -> None:
        goes_on = bool(self._segments) and (self._segments[-1].event, self._segments[-1].phase) == (event, phase)
        within = self._within_cap(event, wanted, phase, goes_on=goes_on)
        steps = self._affordable(event, within, goes_on=goes_on)
        if steps == 0:
            raise BudgetExhausted(
                f"One more step would exceed ε = {self.budget.epsilon:g} at δ = {self.budget.delta:g}: "
                f"{self.steps} steps are charged (ε = {upper_text(self.epsilon_spent())} by RDP)."
            )
        if self.account is not None:
            steps = self._charge_account(self.account, event, steps, goes_on=goes_on)
        number = len(self._segments) - 1 if goes_on or self._at_cut() else len(self._segments)
        if self.ledger is not None:
            body = {"segment": number, "steps": steps, "event": event_to_json(event)}
            self.ledger.append("reserve", body)
        if goes_on or self._at_cut():
            last = self._segments[-1]
            self._segments[-1] = Segment(event, last.committed, last.reserved + steps, phase)
        else:
            self._closed_steps += self._used
            self._segments.append(Segment(event, 0, steps, phase))
            self._used = 0
        self._rdp.compose(event, steps)
        self._outstanding = steps
        self._reservations += 1

    def _within_cap(self, event: Event, wanted: int, phase: int, *, goes_on: bool) -> int:
        """How many of `wanted` steps the phase has blocks for.

        Raises:
            BudgetExhausted: none.
        """
        if self._caps is None:
            return wanted
        room = self._caps.room(phase, charged_blocks(self._segments, self._caps))
        after = self._segments[-1].reserved if goes_on else 0
        steps = most_steps(event, after=after, blocks=room, wanted=wanted)
        if steps == 0:
            raise BudgetExhausted(
                f"Phase {phase + 1} of the plan has no charged block left, of {self._caps.blocks(phase)} and "
                f"{self._caps.spare[self._caps.phases[phase].pool]} spare ones: what stood reserved when the run was "
                f"interrupted is spent, and {self._held} of {self.steps} charged steps are in the weights."
            )
        return steps

    def _charge_account(self, account: Account, event: Event, steps: int, *, goes_on: bool) -> int:
        """How many of `steps` the account lets through; what it charged and the run gave back is used first.

        Only within a segment: there Σ ⌈n_i/b⌉ over the account's reservations is at least ⌈Σ n_i/b⌉.
        """
        held = self._credit if goes_on else 0
        missing = max(0, steps - held)
        granted = 0
        if missing:
            try:
                entries = () if self.ledger is None else self.ledger.entries
                granted = account.reserve(event, missing, run=self.run, dataset=self._dataset, ledger=entries)
            except BudgetExhausted:
                if not held:
                    raise
        self._credit = held + granted - min(steps, held + granted)
        return min(steps, held + granted)

    def _at_cut(self) -> bool:
        return bool(self._segments) and not self._segments[-1].reserved

    def _affordable(self, event: Event, wanted: int, *, goes_on: bool) -> int:
        """The most steps, up to `wanted`, that keep the spend within the budget."""
        by_rdp = largest(wanted, lambda steps: self._rdp_after(event, steps) <= self.budget.epsilon)
        if by_rdp == wanted or self.accountant == "rdp":
            return by_rdp
        return max(by_rdp, min(wanted, self._affordable_by_prv(event, goes_on=goes_on)))

    def _rdp_after(self, event: Event, steps: int) -> float:
        return self._rdp.epsilon_after(event, steps, self.budget.delta)

    def _affordable_by_prv(self, event: Event, *, goes_on: bool) -> int:
        """Steps of this event that PRV certifies from here; found once for a segment and remembered."""
        closed = tuple(s for s in (self._segments[:-1] if goes_on else self._segments) if s.reserved)
        inside = self._segments[-1].reserved if goes_on else 0
        key = (closed, event)
        if key not in self._prv_affordable:
            self._prv_affordable[key] = most_by_prv(self.budget, charged(closed), event, at_least=inside)
        return max(0, self._prv_affordable[key] - inside)

    def commit(self) -> None:
        """Give back what was reserved and not admitted; the ledger counts what was.

        Raises:
            LedgerError: it could not be written; the reservation stays charged.
        """
        if not self._segments:
            return
        self._require_own_ledger()
        last = self._segments[-1]
        if not self._outstanding and last.committed == last.reserved:
            return
        if self.ledger is not None:
            self.ledger.append("commit", {"segment": len(self._segments) - 1, "steps": self._used})
        self._segments[-1] = Segment(last.event, self._used, self._used, last.phase)
        if self._outstanding:
            self._credit += self._outstanding
            self._rdp = self._composed()
        self._outstanding = 0

    def halt(self, reason: str) -> None:
        """Commit and end the ledger. Nothing is admitted afterwards by any guard on it.

        Raises:
            LedgerError: it could not be written.
        """
        self.commit()
        self._halted = True
        if self.ledger is not None:
            self.ledger.append("halt", {"reason": reason, "steps": self.steps})


def genesis_budget(budget: Budget) -> Mapping[str, str | float]:
    """The budget as the genesis entry holds it."""
    return {"epsilon": budget.epsilon, "delta": budget.delta, "neighbouring": budget.neighbouring.value}


def _new_ledger(path: Path | str, budget: Budget) -> Ledger:
    ledger = Ledger.create(path)
    own = {"writer": OWN_LOOP, "run": os.urandom(8).hex(), "budget": genesis_budget(budget)}
    ledger.append("genesis", own)
    return ledger
