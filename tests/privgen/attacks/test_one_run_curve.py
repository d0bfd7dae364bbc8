"""Guesses against a trade-off curve: the recursion is the best that its inequalities allow, and rarely wrong."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import linprog
from scipy.special import ndtr, ndtri

from accountant.audit.risk import READ_AT
from accountant.budget import Neighbouring
from accountant.composition.gaussian import gaussian_epsilon
from accountant.events import SubsampledGaussian
from privgen.attacks.one_run import epsilon_below
from privgen.attacks.one_run_curve import (
    Curve,
    curve_bound,
    curve_of,
    gaussian_curve,
    guesses_of,
    refutes,
)

ONE_RELEASE = ((SubsampledGaussian(sampling_rate=1.0, noise_multiplier=0.5), 1),)  # μ = 2


def test_a_gaussian_curve_read_from_its_profile_is_the_closed_form_from_below():
    curve = gaussian_curve(1.3)
    for x in (1e-4, 0.01, 0.3, 0.5, 0.9, 0.999):
        exact = ndtr(ndtri(x) - 1.3)
        assert exact * (1 - 2e-3) - 1e-7 <= curve.floor(x) <= exact


def test_the_curve_of_a_release_is_never_above_the_true_one():
    curve = curve_of(ONE_RELEASE, noise=1.0, neighbouring=Neighbouring.ADD_OR_REMOVE_ONE)
    for x in (0.01, 0.3, 0.5, 0.9, 0.999):
        assert 0 <= ndtr(ndtri(x) - 2.0) - curve.floor(x) < 1e-3


def most_likely_tail(curve, lines, *, canaries, guesses, correct):
    """The largest P(T >= v) that the theorem's inequalities leave: a linear program, for a curve of a few lines."""
    t = np.arange(guesses + 1)
    rows, limits = [], []
    for j in range(1, guesses + 1):
        for slope, offset in lines:
            # slope · Σ_{t >= j} t p_t / m + offset <= Σ_{t >= j−1} (r − t) p_t / m
            rows.append((slope * t * (t >= j) - (guesses - t) * (t >= j - 1)) / canaries)
            limits.append(-offset)
    found = linprog(
        -(t >= correct).astype(float), A_ub=rows, b_ub=limits, A_eq=[np.ones(guesses + 1)], b_eq=[1.0], bounds=(0, 1)
    )
    return -found.fun


@pytest.mark.parametrize(("canaries", "guesses", "correct"), [(30, 30, 24), (30, 12, 11), (20, 8, 8), (60, 20, 19)])
def test_the_recursion_is_what_a_linear_program_finds(canaries, guesses, correct):
    epsilons, deltas = np.array([0.0, 0.5, 1.5]), np.array([0.4, 0.25, 0.02])
    curve = Curve(epsilons=epsilons, deltas=deltas)
    lines = [(math.exp(-e), -math.exp(-e) * d) for e, d in zip(epsilons, deltas, strict=True)]
    lines += [(math.exp(e), 1 - d - math.exp(e)) for e, d in zip(epsilons, deltas, strict=True)]
    most = most_likely_tail(curve, lines, canaries=canaries, guesses=guesses, correct=correct)
    assert refutes(curve, canaries=canaries, guesses=guesses, correct=correct, error=min(1.0, most * 1.001 + 1e-9))
    assert not refutes(curve, canaries=canaries, guesses=guesses, correct=correct, error=most * 0.999)


def as_published(mu, *, canaries, correct, guesses, error):
    """The recursion as Meta's privacy_guard has it (`FDPAnalysisNode`), whether the hypothesis is rejected."""
    alpha, beta = error * correct / canaries, error * (guesses - correct) / canaries
    r, h = alpha, beta
    for i in range(correct - 1, -1, -1):
        grown = max(h, ndtr(ndtri(r) - mu))
        r, h = r + i / (guesses - i) * (grown - h), grown
    return r + h > guesses / canaries


@pytest.mark.parametrize(("canaries", "guesses"), [(1000, 800), (1000, 100), (400, 120)])
def test_it_rejects_where_the_published_implementation_does(canaries, guesses):
    differ = 0
    for mu in (0.3, 1.0, 2.0):
        for correct in range(guesses // 2, guesses + 1, max(1, guesses // 40)):
            known = {"canaries": canaries, "guesses": guesses, "correct": correct, "error": 0.05}
            ours, theirs = refutes(gaussian_curve(mu), **known), as_published(mu, **known)
            assert theirs or not ours
            differ += ours != theirs
    # Ours reads the curve from below, by its lines, which can matter at the edge alone.
    assert differ <= 2


def test_the_same_counts_are_worth_far_more_than_by_one_epsilon_and_delta():
    by_curve = max(
        mu
        for mu in np.arange(0.1, 3, 0.02)
        if refutes(gaussian_curve(float(mu)), canaries=400, guesses=100, correct=84, error=0.05)
    )
    steinke = epsilon_below(canaries=400, guesses=100, correct=84, delta=1e-5, error=0.05)
    assert gaussian_epsilon(by_curve, delta=1e-5) > 1.5 * steinke > 1.5


def wrong(scores_of, curve, *, canaries=200, times=150, error=0.2, seed=1):
    """How often a true curve is refuted."""
    generator = np.random.default_rng(seed)
    count = 0
    for _ in range(times):
        included = generator.random(canaries) < 0.5
        tried = guesses_of(scores_of(generator, included), included)
        count += any(
            refutes(curve, canaries=canaries, guesses=guesses, correct=correct, error=error * part)
            for guesses, correct, part in tried
        )
    return count


@pytest.mark.parametrize("mu", [0.5, 2.0])
def test_a_true_curve_is_refuted_no_more_often_than_the_confidence_says(mu):
    count = wrong(lambda g, included: mu * included + g.normal(size=len(included)), gaussian_curve(mu))
    assert stats.binomtest(count, 150, 0.2, alternative="greater").pvalue > 1e-7


def test_nor_is_that_of_randomised_response_or_of_one_coin_for_all():
    """Where all is lost with probability δ, guesses are as dependent as can be."""
    epsilon, delta = 1.0, 0.1
    below = delta + (1 - delta) * (np.exp(epsilon) - np.exp(READ_AT)) / (1 + np.exp(epsilon))
    deltas = np.where(epsilon >= READ_AT, below, delta)
    curve = Curve(epsilons=READ_AT, deltas=np.clip(deltas, delta, 1.0))

    def told(generator, included):
        if generator.random() < delta:
            return included + 0.0
        right = generator.random(len(included)) < np.exp(epsilon) / (1 + np.exp(epsilon))
        return np.where(right, included, ~included) + 0.1 * generator.random(len(included))

    assert stats.binomtest(wrong(told, curve), 150, 0.2, alternative="greater").pvalue > 1e-7


def test_more_right_guesses_refute_more_noise_and_the_epsilon_is_that_curve_s():
    generator = np.random.default_rng(4)
    included = generator.random(400) < 0.5
    scores = 2.0 * included + generator.normal(size=400)
    found = curve_bound(scores, included, ONE_RELEASE, delta=1e-5, confidence=0.95)
    assert found.noise > 1 and found.epsilon == pytest.approx(gaussian_epsilon(2.0 / found.noise, delta=1e-5), rel=1e-3)
    assert 4 < found.epsilon < gaussian_epsilon(2.0, delta=1e-5)
    less = curve_bound(scores - included, included, ONE_RELEASE, delta=1e-5, confidence=0.95)
    assert less.epsilon < found.epsilon and less.noise > found.noise


def test_scores_that_know_nothing_refute_nothing_and_a_run_with_half_its_noise_is_refuted():
    generator = np.random.default_rng(5)
    included = generator.random(400) < 0.5
    nothing = curve_bound(generator.normal(size=400), included, ONE_RELEASE, delta=1e-5, confidence=0.95)
    assert nothing.epsilon < 0.2 and nothing.noise > 10
    one = ((SubsampledGaussian(sampling_rate=1.0, noise_multiplier=1.0), 1),)
    twice = 2.0 * included + generator.normal(size=400)
    assert curve_bound(twice, included, one, delta=1e-5, confidence=0.95).noise < 1


def test_one_batch_that_is_used_in_every_step_is_refuted_by_many_canaries():
    """Few canaries show it: most that are included are never drawn, but those that are, are drawn in every step."""
    generator = np.random.default_rng(6)
    q, steps, z, count = 0.1, 24, 1.42, 5000
    composition = ((SubsampledGaussian(sampling_rate=q, noise_multiplier=z), steps),)
    included = generator.random(count) < 0.5

    def found(drawn):
        felt = (drawn & included[:, None]) / z + generator.normal(size=(count, steps))
        scores = np.log1p(q * np.expm1(felt / z - 0.5 / z**2)).sum(1)
        return curve_bound(scores, included, composition, delta=1e-5, confidence=0.95).noise

    assert found(generator.random((count, steps)) < q) > 1
    assert found(np.repeat(generator.random((count, 1)) < q, steps, axis=1)) < 1
