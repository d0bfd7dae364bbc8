"""The register: who spent on the same records before, without a record being kept."""

import dataclasses
import math

import numpy as np
import pytest

from accountant import Budget, LedgerError, RdpAccountant, SubsampledGaussian
from accountant.ledger.register import SpendRegister, together

STEP = SubsampledGaussian(sampling_rate=0.05, noise_multiplier=1.0)
BUDGET = Budget(epsilon=3.0, delta=1e-5)


def records(*numbers):
    return [f"record {number}".encode() for number in numbers]


@pytest.fixture
def register(tmp_path):
    return SpendRegister(tmp_path / "state")


def enter(register, run, numbers, *, date="2026-01-01", steps=10, order=8.0):
    register.remember(
        run=run, name=f"runs/{run}", date=date, charges=((STEP, steps),), order=order,
        records=register.digests(records(*numbers)),
    )  # fmt: skip


def test_runs_on_some_of_the_same_records_are_found_the_first_one_first(register):
    assert register.empty
    enter(register, "later", range(5, 15), date="2026-02-01")
    enter(register, "first", range(10))
    enter(register, "others", range(100, 110))
    found = register.earlier(register.digests(records(*range(8))))
    assert [(run.run, run.shared) for run in found] == [("first", 8), ("later", 3)]
    assert found[0].charges == ((STEP, 10),) and found[0].order == 8.0
    assert register.earlier(register.digests(records(*range(200, 210)))) == ()
    assert [run.run for run in register.earlier(register.digests(records(1, 5)), but="first")] == ["later"]


def test_a_run_is_entered_once_and_may_cost_more_later(register):
    enter(register, "run", range(10))
    enter(register, "run", range(10), steps=30)
    (run,) = register.earlier(register.digests(records(3)))
    assert run.charges == ((STEP, 30),)


def test_nothing_of_a_record_is_kept_and_digests_tell_nothing_without_the_key(register, tmp_path):
    enter(register, "run", range(10))
    written = b"".join(path.read_bytes() for path in register.folder.iterdir())
    assert b"record" not in written
    other = SpendRegister(tmp_path / "another machine")
    assert not np.isin(register.digests(records(*range(10))), other.digests(records(*range(10)))).any()
    assert (register.folder / "key").stat().st_mode & 0o777 == 0o600
    assert register.folder.stat().st_mode & 0o777 == 0o700


def test_together_is_the_filter_at_the_order_that_was_fixed(register):
    """Never less than the least over all orders, and the ε of a run alone at that order where there is one."""
    charges = [((STEP, 100),), ((STEP, 50),)]
    both = together(charges, budget=BUDGET, order=8.0)
    assert both == RdpAccountant(orders=[8.0]).compose(STEP, 150).get_epsilon(1e-5)
    assert both >= RdpAccountant().compose(STEP, 150).get_epsilon(1e-5)
    assert together(charges[:1], budget=BUDGET, order=8.0) < both < math.inf
    replace_one = dataclasses.replace(BUDGET, neighbouring=type(BUDGET.neighbouring).REPLACE_ONE)
    assert together(charges, budget=replace_one, order=8.0) > both


@pytest.mark.parametrize("harm", ["entry", "records", "key"])
def test_a_damaged_register_is_an_error_and_not_a_clean_past(register, harm):
    enter(register, "run", range(10))
    {"entry": register.folder / "run.json", "records": register.folder / "run.records", "key": register.folder / "key"}[
        harm
    ].write_bytes(b"{}")
    with pytest.raises(LedgerError):
        register.earlier(register.digests(records(1)))
