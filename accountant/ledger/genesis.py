"""The first entry of a ledger: the promise, as everything after it is held against it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from accountant.budget import Budget
from accountant.ledger.chain import Ledger
from accountant.ledger.writers import OWN_LOOP


def genesis_budget(budget: Budget) -> Mapping[str, str | float]:
    """The budget as the genesis entry holds it."""
    return {"epsilon": budget.epsilon, "delta": budget.delta, "neighbouring": budget.neighbouring.value}


def new_ledger(path: Path | str, budget: Budget) -> Ledger:
    """A ledger of one's own loop, begun with a budget and no plan.

    Raises:
        LedgerError: it cannot be made there.
    """
    ledger = Ledger.create(path)
    own = {"writer": OWN_LOOP, "run": os.urandom(8).hex(), "budget": genesis_budget(budget)}
    ledger.append("genesis", own)
    return ledger
