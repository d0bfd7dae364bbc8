"""An account: one budget over runs that are chosen by looking at the ones before."""

import math
import multiprocessing

import numpy as np
import pytest

from accountant import (
    BandedGaussian,
    Budget,
    BudgetExhausted,
    BudgetGuard,
    InvalidValue,
    Ledger,
    LedgerBroken,
    LedgerError,
    Neighbouring,
    RdpAccountant,
    SubsampledGaussian,
)
from accountant.composition.conversion import Conversion, epsilon_of
from accountant.ledger.account import Account, default_order
from accountant.ledger.guard import genesis_budget

BUDGET = Budget(epsilon=3.0, delta=1e-6)
STEP = SubsampledGaussian(sampling_rate=0.01, noise_multiplier=1.2)
BANDED = BandedGaussian(sampling_rate=0.0025, noise_multiplier=1.2, bands=4)


@pytest.fixture
def account(tmp_path):
    return Account.new(tmp_path / "clinic.jsonl", budget=BUDGET)


def guard_of(account, path, *, epsilon=3.0, block=16):
    budget = Budget(epsilon=epsilon, delta=1e-6)
    ledger = Ledger.create(path)
    ledger.append("genesis", {"budget": genesis_budget(budget)})
    return BudgetGuard(budget, ledger=ledger, block=block, account=account, run=path.stem)


def test_what_all_runs_reserve_stays_within_the_budget(account):
    """The bound is that of one order fixed beforehand, which is never less than the least over all orders."""
    steps = 0
    with pytest.raises(BudgetExhausted, match="is spent"):
        while True:
            steps += account.reserve(STEP, 37, run="r")
    state = account.state()
    assert state.steps == steps
    assert state.spent <= state.limit
    assert state.epsilon_spent <= BUDGET.epsilon
    at_best = RdpAccountant().compose(STEP, steps).get_epsilon(BUDGET.delta)
    assert at_best <= state.epsilon_spent * (1 + 1e-12)
    one_more = RdpAccountant(orders=[state.order]).compose(STEP, steps + 1).divergences()[0]
    assert one_more > state.limit


def test_the_limit_converts_to_the_budget(account):
    state = account.state()
    at = Conversion.at(np.array([state.order]), delta=BUDGET.delta)
    assert epsilon_of(np.array([state.limit]), at) == pytest.approx(BUDGET.epsilon, rel=1e-12)


def test_ten_runs_cannot_pretend_to_be_one(tmp_path, account):
    """Each run's own budget would let it go on; the account stops the lot."""
    admitted = 0
    for number in range(10):
        guard = guard_of(account, tmp_path / f"run{number}.jsonl")
        try:
            while True:
                guard.admit(STEP)
                admitted += 1
        except BudgetExhausted:
            guard.commit()
    alone = BudgetGuard(BUDGET)
    assert not alone.would_exceed(STEP, 100)
    assert RdpAccountant().compose(STEP, admitted).get_epsilon(BUDGET.delta) <= BUDGET.epsilon


def test_every_step_that_runs_was_in_the_account_before(tmp_path, account):
    guard = guard_of(account, tmp_path / "run.jsonl", block=8)
    for step in range(1, 30):
        guard.admit(STEP)
        assert account.state().steps >= step


@pytest.mark.parametrize("event", [STEP, BANDED])
def test_what_a_commit_gives_back_is_used_before_more_is_taken(tmp_path, account, event):
    guard = guard_of(account, tmp_path / "run.jsonl", block=16)
    for _ in range(4):
        for _ in range(10):
            guard.admit(event)
        guard.commit()
    assert 40 <= account.state().steps < 40 + 16
    assert account.state().spent >= RdpAccountant(orders=[account.state().order]).compose(event, 40).divergences()[0]


def test_banded_reservations_never_cost_less_than_the_run(tmp_path, account):
    guard = guard_of(account, tmp_path / "run.jsonl", block=7)
    for _ in range(60):
        guard.admit(BANDED)
    order = account.state().order
    assert account.state().spent >= RdpAccountant(orders=[order]).compose(BANDED, 60).divergences()[0] * (1 - 1e-12)


def reserve_many(path, count):
    done = 0
    for _ in range(count):
        try:
            done += Account(path).reserve(STEP, 3, run="parallel")
        except BudgetExhausted:
            break
    return done


def test_runs_at_the_same_time_never_lose_or_double_a_step(account):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        done = pool.starmap(reserve_many, [(account.path, 12)] * 4)
    assert account.state().steps == sum(done) == 4 * 12 * 3


def test_another_data_set_is_refused(tmp_path):
    account = Account.new(tmp_path / "a.jsonl", budget=BUDGET, dataset="scans")
    with pytest.raises(InvalidValue, match="for data set scans, not for digits"):
        account.reserve(STEP, 1, run="r", dataset="digits")
    assert account.reserve(STEP, 1, run="r", dataset="scans") == 1


def test_replace_one_accounts_for_more(tmp_path):
    other = Budget(epsilon=3.0, delta=1e-6, neighbouring=Neighbouring.REPLACE_ONE)
    pair = [Account.new(tmp_path / f"{b.neighbouring.value}.jsonl", budget=b) for b in (BUDGET, other)]
    for account in pair:
        account.reserve(STEP, 50, run="r")
    assert pair[1].state().spent > pair[0].state().spent


def test_a_changed_account_is_seen(account):
    account.reserve(STEP, 50, run="r")
    account.path.write_bytes(account.path.read_bytes().replace(b'"steps":50', b'"steps":40'))
    with pytest.raises(LedgerBroken, match="Entry 1"):
        account.state()
    with pytest.raises(LedgerBroken):
        account.reserve(STEP, 1, run="r")


def test_a_runs_ledger_is_no_account(tmp_path):
    BudgetGuard(BUDGET, ledger=tmp_path / "run.jsonl").ledger.close()
    with pytest.raises(LedgerBroken, match="no account"):
        Account(tmp_path / "run.jsonl").state()


def test_an_account_is_never_overwritten(account):
    with pytest.raises(LedgerError, match="exists already"):
        Account.new(account.path, budget=BUDGET)


def test_an_order_for_the_expected_plan_admits_the_most(tmp_path):
    best = default_order(BUDGET, STEP)
    admitted = {}
    for order in (best, best * 0.8, best * 1.3):
        account = Account.new(tmp_path / f"{order}.jsonl", budget=BUDGET, order=order)
        admitted[order] = account.affordable(STEP, 10**6)
    assert max(admitted, key=admitted.get) == best


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 10.0, 100.0])
def test_the_default_order_leaves_room(epsilon):
    budget = Budget(epsilon=epsilon, delta=1e-6)
    assert default_order(budget) > 1
    with pytest.raises(InvalidValue, match="not even one release fits"):
        Account.new("/nonexistent/never-made.jsonl", budget=budget, order=1 + 1e-6)


def test_a_fresh_account_has_spent_nothing(account):
    state = account.state()
    assert (state.epsilon_spent, state.spent, state.steps, dict(state.runs)) == (0.0, 0.0, 0, {})
    assert math.isfinite(state.limit)


def test_an_account_that_another_run_spends_from_meanwhile_is_no_backup(account, monkeypatch):
    """What is remembered of it was read after the file, and knew an entry more."""
    from accountant.ledger import account as module

    real = module.read_entries

    def read_and_go_on(path):
        entries = real(path)
        monkeypatch.setattr(module, "read_entries", real)
        Account(path).reserve(STEP, 1, run="other")
        monkeypatch.setattr(module, "read_entries", read_and_go_on)
        return entries

    monkeypatch.setattr(module, "read_entries", read_and_go_on)
    assert account.state().steps >= 1
