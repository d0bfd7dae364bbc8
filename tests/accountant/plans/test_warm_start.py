"""A warm start's releases, their cost, and their place in plan and ledger."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from accountant import BudgetGuard, Plan, PrvAccountant, RdpAccountant, SubsampledGaussian, verify_ledger
from accountant.canonical_json import digest
from accountant.errors import InvalidValue, LedgerBroken, PlanError
from accountant.events import event_to_json
from accountant.ledger.chain import Ledger
from accountant.ledger.genesis import genesis_budget
from accountant.plans.parts import STATISTICS, Part, Phase
from accountant.plans.warm_start import WarmStart

START = WarmStart(
    rounds=2,
    clip_norm=0.5,
    centred_clip_norm=0.25,
    mean_noise_multiplier=10.0,
    cluster_noise_multiplier=8.0,
    covariance_noise_multiplier=2.0,
)


def planned(**changes: object) -> Plan:
    plan = Plan(
        epsilon=10.0,
        delta=1e-5,
        dataset_size=1000,
        bands=2,
        sampling_rate=0.1,
        iterations=10,
        noise_multiplier=1.5,
        parts=(Part(name="critic", clip_norm=0.5, residual_clip_norm=0.5, noise_multiplier=1.5),),
        warm_start=START,
    )
    return dataclasses.replace(plan, **changes)


def test_a_warm_start_costs_what_one_gaussian_of_its_joint_noise_costs() -> None:
    apart = RdpAccountant()
    for release in START.releases():
        apart.new_segment().compose(release.event)
    together = RdpAccountant().compose(SubsampledGaussian(sampling_rate=1.0, noise_multiplier=START.noise_multiplier))
    assert apart.get_epsilon(1e-5) == pytest.approx(together.get_epsilon(1e-5), rel=1e-9)


def test_a_plan_charges_the_warm_start_before_its_iterations() -> None:
    plan = planned()
    assert plan.steps == 14
    assert [event.noise_multiplier for event, _ in plan.events()] == [10.0, 8.0, 8.0, 2.0, 1.5]
    kinds = [plan.phase_at(step).releases for step in (0, 3, 4, 13)]
    assert kinds == [STATISTICS, STATISTICS, "gradients", "gradients"]
    rdp, without = RdpAccountant(), RdpAccountant()
    for event, steps in plan.events():
        rdp.new_segment().compose(event, steps)
    for event, steps in planned(warm_start=None).events():
        without.new_segment().compose(event, steps)
    assert rdp.get_epsilon(1e-5) > without.get_epsilon(1e-5)


def test_prv_and_rdp_agree_on_a_plan_with_a_warm_start() -> None:
    rdp, prv = RdpAccountant(), PrvAccountant()
    for event, steps in planned().events():
        rdp.new_segment().compose(event, steps)
        prv.new_segment().compose(event, steps)
    bounds = prv.get_epsilon_bounds(1e-5)
    assert bounds.fallback is None
    assert bounds.lower <= bounds.upper <= rdp.get_epsilon(1e-5) * 1.001


def test_a_plan_with_a_warm_start_comes_back_from_its_file(tmp_path: Path) -> None:
    planned().save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == planned()


def test_a_plan_without_one_keeps_the_form_and_digest_that_it_had() -> None:
    plan = planned(warm_start=None)
    assert "warm_start" not in plan.to_json()
    assert plan.digest == digest(plan.to_json())
    assert set(plan.to_json()["phases"][0] if plan.phases else {}) == set()


@pytest.mark.parametrize("name", ["clip_norm", "covariance_noise_multiplier", "rounds"])
def test_values_out_of_range_are_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidValue, match=name):
        dataclasses.replace(START, **{name: -1})


def test_components_are_one_release_more_charged_and_written() -> None:
    """And without them the file has the form that it had."""
    wide = dataclasses.replace(START, components=63, component_noise_multiplier=4.0, margin=0.5)
    assert [release.kind for release in wide.releases()] == [
        "means",
        "components",
        "clusters",
        "clusters",
        "covariances",
    ]
    assert wide.steps == START.steps + 1
    assert wide.releases()[1].sensitivity == 0.25**2
    assert wide.noise_multiplier**-2 == pytest.approx(START.noise_multiplier**-2 + 1 / 16)
    plan = planned(warm_start=wide)
    assert [event.noise_multiplier for event, _ in plan.events()][:2] == [10.0, 4.0]
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert not {"components", "component_noise_multiplier", "margin"} & set(START.to_json())


@pytest.mark.parametrize(
    "changes", [{"components": 3}, {"component_noise_multiplier": 2.0}, {"margin": 1.5}, {"margin": -0.1}]
)
def test_components_without_noise_and_margins_out_of_range_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(InvalidValue, match=r"component_noise_multiplier|margin"):
        dataclasses.replace(START, **changes)


def test_a_warm_start_with_unknown_fields_is_refused() -> None:
    data = planned().to_json()
    data["warm_start"]["extra"] = 1
    with pytest.raises(PlanError, match="extra"):
        Plan.from_json(json.loads(json.dumps(data)))


def test_statistics_are_no_phase_of_the_iterations() -> None:
    warm = Phase(iterations=5, sampling_rate=1.0, noise_multiplier=1.5, releases=STATISTICS)
    with pytest.raises(PlanError, match="warm_start"):
        planned(
            phases=(warm, Phase(iterations=5, sampling_rate=0.1, noise_multiplier=1.5)), sampling_rate=1.0, bands=1,
            parts=(Part(name="critic", clip_norm=1.0, noise_multiplier=1.5),),
        )  # fmt: skip
    with pytest.raises(InvalidValue, match="sampling_rate"):
        Phase(iterations=1, sampling_rate=0.5, noise_multiplier=1.0, releases=STATISTICS)


def test_the_ledger_holds_each_release_to_the_plan(tmp_path: Path) -> None:
    plan = planned()
    with Ledger.create(tmp_path / "ledger.jsonl") as ledger:
        ledger.append(
            "genesis", {"budget": genesis_budget(plan.budget), "plan": plan.to_json(), "plan_digest": plan.digest}
        )
        guard = BudgetGuard(plan.budget, ledger=ledger)
        for step in range(plan.steps):
            guard.admit(plan.event_of(plan.phase_at(step)), at_most=1)
        guard.halt("done")
    state = verify_ledger(tmp_path / "ledger.jsonl")
    assert state.steps_charged == plan.steps == 14


def test_a_warm_start_that_reserves_less_noise_than_planned_is_seen(tmp_path: Path) -> None:
    plan = planned()
    weaker = SubsampledGaussian(sampling_rate=1.0, noise_multiplier=20.0)
    with Ledger.create(tmp_path / "ledger.jsonl") as ledger:
        ledger.append(
            "genesis", {"budget": genesis_budget(plan.budget), "plan": plan.to_json(), "plan_digest": plan.digest}
        )
        ledger.append("reserve", {"segment": 0, "steps": 1, "event": event_to_json(weaker)})
    with pytest.raises(LedgerBroken, match="plan says"):
        verify_ledger(tmp_path / "ledger.jsonl")
