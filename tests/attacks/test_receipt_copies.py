"""Copies of a receipt, each redeemed by itself.

Once, whether a receipt was used stood in the receipt: `copy.copy(receipt)` was unused, and noise was added twice, or as
often as one liked, for one charge.
"""

import copy
import os
import pickle

import pytest

from accountant import Budget, BudgetGuard, Ledger, ReceiptError, SubsampledGaussian
from accountant.ledger.guard import genesis_budget

BUDGET = Budget(epsilon=3.0, delta=1e-5)
EVENT = SubsampledGaussian(sampling_rate=0.05, noise_multiplier=1.0)
WEAKER = SubsampledGaussian(sampling_rate=0.05, noise_multiplier=0.1)

COPIES = {
    "itself": lambda receipt: receipt,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "deepcopy of a container": lambda receipt: copy.deepcopy([receipt])[0],
    "pickle": lambda receipt: pickle.loads(pickle.dumps(receipt)),  # noqa: S301
}


@pytest.mark.parametrize("first", COPIES)
@pytest.mark.parametrize("second", COPIES)
def test_a_receipt_and_all_its_copies_are_redeemed_once_in_total(first, second):
    guard = BudgetGuard(BUDGET)
    receipt = guard.admit(EVENT)
    one, two = COPIES[first](receipt), COPIES[second](receipt)
    one.redeem(EVENT)
    with pytest.raises(ReceiptError, match="redeemed already"):
        two.redeem(EVENT)


def test_a_receipt_says_only_what_was_admitted():
    guard = BudgetGuard(BUDGET)
    receipt = guard.admit(EVENT)
    with pytest.raises(ReceiptError, match="cannot be changed"):
        receipt.event = WEAKER
    object.__setattr__(receipt, "event", WEAKER)
    with pytest.raises(ReceiptError, match="not for"):
        receipt.redeem(receipt.event)
    receipt.redeem(EVENT)


def test_a_guard_is_not_copied():
    """Each of two guards would have spent the whole of what was left."""
    guard = BudgetGuard(BUDGET)
    for twin in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(ReceiptError, match="cannot be copied"):
            twin(guard)


def test_a_child_process_redeems_nothing():
    guard = BudgetGuard(BUDGET)
    receipt = guard.admit(EVENT)
    child = os.fork()
    if child == 0:
        refused = False
        try:
            receipt.redeem(EVENT)
        except ReceiptError:
            refused = True
        finally:
            os._exit(not refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    receipt.redeem(EVENT)


def test_a_receipt_outlives_neither_its_ledger_s_lock_nor_its_guard(tmp_path):
    with Ledger.create(tmp_path / "ledger.jsonl") as ledger:
        ledger.append("genesis", {"budget": dict(genesis_budget(BUDGET))})
        guard = BudgetGuard(BUDGET, ledger=ledger)
        receipt = guard.admit(EVENT)
    with pytest.raises(ReceiptError, match="was closed"):
        receipt.redeem(EVENT)
    stored = pickle.dumps(BudgetGuard(BUDGET).admit(EVENT))
    with pytest.raises(ReceiptError, match="not in this process"):
        pickle.loads(stored)  # noqa: S301


def test_a_guard_that_halted_admits_nothing_more(tmp_path):
    """Once, an entry stood behind the halt, and the ledger could not be read any more."""
    from accountant import BudgetExhausted

    guard = BudgetGuard(BUDGET, ledger=tmp_path / "ledger.jsonl")
    guard.halt("enough")
    with pytest.raises(BudgetExhausted, match="halted"):
        guard.admit(EVENT)


def test_of_two_guards_on_one_ledger_only_the_newer_admits(tmp_path):
    """Each once counted its own steps alone: 82 were released, and the ledger said 41, within the budget."""
    from accountant import BudgetExhausted, LedgerError, verify_ledger

    path = tmp_path / "ledger.jsonl"
    with Ledger.create(path) as ledger:
        ledger.append("genesis", {"budget": dict(genesis_budget(BUDGET))})
        older = BudgetGuard(BUDGET, ledger=ledger)
        admitted = older.admit(EVENT)
        newer = BudgetGuard(BUDGET, ledger=ledger)
        for use in (lambda: older.admit(EVENT), older.commit, lambda: older.halt("enough")):
            with pytest.raises(LedgerError, match="Another guard was made"):
                use()
        admitted.redeem(EVENT)  # it stands reserved, and the newer guard counts it
        released = 1
        with pytest.raises(BudgetExhausted):
            while True:
                newer.admit(EVENT).redeem(EVENT)
                released += 1
        newer.commit()
    assert released <= verify_ledger(path).steps_charged
