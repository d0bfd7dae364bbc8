"""The warm start attacked: honest statistics hold, and each planted fault is seen in the class that it is in."""

from dataclasses import replace

import pytest
import torch

from planners import plan
from privgen.attacks import warm_start
from privgen.attacks.empirical import CONFIDENCE
from privgen.attacks.warm_start import audit_warm_start
from privgen.attacks.worlds import seeded_coins
from privgen.catalogue import METHODS
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.methods.class_mixture.mixture import ClassMixture
from privgen.methods.class_mixture.statistics import MixtureStatistics

SMALL = {"epsilon": 5.0, "delta": 1e-5, "dataset_size": 2000, "sampling_rate": 0.05, "iterations": 8}


def planned(**changes):
    return plan(**SMALL, warm_start=0.5, **changes)


@pytest.fixture
def small(monkeypatch):
    """A mixture of few numbers, so that many trials take no time."""

    def tiny(plan):
        mixture = ClassMixture(
            image_shape=(1, 16, 16), classes=2, clusters=2, frequencies=3, latent_dim=3,
            components=plan.warm_start.components,
        )  # fmt: skip
        return MixtureStatistics(mixture, plan.warm_start, torch.Generator().manual_seed(0))

    monkeypatch.setattr(warm_start, "_statistics", tiny)


def attacked(made=None, trials=300):
    """Findings at δ = 0.01: the two classes', and the whole run's."""
    found = audit_warm_start(
        made or planned(), trials=trials, confidence=CONFIDENCE, noise=ExactGaussian.insecure_fixed_seed(3),
        coins=seeded_coins(3),
    )  # fmt: skip
    return [finding for finding in found if finding.lower.delta == 0.01]


@pytest.mark.parametrize("neighbouring", ["add-or-remove-one", "replace-one"])
def test_honest_statistics_hold_and_a_white_image_moves_them_as_far_as_is_charged(small, neighbouring):
    from accountant.budget import Neighbouring

    first, second, whole = attacked(planned(neighbouring=Neighbouring(neighbouring)))
    assert first.holds and second.holds and whole.holds
    assert "the whole run" in whole.what and whole.certified > first.certified
    # Under replace-one a black and a white image are not opposite, so that they move it by √2 and not by 2.
    assert (0.999 if neighbouring == "add-or-remove-one" else 0.5) < first.moved <= 1


def test_what_is_shown_grows_with_the_privacy_that_is_spent(small):
    weak = plan(**{**SMALL, "epsilon": 40.0}, warm_start=0.9)
    assert attacked()[0].lower.epsilon < attacked(weak)[0].lower.epsilon


def without_noise(monkeypatch, where):
    """Where a released number is left as it was."""
    honest = warm_start.gaussian

    def forgetful(sums, **options):
        noised = honest(sums, **options)
        for part, tensors in noised.items():
            for name, value in tensors.items():
                where(value, sums[part][name], name)
        return noised

    monkeypatch.setattr(warm_start, "gaussian", forgetful)


def one_class(value, exact, name):
    if value.shape[1] > 1:  # directions are of all classes together
        value[:, 1] = exact[:, 1]


def counts(value, exact, name):
    if name in ("sums", "diagonal"):
        value[..., -1] = exact[..., -1]


def test_a_class_whose_statistics_have_no_noise_is_seen_in_that_class(small, monkeypatch):
    without_noise(monkeypatch, one_class)
    first, second, _ = attacked()
    assert first.holds and not second.holds


def test_counts_that_are_exact_are_seen_in_every_class_and_in_the_whole_run(small, monkeypatch):
    without_noise(monkeypatch, counts)
    assert not any(finding.holds for finding in attacked())


def test_a_clip_norm_that_is_taken_from_the_data_is_seen(small, monkeypatch):
    honest = MixtureStatistics.sums

    def by_the_longest(self, release, records, *, grid_step):
        return honest(self, replace(release, clip_norm=1.0), records, grid_step=grid_step)

    monkeypatch.setattr(MixtureStatistics, "sums", by_the_longest)
    found = attacked()
    assert not any(finding.holds for finding in found) and found[0].moved > 1.5


def test_half_the_noise_on_statistics_is_seen(small, monkeypatch):
    honest = ExactGaussian.floored
    monkeypatch.setattr(ExactGaussian, "floored", lambda self, shape, *, std: honest(self, shape, std=std / 3))
    made = plan(**{**SMALL, "epsilon": 3.0}, warm_start=0.9)
    assert not all(finding.holds for finding in attacked(made, trials=3000))


@pytest.mark.parametrize("method", ["gan", "diffusion"])
def test_every_method_with_statistics_is_attacked_through_its_own(method):
    made = planned(method=METHODS[method].planned)
    found = attacked(made, trials=30)
    assert len(found) == 3 and all(finding.holds for finding in found)


def test_a_plan_without_a_warm_start_has_nothing_to_attack():
    assert audit_warm_start(plan(**SMALL, warm_start=0.0), confidence=0.9, noise=ExactGaussian()) == ()
