"""A schedule is scaled until it just keeps its budget: noise, rate or steps, each feedback, both adjacencies."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accountant import Budget, Neighbouring, Plan
from accountant.claims.claims import claimed_epsilon_of
from accountant.errors import InvalidValue
from planners import (
    ContradictoryRequest,
    ImpossiblePlan,
    PhaseShape,
    plan,
    solve_feedback_ratio,
    solve_iterations,
    solve_noise_multiplier,
    solve_sampling_rate,
)
from planners.schedule import split_steps
from planners.solving.cost import EventFamily, bounds_by_prv, epsilon_by_rdp

FALLING = (PhaseShape(share=0.5, noise=1.6), PhaseShape(share=0.3, noise=1.2, rate=0.5), PhaseShape(share=0.2))
FEEDBACKS = {"banded": {"bands": 4}, "none": {}, "paper": {"feedback_ratio": 0.01}}
ADJACENCIES = list(Neighbouring)


def spent(feedback, neighbouring, *, q, z, steps, phases=FALLING, accountant="rdp", budget=None):
    budget = budget or Budget(epsilon=1.0, delta=1e-5, neighbouring=neighbouring)
    released = EventFamily(**FEEDBACKS[feedback], phases=phases).composition(
        sampling_rate=q, noise_multiplier=z, iterations=steps
    )
    return epsilon_by_rdp(released, budget) if accountant == "rdp" else bounds_by_prv(released, budget).upper


@settings(max_examples=50, deadline=None)
@given(
    shares=st.lists(st.floats(0.01, 1), min_size=1, max_size=6),
    steps=st.integers(1, 10**6),
    bands=st.sampled_from([1, 2, 3, 8]),
)
def test_phases_divide_all_steps_and_are_cut_where_blocks_end(shares, steps, bands):
    phases = [PhaseShape(share=share / sum(shares)) for share in shares]
    counts = split_steps(phases, steps, bands=bands)
    assert sum(counts) == steps
    assert all(count >= 0 for count in counts)
    last = max(i for i, count in enumerate(counts) if count)
    assert all(count % bands == 0 for count in counts[:last])
    whole = split_steps(phases, -(-steps // bands) * bands, bands=bands)
    assert [-(-c // bands) for c in counts] == [c // bands for c in whole]
    for phase, count in zip(phases, counts, strict=True):
        assert abs(count - phase.share * steps) <= 2 * bands


@pytest.mark.parametrize("neighbouring", ADJACENCIES, ids=lambda n: n.value)
@pytest.mark.parametrize("feedback", FEEDBACKS)
@pytest.mark.parametrize("target", [3.0])
def test_the_scaled_noise_keeps_the_budget_and_a_little_less_does_not(feedback, neighbouring, target):
    z = solve_noise_multiplier(
        epsilon=target, delta=1e-5, sampling_rate=0.02, iterations=900, neighbouring=neighbouring,
        phases=FALLING, **FEEDBACKS[feedback],
    )  # fmt: skip
    known = {"q": 0.02, "steps": 900}
    assert spent(feedback, neighbouring, z=z, **known) <= target
    assert spent(feedback, neighbouring, z=z * (1 - 1.1e-3), **known) > target


@pytest.mark.parametrize("neighbouring", ADJACENCIES, ids=lambda n: n.value)
@pytest.mark.parametrize("feedback", FEEDBACKS)
def test_the_scaled_rate_keeps_the_budget_and_a_little_more_does_not(feedback, neighbouring):
    def at(q):
        # C2 is a number; ρ of the plan's rate stays what it was given as.
        return spent(feedback, neighbouring, q=q, z=1.5, steps=900)

    q = solve_sampling_rate(
        epsilon=4.0, delta=1e-5, noise_multiplier=1.5, iterations=900, neighbouring=neighbouring,
        phases=FALLING, **FEEDBACKS[feedback],
    )  # fmt: skip
    assert at(q) <= 4.0 < at(q * (1 + 1.1e-3))


@pytest.mark.parametrize("neighbouring", ADJACENCIES, ids=lambda n: n.value)
@pytest.mark.parametrize("feedback", FEEDBACKS)
def test_one_step_more_than_the_solved_ones_overspends(feedback, neighbouring):
    steps = solve_iterations(
        epsilon=4.0, delta=1e-5, sampling_rate=0.02, noise_multiplier=1.5, neighbouring=neighbouring,
        phases=FALLING, **FEEDBACKS[feedback],
    )  # fmt: skip
    at = {"q": 0.02, "z": 1.5}
    assert (
        spent(feedback, neighbouring, steps=steps, **at) <= 4.0 < spent(feedback, neighbouring, steps=steps + 1, **at)
    )


@pytest.mark.parametrize(
    ("feedback", "neighbouring"),
    [("banded", ADJACENCIES[0]), ("banded", ADJACENCIES[1]), ("none", ADJACENCIES[0]), ("paper", ADJACENCIES[0])],
)
def test_by_prv_the_same_is_tight_and_needs_less_noise(feedback, neighbouring):
    known = {
        "epsilon": 4.0, "delta": 1e-5, "sampling_rate": 0.02, "iterations": 200, "neighbouring": neighbouring,
        "phases": FALLING, **FEEDBACKS[feedback],
    }  # fmt: skip
    z = solve_noise_multiplier(**known, accountant="prv")
    at = {"q": 0.02, "steps": 200, "accountant": "prv"}
    assert spent(feedback, neighbouring, z=z, **at) <= 4.0 < spent(feedback, neighbouring, z=z * (1 - 1.1e-3), **at)
    assert z < solve_noise_multiplier(**known)


def test_by_prv_one_step_more_overspends():
    known = {"sampling_rate": 0.02, "noise_multiplier": 1.5, "bands": 4, "phases": FALLING}
    steps = solve_iterations(epsilon=4.0, delta=1e-5, accountant="prv", **known)
    at = {"q": 0.02, "z": 1.5, "accountant": "prv"}
    assert spent("banded", ADJACENCIES[0], steps=steps, **at) <= 4.0
    assert spent("banded", ADJACENCIES[0], steps=steps + 1, **at) > 4.0


def test_equal_phases_cost_what_one_does():
    known = {"epsilon": 3.0, "delta": 1e-5, "sampling_rate": 0.01, "iterations": 800, "bands": 4}
    halves = (PhaseShape(share=0.5), PhaseShape(share=0.5))
    assert solve_noise_multiplier(**known, phases=halves) == pytest.approx(solve_noise_multiplier(**known), rel=1e-6)


def test_phases_that_get_noisier_and_less_noisy_cost_the_same_where_lengths_agree():
    known = {"epsilon": 3.0, "delta": 1e-5, "sampling_rate": 0.01, "iterations": 800}
    rising = (PhaseShape(share=0.5, noise=1.0), PhaseShape(share=0.5, noise=1.5))
    assert solve_noise_multiplier(**known, phases=rising) == pytest.approx(
        solve_noise_multiplier(**known, phases=rising[::-1]), rel=1e-6
    )


@pytest.mark.parametrize("feedback", FEEDBACKS)
def test_a_plan_in_phases_charges_what_was_solved_for_and_survives_its_file(feedback, tmp_path):
    options = {"bands": 4} if feedback == "banded" else {}
    made = plan(
        epsilon=5.0, dataset_size=10000, batch_size=200, iterations=400, feedback=feedback, phases=FALLING,
        warm_start=0.0, **options,
    )  # fmt: skip
    assert [phase.iterations for phase in made.phases] == [200, 120, 80]
    first, second, third = made.phases
    assert first.noise_multiplier / third.noise_multiplier == pytest.approx(1.6)
    assert second.sampling_rate / third.sampling_rate == pytest.approx(0.5)
    assert third.sampling_rate == pytest.approx(0.02)
    assert epsilon_by_rdp(made.events(), made.budget) == made.verified.rdp <= 5.0
    less = [(dataclasses.replace(e, noise_multiplier=e.noise_multiplier * (1 - 1.1e-3)), n) for e, n in made.events()]
    assert epsilon_by_rdp(less, made.budget) > 5.0
    made.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == made


def test_the_papers_c2_is_one_number_over_the_phases():
    made = plan(
        epsilon=5.0, dataset_size=10000, batch_size=200, iterations=100, feedback="paper", feedback_ratio=0.02,
        phases=(PhaseShape(share=0.5, rate=2.0), PhaseShape(share=0.5)), warm_start=0.0,
    )  # fmt: skip
    assert [event.feedback_ratio for event, _ in made.events()] == pytest.approx([0.04, 0.02])
    assert made.parts[0].feedback_clip_norm == pytest.approx(0.02 / (2 * 200))


def test_a_phase_without_a_block_is_refused_with_the_counts():
    with pytest.raises(ImpossiblePlan, match="phases get 8, 0"):
        plan(epsilon=5.0, dataset_size=10000, iterations=8, phases=(PhaseShape(share=0.9), PhaseShape(share=0.1)))


def test_shares_that_are_not_the_whole_are_refused_with_those_that_are():
    with pytest.raises(InvalidValue, match=r"0\.5, 0\.5"):
        plan(epsilon=5.0, dataset_size=10000, phases=(PhaseShape(share=500), PhaseShape(share=500)))


def test_a_rate_that_a_phase_takes_past_one_is_refused():
    with pytest.raises(InvalidValue, match="--bands or --batch-size"):
        plan(
            epsilon=5.0, dataset_size=1000, batch_size=200, bands=4,
            phases=(PhaseShape(share=0.5, rate=2.0), PhaseShape(share=0.5)),
        )  # fmt: skip


@pytest.mark.parametrize("z", [0.8, 2.0])
@pytest.mark.parametrize("neighbouring", ADJACENCIES, ids=lambda n: n.value)
def test_the_affordable_feedback_keeps_the_budget_and_a_little_more_does_not(z, neighbouring):
    known = {"sampling_rate": 0.01, "noise_multiplier": z, "iterations": 1000}
    ratio = solve_feedback_ratio(epsilon=10.0, delta=1e-5, neighbouring=neighbouring, **known)
    budget = Budget(epsilon=10.0, delta=1e-5, neighbouring=neighbouring)

    def at(rho):
        return epsilon_by_rdp(EventFamily(feedback_ratio=rho).composition(**known), budget)

    assert at(ratio) <= 10.0 < at(ratio * (1 + 1.1e-3))


def test_no_feedback_is_affordable_where_the_steps_take_the_whole_budget():
    with pytest.raises(ImpossiblePlan, match="before anything is fed back"):
        solve_feedback_ratio(epsilon=1.0, delta=1e-5, sampling_rate=0.5, noise_multiplier=0.5, iterations=1000)


def test_a_plan_with_everything_given_but_c2_gets_the_largest_c2():
    made = plan(
        epsilon=10.0, dataset_size=60000, batch_size=256, noise_multiplier=1.0, iterations=1000, feedback="paper"
    )
    ratio = made.events()[0][0].feedback_ratio
    assert made.parts[0].feedback_clip_norm == pytest.approx(ratio / (2 * 256))
    assert 9.98 < made.verified.rdp <= 10.0
    assert "largest" in made.defaults["feedback_ratio"]
    claimed = claimed_epsilon_of(made.events(), delta=made.delta)
    assert made.defaults["claimed"].startswith(f"ε = {claimed:.4f}")
    assert claimed < made.verified.rdp / 2


def test_r_over_c1_divides_the_total_and_belongs_to_bands():
    made = plan(epsilon=10.0, dataset_size=60000, bands=4, residual_ratio=1.0, clip_norm=2.0)
    assert (made.parts[0].clip_norm, made.parts[0].residual_clip_norm) == (1.0, 1.0)
    with pytest.raises(ContradictoryRequest, match="residual"):
        plan(epsilon=10.0, dataset_size=60000, bands=1, residual_ratio=1.0)
