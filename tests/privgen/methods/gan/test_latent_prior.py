"""Latent priors: their values and moments, that they come back from what is released, and where they are refused."""

import json

import numpy as np
import pytest
import torch

from privgen import load_generator
from privgen.errors import ConfigError
from privgen.methods.gan.networks import NetworkConfig, build_networks
from privgen.methods.gan.networks.latent_prior import LatentPrior
from privgen.methods.gan.settings import LATENT_PRIORS, GanSettings
from privgen.training.loop import run


def sampled(kind, count=20_000):
    torch.manual_seed(0)
    labels = torch.arange(count) % 3
    prior = LatentPrior(kind, classes=3, latent_dim=4)
    return prior, prior(torch.randn(count, 4), labels), labels


@pytest.mark.parametrize("kind", LATENT_PRIORS)
def test_each_number_of_a_latent_vector_has_a_mean_square_of_one(kind):
    _, z, _ = sampled(kind)
    assert torch.allclose(z.square().mean(0), torch.ones(4), atol=0.05)


def test_a_bernoulli_vector_is_of_signs_and_never_of_zeros():
    _, z, _ = sampled("bernoulli")
    assert set(z.unique().tolist()) == {-1.0, 1.0} and z.mean(0).abs().max() < 0.03
    assert LatentPrior("bernoulli", classes=1, latent_dim=2)(torch.zeros(1, 2), torch.zeros(1, dtype=torch.long)).all()


def test_a_class_conditional_vector_is_around_the_centre_of_its_class():
    prior, z, labels = sampled("class-conditional")
    for label in range(3):
        mean = z[labels == label].mean(0)
        assert torch.allclose(mean, 2 * prior.centres[label] / 5**0.5, atol=0.03)
        assert torch.allclose(z[labels == label].std(0), torch.full((4,), 5**-0.5), atol=0.03)


def test_a_mixture_is_around_all_its_centres_whatever_the_label():
    prior, z, labels = sampled("mixture")
    nearest = torch.cdist(z, 2 * prior.centres / 5**0.5).argmin(1)
    distinct = len(prior.centres.unique(dim=0))
    for label in range(3):
        assert len(nearest[labels == label].unique()) == distinct > 3


def test_a_gaussian_prior_changes_nothing():
    torch.manual_seed(0)
    generator = build_networks(
        NetworkConfig(preset="tiny", image_shape=(1, 16, 16), classes=3, latent_dim=8, upsampling_noise=0.0)
    ).generator
    z, labels = torch.randn(3, 8), torch.arange(3)
    assert torch.equal(generator(z, labels), generator.decode(z, labels))
    assert not any("prior" in name for name in generator.state_dict())


def test_a_run_with_a_prior_releases_it_and_images_are_made_by_it(lab, tmp_path):
    with lab.begin(tmp_path / "run", config=lab.config(latent_prior="class-conditional")) as session:
        lab.stop_after(session, 2)
        stopped = session.state.learner.networks.generator.state_dict()
    with lab.resume(tmp_path / "run") as session:
        resumed = session.state.learner.networks.generator.state_dict()
        assert all(torch.equal(stopped[name], resumed[name]) for name in stopped)
        list(run(session))
        averaged = session.state.learner.averaged.state_dict()
    about = json.loads((tmp_path / "run" / "release" / "generator.json").read_bytes())
    assert about["network"]["latent_prior"] == "class-conditional"
    loaded = load_generator(tmp_path / "run")
    assert all(torch.equal(value, averaged[name]) for name, value in loaded.sampler.generator.state_dict().items())
    assert not np.array_equal(loaded(6, seed=1), loaded(6, seed=2))


def test_a_release_from_before_there_were_priors_is_gaussian():
    written = NetworkConfig(image_shape=(1, 28, 28), classes=10).to_json()
    del written["latent_prior"]
    assert NetworkConfig.from_json(written).latent_prior == "gaussian"


def test_an_unknown_prior_and_one_under_a_warm_start_are_refused():
    with pytest.raises(ConfigError, match="latent_prior='cauchy'"):
        GanSettings(latent_prior="cauchy")
    with pytest.raises(ConfigError, match="warm start"):
        NetworkConfig(image_shape=(1, 28, 28), classes=2, mixture_clusters=2, latent_prior="bernoulli")
