"""Risk in words people know: never below what the best attack reaches, and within a thousandth of it."""

import math

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution
from scipy.stats import norm

from accountant import BandedGaussian, HiddenFeedbackGaussian, InvalidValue, Neighbouring, PrvAccountant, RdpAccountant
from accountant import SubsampledGaussian as Step
from accountant.audit.risk import FALSE_POSITIVE_RATES, risk_of, risks_of, risks_of_promise
from accountant.composition.gaussian import gaussian_delta

DELTA = 1e-5
SETTINGS = [
    (256 / 60000, 0.65, 20000),
    (256 / 60000, 1.07, 20000),
    (256 / 60000, 20.0, 20000),
    (1000 / 67349, 6.79, 201),
    (0.5, 3.0, 40),
]


def by_pld(q, z, steps):
    """(rates, advantage) of dp_accounting's loss at both signs of ε: min over ε of e^ε·FPR + δ(ε)."""
    loss = privacy_loss_distribution.from_gaussian_mechanism(z, sampling_prob=q, value_discretization_interval=1e-4)
    loss = loss.self_compose(steps)
    epsilons = np.concatenate([[0.0], np.geomspace(1e-5, 4e-3, 60), np.linspace(5e-3, 9, 1800)])
    deltas = np.array(loss.get_delta_for_epsilon(epsilons))
    rates = [
        min((np.exp(epsilons) * rate + deltas).min(), (1 - np.exp(-epsilons) * (1 - rate - deltas)).min())
        for rate in FALSE_POSITIVE_RATES
    ]
    return rates, float(deltas[0])


@pytest.mark.parametrize("mu", [0.05, 0.5, 1.0, 2.5, 5.0])
def test_one_gaussian_release_has_the_rates_of_the_neyman_pearson_test(mu):
    risk = risk_of(((Step(sampling_rate=1.0, noise_multiplier=1 / mu), 1),), delta=DELTA)
    for rate, found in risk.tpr.items():
        best = norm.cdf(norm.ppf(rate) + mu)
        assert best <= found <= best + 1e-3
    assert risk.advantage == pytest.approx(2 * norm.cdf(mu / 2) - 1, abs=1e-9)
    assert risk.mu == pytest.approx(mu, abs=1e-3) and risk.mu_distance < 2e-4


@pytest.mark.parametrize(("q", "z", "steps"), SETTINGS)
def test_rates_and_advantage_are_those_of_another_librarys_loss_within_a_thousandth(q, z, steps):
    risk = risk_of(((Step(sampling_rate=q, noise_multiplier=z), steps),), delta=DELTA)
    rates, advantage = by_pld(q, z, steps)
    assert list(risk.tpr.values()) == pytest.approx(rates, abs=1e-3)
    assert risk.advantage == pytest.approx(advantage, abs=1e-3)


@pytest.mark.parametrize("size", [2, 3])
def test_a_group_of_records_is_a_mechanism_of_that_sensitivity(size):
    """Where every record is in every batch, k records move the sum by k."""
    risk = risk_of(((Step(sampling_rate=1.0, noise_multiplier=2.0), 1),), delta=DELTA, group_size=size)
    assert risk.tpr[0.01] == pytest.approx(norm.cdf(norm.ppf(0.01) + size / 2), abs=1e-3)


@pytest.mark.parametrize("size", [2, 5])
def test_a_sampled_group_is_a_mixture_to_another_library_too(size):
    q, z, steps = 256 / 60000, 2.0, 2000
    risk = risk_of(((Step(sampling_rate=q, noise_multiplier=z), steps),), delta=DELTA, group_size=size)
    weights = [math.comb(size, j) * q**j * (1 - q) ** (size - j) for j in range(size + 1)]
    loss = privacy_loss_distribution.from_mixture_gaussian_mechanism(
        z, list(range(size + 1)), weights, value_discretization_interval=1e-3
    ).self_compose(steps)
    assert risk.advantage == pytest.approx(loss.get_delta_for_epsilon(0.0), abs=2e-3)


def test_a_belief_is_passed_no_more_often_than_it_says():
    """The loss of one Gaussian release is normal, N(μ²/2, μ²): what is said of it, against its own quantile."""
    mu, prior = 1.5, 0.5
    belief = risk_of(((Step(sampling_rate=1.0, noise_multiplier=1 / mu), 1),), delta=DELTA).posterior[prior]
    loss = math.log(belief / (1 - belief)) - math.log(prior / (1 - prior))
    passed = norm.sf((loss - mu**2 / 2) / mu)
    assert DELTA / 10 < passed <= 2 * DELTA
    # And an accusation is believed as Bayes' rule says.
    risk = risk_of(((Step(sampling_rate=1.0, noise_multiplier=1 / mu), 1),), delta=DELTA)
    assert risk.accused[0.001][0.01] == pytest.approx(0.01 * risk.tpr[0.001] / (0.01 * risk.tpr[0.001] + 0.99 * 0.001))


def test_more_records_more_noise_and_more_steps_move_the_risk_as_they_should():
    def tpr(z, steps, size=1):
        event = Step(sampling_rate=0.01, noise_multiplier=z)
        return risk_of(((event, steps),), delta=DELTA, group_size=size).tpr[0.01]

    assert 0.01 < tpr(4.0, 500) < tpr(2.0, 500) < tpr(2.0, 1500) < tpr(2.0, 1500, 2) < tpr(2.0, 1500, 5) <= 1


def test_a_banded_run_and_the_published_feedback_have_a_risk_under_both_adjacencies():
    for event in (
        BandedGaussian(sampling_rate=0.01, noise_multiplier=2.0, bands=4),
        HiddenFeedbackGaussian(sampling_rate=0.01, noise_multiplier=2.0, feedback_ratio=0.01),
    ):
        less, more = (
            risk_of(((event, 200),), delta=DELTA, neighbouring=neighbouring).tpr[0.01]
            for neighbouring in (Neighbouring.ADD_OR_REMOVE_ONE, Neighbouring.REPLACE_ONE)
        )
        assert 0.01 < less < more < 1


def test_no_privacy_is_called_none_and_nothing_spent_no_risk():
    lost = risk_of(((Step(sampling_rate=1.0, noise_multiplier=1e-3), 1),), delta=DELTA)
    assert set(lost.tpr.values()) == {1.0} and lost.advantage == 1.0 and lost.mu is None
    assert lost.posterior[0.01] == 1.0
    nothing = risk_of((), delta=DELTA)
    assert (
        nothing.tpr[0.01] == pytest.approx(0.01, rel=1e-9)
        and nothing.advantage == 0
        and nothing.posterior[0.5] == pytest.approx(0.5)
    )


def test_the_json_has_the_names_that_scripts_read():
    risks = risks_of(((Step(sampling_rate=1.0, noise_multiplier=1.0), 1),), delta=DELTA, group_sizes=(3, 2))
    written = risks.to_json()
    assert set(written["tpr"]) == {"0.001", "0.01", "0.1"} and set(written["posterior"]) == {"0.5", "0.01"}
    assert written["advantage"] == risks.one.advantage
    assert [group["group_size"] for group in written["groups"]] == [2, 3]
    with pytest.raises(InvalidValue, match="group_size"):
        risk_of((), delta=DELTA, group_size=0)


@pytest.mark.parametrize(("q", "z", "steps"), SETTINGS)
def test_many_deltas_are_at_least_each_one_alone_and_near_it(q, z, steps):
    accountant = PrvAccountant().compose(Step(sampling_rate=q, noise_multiplier=z), steps)
    rdp = RdpAccountant().compose(Step(sampling_rate=q, noise_multiplier=z), steps)
    epsilons = np.array([0.0, 0.01, 0.3, 1.0, 3.0, 6.0])
    many = accountant.get_deltas(epsilons)
    assert (np.diff(many) <= 0).all()
    for epsilon, found in zip(epsilons, many, strict=True):
        alone = accountant.get_delta(epsilon)
        assert alone <= found * (1 + 1e-12) <= alone + 5e-4
        assert found <= rdp.get_delta(epsilon)


def test_many_deltas_of_gaussians_are_the_closed_form():
    accountant = PrvAccountant().compose(Step(sampling_rate=1.0, noise_multiplier=2.0), 4)
    found = accountant.get_deltas(np.array([0.0, 2.0]))
    assert found == pytest.approx([gaussian_delta(1.0, epsilon=0.0), gaussian_delta(1.0, epsilon=2.0)], rel=1e-9)
    with pytest.raises(InvalidValue, match="target_epsilons"):
        accountant.get_deltas(np.array([-1.0]))


@pytest.mark.parametrize(("epsilon", "delta"), [(0.1, 1e-5), (1.0, 1e-3), (9.2, 1e-5)])
def test_a_promise_alone_is_its_own_trade_off(epsilon, delta):
    """f_{ε,δ} in closed form, and group privacy by its usual formula."""
    risks = risks_of_promise(epsilon=epsilon, delta=delta, group_sizes=(3,))
    for risk, e, d in (
        (risks.one, epsilon, delta),
        (risks.groups[0], 3 * epsilon, min(1, delta * math.expm1(3 * epsilon) / math.expm1(epsilon))),
    ):
        for rate, found in risk.tpr.items():
            best = min(1.0, math.exp(e) * rate + d, 1 - math.exp(-e) * (1 - rate - d))
            assert best <= found <= best + 1e-3
        assert risk.advantage == pytest.approx((math.expm1(e) + 2 * d) / (math.exp(e) + 1), abs=1e-6)
    # Two δ are enough for a loss of ε + log 2.
    assert risks.one.posterior[0.5] == pytest.approx(1 / (1 + math.exp(-epsilon) / 2), rel=1e-2)


def test_a_promise_of_nothing_is_no_risk_and_one_without_end_is_certainty():
    assert risks_of_promise(epsilon=0.0, delta=1e-5).one.advantage == pytest.approx(1e-5)
    for epsilon in (800.0, 1e9, math.inf):
        lost = risks_of_promise(epsilon=epsilon, delta=1e-5)
        assert lost.one.advantage == lost.groups[0].tpr[0.001] == lost.one.posterior[0.01] == 1.0
