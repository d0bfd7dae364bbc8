"""Crashes at moments that somebody chooses by looking at what was released.

Once, a crash began a new segment, and the run went on to the end of its budget. A run of two phases that is
crashed after
every step of one of them is charged four times the blocks of that phase, and the other way round for the other; halting
was by the least ε over all orders of whatever had been charged, which is no filter, and by numerical composition of
numbers of blocks that outputs had decided. Now each phase has its own cap, whatever crashes when.
"""

import dataclasses

import pytest

from accountant import BudgetExhausted, BudgetGuard, Ledger, LedgerBroken, Part, Phase, Plan, verify_ledger
from accountant.audit.audit import audit_run
from accountant.composition.certified import certify
from accountant.errors import InvalidValue
from accountant.ledger.genesis import genesis_budget
from accountant.ledger.state import charged, charged_blocks
from privgen.training.loop import run

PLAN = Plan(
    epsilon=10.0, delta=1e-5, dataset_size=1000, bands=4, sampling_rate=0.02, iterations=32, noise_multiplier=1.0,
    parts=(Part(name="critic", clip_norm=0.5, residual_clip_norm=0.5, noise_multiplier=1.0),),
    phases=(
        Phase(iterations=16, sampling_rate=0.02, noise_multiplier=1.0),
        Phase(iterations=16, sampling_rate=0.05, noise_multiplier=2.0),
    ),
)  # fmt: skip


def begun(path, plan):
    ledger = Ledger.create(path)
    ledger.append("genesis", {
        "budget": dict(genesis_budget(plan.budget)), "plan": plan.to_json(), "plan_digest": plan.digest,
    })  # fmt: skip
    return ledger


def crash_after_every_step(path, plan, *, in_phase):
    """Steps as long as there are any; after each step of one phase the process is killed and goes on."""
    ledger = begun(path, plan)
    while True:
        guard = BudgetGuard(plan.budget, ledger=ledger, block=1)
        try:
            while True:
                phase = plan.phase_number(guard.held)
                event = plan.event_of(plan.phase_at(guard.held))
                guard.admit(event).redeem(event)
                guard.commit()
                name = f"checkpoint-{guard.steps}"
                ledger.append("checkpoint", {"name": name, "step": guard.steps, "weights_digest": "0" * 64})
                if phase == in_phase:
                    break
        except BudgetExhausted:
            ledger.close()
            return verify_ledger(path)
        seq = ledger.entries[-1].seq
        ledger.close()
        ledger = Ledger.open(path)
        ledger.append("resume", {"checkpoint_seq": seq, "clean": False})


@pytest.mark.parametrize("spare", [0, 3])
@pytest.mark.parametrize("in_phase", [0, 1])
def test_crashes_in_a_phase_spend_its_blocks_alone_and_the_plan_s_epsilon_holds(tmp_path, in_phase, spare):
    plan = dataclasses.replace(PLAN, spare_blocks=spare)
    state = crash_after_every_step(tmp_path / "ledger.jsonl", plan, in_phase=in_phase)
    blocks = charged_blocks(state.segments, state.caps)
    assert blocks[in_phase] == 4 + spare  # one block a step, until none is left: that ends the run
    assert blocks[1 - in_phase] == (0 if in_phase == 0 else 4)
    allowed = certify(plan.caps().composition(), delta=1e-5)
    spent = certify(charged(state.segments), delta=1e-5)
    assert spent.rdp <= allowed.rdp and spent.epsilon <= allowed.epsilon + 1e-9


def test_a_ledger_that_charges_past_a_cap_is_broken(tmp_path):
    ledger = begun(tmp_path / "ledger.jsonl", PLAN)
    guard = BudgetGuard(PLAN.budget, ledger=ledger)
    event = PLAN.event_of(PLAN.phase_at(0))
    guard.admit(event)
    with pytest.raises(InvalidValue, match="The plan says"):
        guard.admit(PLAN.event_of(PLAN.phase_at(16)))
    assert verify_ledger(tmp_path / "ledger.jsonl").steps_charged == 16  # and no more, whatever the block
    ledger.append("resume", {"checkpoint_seq": 0, "clean": False})
    from accountant.events import event_to_json

    ledger.append("reserve", {"segment": 1, "steps": 1, "event": event_to_json(event)})
    ledger.close()
    with pytest.raises(LedgerBroken, match="more blocks than the cap of phase 1 allows"):
        verify_ledger(tmp_path / "ledger.jsonl")


def crashed_warm_start(lab, out, monkeypatch, *, spare):
    """Killed inside the second of its releases, which is charged; then gone on with."""
    plan = lab.plan(epsilon=10.0, iterations=4, warm_start=0.4, spare_releases=spare)
    with lab.begin(out, plan=plan, config=lab.config(mixture_clusters=1, mixture_frequencies=4)) as session:
        lab.take(session, 1)
        with monkeypatch.context() as broken:
            broken.setattr("privgen.training.loop.statistics_step", lambda *a, **k: (_ for _ in ()).throw(MemoryError))
            with pytest.raises(MemoryError):
                lab.take(session, 1)
    return lab.resume(out)


def test_a_crash_in_a_warm_start_takes_its_spare_release_and_goes_on_where_it_was(lab, tmp_path, monkeypatch):
    """Once, the release that had crashed was skipped: what came after it worked on statistics that were not there."""
    with crashed_warm_start(lab, tmp_path / "run", monkeypatch, spare=1) as session:
        made = []
        real = __import__("privgen.training.loop", fromlist=["statistics_step"]).statistics_step

        def watched(state, plan, *, receipt, **more):
            made.append((receipt.step, receipt.place, plan.warm_start.release_at(receipt.place).kind))
            real(state, plan, receipt=receipt, **more)

        monkeypatch.setattr("privgen.training.loop.statistics_step", watched)
        list(run(session))
        assert session.released
    assert made[0] == (2, 1, "components") and [place for _, place, _ in made] == [1, 2, 3, 4, 5, 6]
    audit = audit_run(tmp_path / "run")
    assert audit.verdict == "passed"
    assert audit.guarantee.epsilon <= 10.0 and audit.guarantee.by == "all that the plan's caps allow"


def test_without_a_spare_release_a_crash_in_a_warm_start_ends_the_run_and_says_so(lab, tmp_path, monkeypatch):
    with crashed_warm_start(lab, tmp_path / "run", monkeypatch, spare=0) as session:
        assert list(run(session)) == []
        assert "Phase 2 of the plan has no charged block left, of 1 and 0 spare ones" in session.outcome
        assert "nothing was released" in session.outcome
