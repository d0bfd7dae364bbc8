"""Before the network has learned, sampling gives the mixture's own images."""

from __future__ import annotations

import itertools

import torch

from privgen.methods.class_mixture.mixture import cosine_basis
from privgen.methods.diffusion.floor import public_floor
from privgen.methods.diffusion.sampler import noise_levels, sample


def test_of_the_mixture_alone_it_has_the_mixtures_mean_and_covariance(make_denoiser):
    denoiser = make_denoiser(frequencies=2, rank=2, clusters=2, spread=0.08)
    mixture, n = denoiser.mixture, 2500
    labels = torch.ones(n, dtype=torch.int64)
    images = sample(denoiser, torch.randn(n, 3), labels, torch.randn(n, 1, 16, 16))
    basis = cosine_basis(16, 16).float()
    code = (basis @ (images + 1) @ basis.T)[:, 0, :2, :2].flatten(1)
    weights, centres = mixture.weights[1], mixture.scale * mixture.centres[1]
    factors = mixture.scale * mixture.factors[1]
    mean = weights @ centres
    kept, _ = public_floor(16, 2)
    within = (weights[:, None, None] * (factors @ factors.mT)).sum(0) + kept * torch.eye(4)
    between = ((weights[:, None] * (centres - mean)).T) @ (centres - mean)
    wanted = within + between
    scale = wanted.diagonal().sqrt()
    assert bool(((code.mean(0) - mean).abs() < 0.08 * scale).all())
    assert bool(((code.T.cov() - wanted).abs() < 0.11 * scale[:, None] * scale).all())


def test_of_the_mixture_alone_its_high_frequencies_have_the_floors_variance(make_denoiser):
    denoiser = make_denoiser()
    images = sample(denoiser, torch.randn(500, 3), torch.zeros(500, dtype=torch.int64), torch.randn(500, 1, 16, 16))
    basis = cosine_basis(16, 16).float()
    code = (basis @ (images + 1) @ basis.T)[:, 0]
    _, floor = public_floor(16, 2)
    ratio = code.var(0)[2:, 2:] / floor[2:, 2:]
    assert 0.85 < float(ratio.mean()) < 1.1


def test_an_image_depends_on_its_own_numbers_alone(make_denoiser):
    denoiser = make_denoiser()
    torch.nn.init.normal_(denoiser.network.leave.weight, std=0.1)
    z, labels, normal = torch.randn(4, 3), torch.tensor([0, 1, 0, 1]), torch.randn(4, 1, 16, 16)
    together = sample(denoiser, z, labels, normal)
    alone = sample(denoiser, z[2:3], labels[2:3], normal[2:3])
    assert torch.allclose(together[2:3], alone, atol=1e-4)


def test_noise_levels_fall_from_the_largest_to_the_smallest():
    levels = noise_levels(13, largest=3.0, smallest=0.02)
    assert len(levels) == 13
    assert all(after < before for before, after in itertools.pairwise(levels))
    assert (round(levels[0], 9), round(levels[-1], 9)) == (3.0, 0.02)
