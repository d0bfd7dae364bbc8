"""The steered σ_noise: up where images of a class become alike, else down, by released quantities alone."""

import inspect
from types import SimpleNamespace

import pytest
import torch

from privgen.errors import ConfigError
from privgen.methods.gan.networks import NetworkConfig
from privgen.methods.gan.steered_noise import LEAST, MOST, SteeredNoise
from privgen.training.loop import run

LABELS = torch.zeros(8, dtype=torch.long)


def pairs(apart):
    """Pairs of images, each `apart` from its partner."""
    return torch.cat([torch.zeros(4, 1, 2, 2), torch.full((4, 1, 2, 2), apart)])


def generator(mixture=None):
    """What the rule asks of a generator: whether there is a mixture, its images, and a σ to set."""
    seen = []
    return SimpleNamespace(
        config=SimpleNamespace(mixture_clusters=0 if mixture is None else 2),
        mixture=lambda z, labels: mixture,
        set_noise=seen.append,
        seen=seen,
    )


def looked(rule, made, images):
    rule.look_at(made, images, torch.zeros(8, 2), LABELS)
    return rule.sigma


def test_it_falls_while_images_are_as_far_apart_as_ever_and_rises_when_they_become_alike():
    rule, made = SteeredNoise(0.1), generator()
    assert looked(rule, made, pairs(1.0)) == pytest.approx(0.1 / 1.02)
    assert looked(rule, made, pairs(0.85)) == pytest.approx(0.1 / 1.02**2)
    assert looked(rule, made, pairs(0.75)) == pytest.approx(0.1 / 1.02)
    assert made.seen[-1] == rule.sigma and len(made.seen) == 3


def test_with_a_warm_start_the_mixture_s_spread_is_the_measure_and_not_their_own():
    rule, made = SteeredNoise(0.1), generator(mixture=pairs(1.0))
    assert looked(rule, made, pairs(0.5)) == pytest.approx(0.1 * 1.02)
    assert looked(rule, made, pairs(0.9)) == pytest.approx(0.1)


def test_it_stays_within_its_bounds():
    rule, made = SteeredNoise(0.1), generator()
    looked(rule, made, pairs(1.0))
    for _ in range(200):
        looked(rule, made, pairs(0.1))
    assert rule.sigma == MOST
    for _ in range(300):
        looked(rule, made, pairs(1.0))
    assert rule.sigma == LEAST


@pytest.mark.parametrize("warm", [0.0, 0.5])
def test_a_steered_noise_moves_in_a_run_comes_back_after_a_resume_and_is_released(lab, tmp_path, warm):
    config = lab.config(upsampling_noise=0.2, upsampling_noise_kind="steered", mixture_clusters=1)
    plan = lab.plan(warm_start=warm, spare_releases=0, iterations=8)
    with lab.begin(tmp_path / "run", plan=plan, config=config) as session:
        lab.stop_after(session, plan.warm_steps + 4)
        before = session.state.learner.networks.generator.noise_levels()
        steered = session.state.learner.steered.to_json()
    assert before != pytest.approx([0.2, 0.2]) and before == pytest.approx([steered["sigma"]] * 2)
    with lab.resume(tmp_path / "run") as session:
        assert session.state.learner.networks.generator.noise_levels() == before
        assert session.state.learner.steered.to_json() == steered
        list(run(session))
        assert session.state.learner.averaged.noise_levels() == pytest.approx([session.state.learner.steered.sigma] * 2)


def test_the_rule_is_handed_generated_images_and_no_record():
    assert list(inspect.signature(SteeredNoise.look_at).parameters) == ["self", "generator", "images", "z", "labels"]


def test_a_steered_noise_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="steered"):
        NetworkConfig(image_shape=(1, 28, 28), classes=2, upsampling_noise=0.0, upsampling_noise_kind="steered")
