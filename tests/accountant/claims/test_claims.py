"""Published settings: what was claimed, what is certified, and the order that the figures must stand in."""

import json
import math

import numpy as np
import pytest
from scipy.stats import binom

from accountant import (
    Claim,
    HiddenFeedbackGaussian,
    InvalidValue,
    Neighbouring,
    PrvAccountant,
    RdpAccountant,
    SubsampledGaussian,
    claim,
    claim_of_settings,
    claimed_epsilon,
)
from accountant.claims.claims import CLAIMS
from accountant.claims.feedback_lower_bound import steering_epsilon
from accountant.claims.published import PUBLISHED
from accountant.claims.worker_selection import Stretch, selected_delta, selected_divergences, selected_epsilon
from accountant.composition.gaussian import gaussian_delta, gaussian_epsilon

GS_WGAN = (Stretch(steps=20000, mu=math.sqrt(32) / 1.07),)


@pytest.fixture(scope="module")
def found():
    return {name: claim(name) for name in CLAIMS}


@pytest.mark.parametrize("name", CLAIMS)
def test_claimed_lower_and_certified_stand_in_order(found, name):
    one = found[name]
    assert one.claimed < one.lower <= one.certified.epsilon
    assert one.certified.prv.lower == one.lower
    assert one.certified.epsilon == min(one.certified.rdp, one.certified.prv.upper)
    assert one.certified.fallback is None
    assert math.isfinite(one.certified.rdp)


@pytest.mark.parametrize("name", CLAIMS)
def test_the_json_form_is_design_10(found, name):
    data = json.loads(json.dumps(found[name].to_json(), allow_nan=False))
    assert set(data) == {"claim", "claimed", "certified", "reason", "source"}
    assert set(data["certified"]) == {"rdp", "prv"}
    assert set(data["certified"]["prv"]) == {"lower", "estimate", "upper"}
    assert data["claim"] == name
    assert "arXiv" in data["source"] or "CVPR" in data["source"]


@pytest.mark.parametrize("name", CLAIMS)
def test_the_reason_is_one_sentence_and_assumptions_are_stated(found, name):
    assert found[name].reason.count(". ") == 0
    assert found[name].reason.endswith(".")
    assert len(found[name].assumptions) >= 4


def test_gs_wgan_costs_329_at_least_and_610_certified(found):
    one = found["gs-wgan"]
    assert one.claimed == 10.0
    assert 328.5 < one.lower < 329.6
    assert one.certified.prv.upper == pytest.approx(610, abs=1)
    assert one.certified.rdp > one.certified.prv.upper


def test_gs_wgans_own_way_of_charging_gives_less_than_its_claim():
    """32 · 20000 independent Poisson-subsampled releases: a formula that counts what did not happen."""
    event = SubsampledGaussian(sampling_rate=1 / 1000, noise_multiplier=1.07)
    assert RdpAccountant().compose(event, 32 * 20000).get_epsilon(1e-5) < 10


def test_selections_by_an_independent_sum():
    """E over n ~ Bin(T, 1/K) of the Gaussian's δ at √n/z, term by term."""
    epsilon = selected_epsilon(GS_WGAN, probability=1 / 1000, delta=1e-5)
    total = sum(
        float(binom.pmf(n, 20000, 1 / 1000)) * gaussian_delta(GS_WGAN[0].mu * math.sqrt(n), epsilon=epsilon)
        for n in range(1, 200)
    )
    assert total == pytest.approx(1e-5, rel=1e-4)
    assert total <= 1e-5


def test_two_stretches_of_one_kind_are_one():
    split = tuple(Stretch(steps=steps, mu=GS_WGAN[0].mu) for steps in (6000, 14000))
    whole = selected_delta(GS_WGAN, probability=1 / 1000, epsilon=300.0, left_out=1e-13)
    assert selected_delta(split, probability=1 / 1000, epsilon=300.0, left_out=1e-13) == pytest.approx(whole, rel=1e-6)
    orders = np.array([1.01, 1.08, 2.0, 5.0])
    one, two = (selected_divergences(orders, s, probability=1 / 1000) for s in (GS_WGAN, split))
    assert one == pytest.approx(two, rel=1e-12)


def test_a_worker_that_is_always_drawn_is_the_gaussian_mechanism():
    stretches = (Stretch(steps=9, mu=0.5),)
    orders = np.array([1.5, 2.0, 30.0])
    assert selected_divergences(orders, stretches, probability=1.0) == pytest.approx(orders * 9 * 0.25 / 2, rel=1e-12)
    epsilon = selected_epsilon(stretches, probability=1.0, delta=1e-5)
    assert gaussian_delta(1.5, epsilon=epsilon) == pytest.approx(1e-5, rel=1e-5)


def test_selections_divergence_is_its_expectation():
    """E_n e^(α(α−1) n μ²/2) over the binomial, summed."""
    stretches, order = (Stretch(steps=30, mu=0.7),), 3.0
    n = np.arange(31)
    exact = math.log(float(np.dot(binom.pmf(n, 30, 0.2), np.exp(order * (order - 1) * n * 0.49 / 2)))) / (order - 1)
    assert selected_divergences(np.array([order]), stretches, probability=0.2)[0] == pytest.approx(exact, rel=1e-10)


def test_two_networks_and_a_thousand_images_cost_more_than_one_and_32(found):
    assert found["dp-gan-dpac"].certified.epsilon > found["gs-wgan"].certified.epsilon
    assert found["dp-gan-dpac"].lower > found["gs-wgan"].lower


def test_dicesgds_claim_is_recovered_from_its_noise():
    """Its inflated noise, deflated again and charged for the steps it was computed for, says its ε of 2."""
    from accountant.claims.claims import _calibrated_noise

    published = PUBLISHED["dicesgd"]
    noise = _calibrated_noise(published) * math.sqrt(1 + published.feedback_ratio)
    event = HiddenFeedbackGaussian(
        sampling_rate=published.sampling_rate, noise_multiplier=noise, feedback_ratio=published.feedback_ratio
    )
    assert claimed_epsilon(event, published.calibrated_iterations, delta=1e-5) == pytest.approx(2.0, rel=1e-3)


def test_the_claimed_figure_says_that_it_is_no_bound():
    assert claimed_epsilon.__doc__.startswith("Not a bound:")


def test_without_feedback_the_claim_is_right():
    event = HiddenFeedbackGaussian(sampling_rate=0.01, noise_multiplier=1.0, feedback_ratio=0.0)
    assert claimed_epsilon(event, 500, delta=1e-5) == RdpAccountant().compose(event, 500).get_epsilon(1e-5)


@pytest.mark.parametrize("rho", [0.02, 0.2, 2.0])
def test_steering_is_below_what_is_certified_and_above_the_claim_where_feedback_is_large(rho):
    event = HiddenFeedbackGaussian(sampling_rate=256 / 60000, noise_multiplier=1.0, feedback_ratio=rho)
    lower = steering_epsilon(
        sampling_rate=256 / 60000, noise_multiplier=1.0, feedback_ratio=rho, iterations=4000, delta=1e-5
    )
    upper = PrvAccountant(eps_error=0.5).compose(event, 4000).get_epsilon_bounds(1e-5).upper
    assert claimed_epsilon(event, 4000, delta=1e-5) < lower < upper


@pytest.mark.parametrize(("steps", "rho"), [(2, 3.0), (10, 1.0), (50, 0.2)])
def test_steering_of_a_record_in_every_batch_is_a_gaussian_of_all_steps_but_the_first(steps, rho):
    """q = 1: T − 1 steps are shifted by ρ. Their exact ε is above what a mean of some steps shows, and not by much."""
    given = {"noise_multiplier": 1.0, "feedback_ratio": rho, "delta": 1e-5}
    all_of_them = gaussian_epsilon(rho * math.sqrt(steps - 1), delta=1e-5)
    mean_of_all = gaussian_epsilon(rho * (steps - 1) / math.sqrt(steps), delta=1e-5)
    lower = steering_epsilon(sampling_rate=1.0, iterations=steps, **given)
    assert 0.95 * mean_of_all <= lower <= all_of_them
    assert steering_epsilon(sampling_rate=1.0, iterations=1, **given) == 0.0


def test_steering_is_what_a_simulated_watcher_sees():
    """The share of runs above the best threshold, with and without the record, by drawing both."""
    rng = np.random.default_rng(3)
    q, z, rho, steps, runs = 0.05, 4.0, 1.0, 60, 40000
    drawn = rng.random((runs, steps)) < q
    later = np.concatenate([np.zeros((runs, 1), bool), np.cumsum(drawn, axis=1)[:, :-1] > 0], axis=1)
    noise = rng.normal(size=(runs, steps)) * z
    means_with = (later * rho + noise).sum(axis=1) / (z * math.sqrt(steps))
    means_without = rng.normal(size=(runs, steps)).sum(axis=1) / math.sqrt(steps)
    bound = steering_epsilon(sampling_rate=q, noise_multiplier=z, feedback_ratio=rho, iterations=steps, delta=0.05)
    seen = [
        math.log(((means_with > x).mean() - 0.05) / (means_without > x).mean())
        for x in (0.5, 1.0, 1.5, 2.0)
        if (means_with > x).mean() > 0.05
    ]
    assert max(seen) <= bound + 0.15


def test_settings_of_ones_own_are_certified():
    plain = claim_of_settings(noise_multiplier=1.07, sampling_rate=256 / 60000, iterations=20000)
    assert plain.claimed is None
    assert plain.certified.rdp == pytest.approx(3.299744, rel=1e-4)
    assert plain.certified.prv.lower <= 3.033580 <= plain.certified.prv.upper
    assert isinstance(plain, Claim)
    banded = claim_of_settings(noise_multiplier=0.64, sampling_rate=256 / 60000, iterations=4000, bands=4)
    assert banded.certified.prv.estimate == pytest.approx(10.0, abs=0.05)
    paper = claim_of_settings(noise_multiplier=1.0, sampling_rate=256 / 60000, iterations=4000, feedback_ratio=0.02)
    assert paper.certified.prv.estimate == pytest.approx(7.405, abs=5e-3)
    assert paper.claimed < 2 < paper.lower == paper.certified.prv.lower
    assert plain.lower is None


def test_one_step_can_be_asked_about():
    one = claim_of_settings(noise_multiplier=1.0, sampling_rate=0.1, iterations=1)
    assert (
        0
        < one.certified.epsilon
        < claim_of_settings(noise_multiplier=1.0, sampling_rate=0.1, iterations=2).certified.epsilon
    )


def test_replace_one_settings_cost_more():
    given = {"noise_multiplier": 1.0, "sampling_rate": 0.01, "iterations": 100}
    replaced = claim_of_settings(**given, neighbouring=Neighbouring.REPLACE_ONE)
    assert replaced.certified.epsilon > claim_of_settings(**given).certified.epsilon


def test_an_infinite_bound_is_null_in_json():
    data = claim_of_settings(noise_multiplier=0.001, sampling_rate=0.5, iterations=10**6).to_json()
    assert data["certified"]["rdp"] is None or math.isfinite(data["certified"]["rdp"])
    json.dumps(data, allow_nan=False)


@pytest.mark.parametrize(
    "changed",
    [{"iterations": 0}, {"noise_multiplier": 0.0}, {"sampling_rate": 1.5}, {"delta": 0.0},
     {"bands": 2, "feedback_ratio": 0.1}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(changed):
    given = {"noise_multiplier": 1.0, "sampling_rate": 0.01, "iterations": 100} | changed
    with pytest.raises(InvalidValue):
        claim_of_settings(**given)


def test_an_unknown_claim_is_refused_by_naming_those_there_are():
    with pytest.raises(InvalidValue, match="gs-wgan"):
        claim("dpgan")
