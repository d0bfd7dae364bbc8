"""The guard: no overspend, no noise without a receipt, and a ledger that never says less than was spent."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accountant import (
    BandedGaussian,
    Budget,
    BudgetExhausted,
    BudgetGuard,
    HiddenFeedbackGaussian,
    InvalidValue,
    Ledger,
    Neighbouring,
    PrvAccountant,
    RdpAccountant,
    Receipt,
    ReceiptError,
    SubsampledGaussian,
    verify_ledger,
)
from accountant.ledger.guard import genesis_budget

EVENTS = [
    SubsampledGaussian(sampling_rate=0.05, noise_multiplier=1.0),
    BandedGaussian(sampling_rate=0.02, noise_multiplier=1.0, bands=4),
    HiddenFeedbackGaussian(sampling_rate=0.05, noise_multiplier=1.0, feedback_ratio=0.01),
]
BUDGET = Budget(epsilon=3.0, delta=1e-5)


def steps_until_exhausted(guard, event):
    count = 0
    try:
        while True:
            guard.admit(event)
            count += 1
    except BudgetExhausted:
        return count


def open_ledger(path, budget=BUDGET):
    ledger = Ledger.create(path)
    ledger.append("genesis", {"budget": dict(genesis_budget(budget))})
    return ledger


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("block", [1, 7, 64])
def test_it_halts_exactly_at_the_last_affordable_step(event, block):
    steps = steps_until_exhausted(BudgetGuard(BUDGET, block=block), event)
    assert RdpAccountant().compose(event, steps).get_epsilon(1e-5) <= 3.0
    assert RdpAccountant().compose(event, steps + 1).get_epsilon(1e-5) > 3.0


def test_with_prv_it_goes_on_to_the_last_step_that_prv_certifies():
    event = EVENTS[1]
    by_rdp = steps_until_exhausted(BudgetGuard(BUDGET), event)
    by_prv = steps_until_exhausted(BudgetGuard(BUDGET, accountant="prv"), event)
    assert by_prv > by_rdp
    assert PrvAccountant().compose(event, by_prv).get_epsilon(1e-5) <= 3.0
    assert PrvAccountant().compose(event, by_prv + 1).get_epsilon(1e-5) > 3.0


def test_replace_one_affords_fewer_steps():
    budget = Budget(epsilon=3.0, delta=1e-5, neighbouring=Neighbouring.REPLACE_ONE)
    assert steps_until_exhausted(BudgetGuard(budget), EVENTS[0]) < steps_until_exhausted(BudgetGuard(BUDGET), EVENTS[0])


def test_a_budget_below_one_step_admits_nothing_and_reserves_nothing(tmp_path):
    ledger = open_ledger(tmp_path / "ledger.jsonl", Budget(epsilon=0.01, delta=1e-9))
    guard = BudgetGuard(Budget(epsilon=0.01, delta=1e-9), ledger=ledger)
    with pytest.raises(BudgetExhausted, match="One more step"):
        guard.admit(EVENTS[0])
    assert guard.steps == 0
    assert [entry.kind for entry in ledger.entries] == ["genesis"]


def test_phases_are_charged_each_with_its_own_event(tmp_path):
    first = BandedGaussian(sampling_rate=0.02, noise_multiplier=1.5, bands=4)
    second = BandedGaussian(sampling_rate=0.02, noise_multiplier=1.0, bands=4)
    ledger = open_ledger(tmp_path / "ledger.jsonl")
    guard = BudgetGuard(BUDGET, ledger=ledger)
    for _ in range(5):
        guard.admit(first)
    for _ in range(3):
        guard.admit(second)
    guard.halt("done")
    ledger.close()
    state = verify_ledger(tmp_path / "ledger.jsonl")
    assert [(s.event, s.reserved) for s in state.segments] == [(first, 5), (second, 3)]
    expected = RdpAccountant().compose(first, 5).compose(second, 3).get_epsilon(1e-5)
    assert guard.epsilon_spent() == expected


def test_a_receipt_works_once_and_for_its_event_only():
    guard = BudgetGuard(BUDGET)
    receipt = guard.admit(EVENTS[0])
    with pytest.raises(ReceiptError, match="not for"):
        receipt.redeem(EVENTS[1])
    receipt.redeem(EVENTS[0])
    with pytest.raises(ReceiptError, match="redeemed already"):
        receipt.redeem(EVENTS[0])


def test_a_receipt_cannot_be_made_by_hand():
    with pytest.raises(ReceiptError, match="from nowhere else"):
        Receipt(event=EVENTS[0], step=0, cycle=0, key=object())


def test_a_block_is_in_the_ledger_before_its_first_step_runs(tmp_path):
    path = tmp_path / "ledger.jsonl"
    guard = BudgetGuard(BUDGET, ledger=open_ledger(path), block=16)
    guard.admit(EVENTS[0])
    assert verify_ledger(path).steps_charged == 16
    guard.commit()
    assert verify_ledger(path).steps_charged == 1


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_after_any_calls_and_crashes_the_ledger_says_at_least_what_was_admitted(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "ledger.jsonl"
    ledger = open_ledger(path)
    guard = BudgetGuard(BUDGET, ledger=ledger, block=data.draw(st.integers(1, 20)))
    admitted, crashes, block = 0, 0, guard.block
    for action in data.draw(st.lists(st.sampled_from(["step", "steps", "commit", "crash"]), max_size=25)):
        try:
            if action == "crash":
                crashes += 1
                ledger.close()
                ledger = Ledger.open(path)
                ledger.append("resume", {"checkpoint_seq": 0, "clean": False})
                guard = BudgetGuard(BUDGET, ledger=ledger, block=block)
            elif action == "commit":
                guard.commit()
            else:
                for _ in range(1 if action == "step" else 10):
                    guard.admit(EVENTS[1]).redeem(EVENTS[1])
                    admitted += 1
        except BudgetExhausted:
            continue
        state = verify_ledger(path)
        assert admitted <= state.steps_charged <= admitted + block * (crashes + 1)
        charged = RdpAccountant()
        for segment in state.segments:
            charged.new_segment().compose(segment.event, segment.reserved)
        assert charged.get_epsilon(1e-5) <= BUDGET.epsilon
    ledger.close()


def test_after_a_crash_the_next_step_opens_a_segment_and_a_cycle_of_its_own(tmp_path):
    path, event = tmp_path / "ledger.jsonl", EVENTS[1]
    with open_ledger(path) as ledger:
        guard = BudgetGuard(BUDGET, ledger=ledger, block=6)
        assert [guard.admit(event).cycle for _ in range(5)] == [0, 1, 2, 3, 4]
    with Ledger.open(path) as ledger:
        ledger.append("resume", {"checkpoint_seq": 0, "clean": False})
        guard = BudgetGuard(BUDGET, ledger=ledger)
        assert guard.steps == 6
        receipt = guard.admit(event)
        assert (receipt.step, receipt.cycle) == (6, 0)
        guard.commit()
    state = verify_ledger(path)
    assert [s.reserved for s in state.segments] == [6, 1]


def test_a_halted_ledger_admits_nothing_more(tmp_path):
    path = tmp_path / "ledger.jsonl"
    with open_ledger(path) as ledger:
        guard = BudgetGuard(BUDGET, ledger=ledger)
        guard.admit(EVENTS[0])
        guard.halt("enough")
    with Ledger.open(path) as ledger, pytest.raises(BudgetExhausted, match="halted"):
        BudgetGuard(BUDGET, ledger=ledger)


def test_another_budget_than_the_ledgers_is_refused(tmp_path):
    with open_ledger(tmp_path / "ledger.jsonl") as ledger, pytest.raises(InvalidValue, match="begun for"):
        BudgetGuard(Budget(epsilon=4.0, delta=1e-5), ledger=ledger)


def test_would_exceed_asks_and_changes_nothing(tmp_path):
    guard = BudgetGuard(BUDGET, ledger=open_ledger(tmp_path / "ledger.jsonl"))
    steps = steps_until_exhausted(BudgetGuard(BUDGET), EVENTS[0])
    assert not guard.would_exceed(EVENTS[0], steps)
    assert guard.would_exceed(EVENTS[0], steps + 1)
    assert guard.steps == 0
    assert len(guard.ledger.entries) == 1


@pytest.mark.parametrize("iterations", [11, 12])
def test_no_step_past_the_plan_is_reserved_even_where_its_block_is_paid(tmp_path, some_plan, iterations):
    plan = replace(some_plan, iterations=iterations)
    event = plan.event_of(plan.schedule()[0])
    with Ledger.create(tmp_path / "ledger.jsonl") as ledger:
        ledger.append("genesis", {"budget": genesis_budget(plan.budget), "plan": plan.to_json(),
                                  "plan_digest": plan.digest})  # fmt: skip
        guard = BudgetGuard(plan.budget, ledger=ledger, block=64)
        guard.admit(event)
        assert guard.charged == iterations
        assert steps_until_exhausted(guard, event) == iterations - 1
    assert verify_ledger(tmp_path / "ledger.jsonl").steps_charged == iterations


def test_a_guard_on_a_path_makes_its_own_ledger(tmp_path):
    guard = BudgetGuard(BUDGET, ledger=tmp_path / "ledger.jsonl")
    guard.admit(EVENTS[0]).redeem(EVENTS[0])
    guard.halt("done")
    assert verify_ledger(tmp_path / "ledger.jsonl").steps_charged == 1
