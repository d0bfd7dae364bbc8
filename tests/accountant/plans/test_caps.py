"""Caps: what each phase may charge is fixed beforehand, crashes included, and is what the plan's ε is of."""

import dataclasses
import json

import pytest

from accountant import BandedGaussian, InvalidValue, Part, Phase, Plan, PlanError, RdpAccountant, SubsampledGaussian
from accountant.plans.caps import Cap, Caps, blocks_of, most_steps
from accountant.plans.warm_start import WarmStart

STEP = BandedGaussian(sampling_rate=0.02, noise_multiplier=1.0, bands=4)
PLAN = Plan(
    epsilon=10.0, delta=1e-5, dataset_size=1000, bands=4, sampling_rate=0.02, iterations=10, noise_multiplier=1.0,
    parts=(Part(name="critic", clip_norm=0.5, residual_clip_norm=0.5, noise_multiplier=1.0),),
)  # fmt: skip
START = WarmStart(
    rounds=1, clip_norm=0.5, centred_clip_norm=0.25, mean_noise_multiplier=30.0, cluster_noise_multiplier=20.0,
    covariance_noise_multiplier=10.0, spare_releases=1,
)  # fmt: skip


def epsilon(composition):
    accountant = RdpAccountant()
    for event, steps in composition:
        accountant.new_segment().compose(event, steps)
    return accountant.get_epsilon(1e-5)


def test_a_plan_s_caps_are_the_blocks_of_its_steps_and_the_spare_ones():
    caps = dataclasses.replace(PLAN, spare_blocks=2).caps()
    assert (caps.blocks(0), caps.room(0, [0]), caps.room(0, [5]), caps.room(0, [6])) == (3, 5, 0, -1)
    assert epsilon(caps.composition()) == epsilon([(STEP.per_block, 5)])
    assert PLAN.caps().composition() == PLAN.events()


def test_each_phase_has_its_own():
    phases = tuple(Phase(iterations=5, sampling_rate=0.02, noise_multiplier=z) for z in (1.0, 2.0))
    caps = dataclasses.replace(PLAN, phases=phases, spare_blocks=1).caps()
    assert [caps.room(phase, [3, 0]) for phase in (0, 1)] == [0, 3]
    assert [event.noise_multiplier for event, _ in caps.composition()] == [1.0, 2.0, 1.0, 2.0]


def test_the_releases_of_a_warm_start_share_a_spare_one_that_is_charged_as_the_dearest():
    plan = dataclasses.replace(PLAN, warm_start=START)
    caps = plan.caps()
    dearest = SubsampledGaussian(sampling_rate=1.0, noise_multiplier=10.0)
    assert caps.composition()[-1] == (dearest, 1) == plan.warm_events()[-1]
    # Whichever of the three it is that a crash repeats; then none is left.
    for again in range(3):
        charged = [1, 1, 1, 0]
        assert caps.room(again, charged) == 1
        charged[again] += 1
        assert [caps.room(phase, charged) for phase in range(4)] == [0, 0, 0, 3]


def test_an_extension_is_a_phase_of_its_own():
    caps = PLAN.caps(extra_blocks=2)
    assert (len(caps.phases), caps.phases[1].steps, caps.room(1, [3, 0])) == (2, 8, 2)
    assert PLAN.phase_number(10) == 1


def test_steps_are_those_that_the_blocks_pay_for():
    assert [most_steps(STEP, after=after, blocks=blocks, wanted=64) for after, blocks in ((0, 2), (3, 0), (3, 1), (4, 0))] == [  # noqa: E501
        8, 1, 5, 0,
    ]  # fmt: skip
    assert blocks_of(STEP, 9) == 3


def test_a_plan_file_says_them_and_may_not_say_others():
    written = json.loads(json.dumps(dataclasses.replace(PLAN, spare_blocks=2, warm_start=START).to_json()))
    assert written["caps"] == [
        {"steps": 3, "blocks": 3, "spare_blocks": 1}, {"steps": 10, "blocks": 3, "spare_blocks": 2},
    ]  # fmt: skip
    assert Plan.from_json(written).spare_blocks == 2
    written["caps"][1]["spare_blocks"] = 0
    with pytest.raises(PlanError, match="caps are not those of its phases"):
        Plan.from_json(written)


@pytest.mark.parametrize("bad", [-1, 1.0, True])
def test_spare_blocks_are_counted(bad):
    with pytest.raises((InvalidValue, PlanError), match="spare_blocks"):
        dataclasses.replace(PLAN, spare_blocks=bad)
    with pytest.raises(InvalidValue, match="spare_blocks"):
        Caps(phases=(Cap(event=STEP, steps=1, pool=0),), spare=(bad,))
