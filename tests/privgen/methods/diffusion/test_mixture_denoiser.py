"""D_mix is the posterior mean of an image under the mixture, and its floor is a function of the images' size alone."""

from __future__ import annotations

import math

import pytest
import torch

from privgen.methods.class_mixture.mixture import cosine_basis
from privgen.methods.diffusion.floor import public_floor


def dense_posterior_mean(denoiser, x, sigma, label):
    """E[x | x_σ] by solving with the whole covariance of the pixels, cluster by cluster, in float64."""
    mixture, (channels, size, _) = denoiser.mixture, denoiser.config.image_shape
    kept = mixture.frequencies
    whole = torch.kron(torch.eye(channels).double(), torch.kron(*[cosine_basis(size, size)] * 2))  # (C·H·W, C·H·W)
    strength, floor = public_floor(size, kept)
    if mixture.directions:  # the public law, as strong as what was released
        floor = floor * float(mixture.rest) * mixture.scale**2 / strength
    places = torch.arange(channels * size * size).view(channels, size, size)[:, :kept, :kept].flatten()
    log_r, means = [], []
    for k in range(mixture.weights.shape[1]):
        mean = torch.zeros(channels * size * size, dtype=torch.float64)
        centre, factor = mixture.centres[label, k].double(), mixture.scale * mixture.factors[label, k].double()
        if mixture.directions:
            components = mixture.components.double()
            centre, factor = mixture.offsets[label].double() + components @ centre, components @ factor
        mean[places] = mixture.scale * centre
        covariance = torch.diag(floor.flatten().repeat(channels))
        covariance[places[:, None], places] += factor @ factor.T
        m, s = whole.T @ mean - 1, whole.T @ covariance @ whole
        noisy = s + sigma**2 * torch.eye(len(s), dtype=torch.float64)
        offset = x.flatten().double() - m
        solved = torch.linalg.solve(noisy, offset)
        means.append(m + s @ solved)
        log_r.append(
            mixture.weights[label, k].double().log() - 0.5 * (offset @ solved + torch.linalg.slogdet(noisy)[1])
        )
    r = torch.softmax(torch.stack(log_r), 0)
    return (r[:, None] * torch.stack(means)).sum(0).view(x.shape)


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 16, 16)])
@pytest.mark.parametrize("sigma", [0.02, 0.3, 3.0])
@pytest.mark.parametrize("components", [0, 5])
def test_it_is_what_solving_with_the_whole_covariance_gives(make_denoiser, shape, sigma, components):
    denoiser = make_denoiser(shape=shape, frequencies=3, rank=4, components=components)
    x = torch.randn(2, 2, *shape)
    found = denoiser.ideal(x, torch.full((2, 2), sigma), torch.tensor([1, 0]))
    for row, label in enumerate((1, 0)):
        for draw in range(2):
            wanted = dense_posterior_mean(denoiser, x[row, draw], sigma, label)
            assert torch.allclose(found[row, draw].double(), wanted, atol=2e-4)


def test_it_is_the_posterior_mean_integrated_numerically_in_one_dimension(make_denoiser):
    denoiser = make_denoiser(frequencies=1, rank=1, spread=0.1)
    mixture, sigma, size = denoiser.mixture, 1.7, 16
    kept, _ = public_floor(size, 1)
    means = mixture.scale * mixture.centres[0, :, 0].double() - size  # of the one coefficient, for an image in [−1, 1]
    variances = (mixture.scale * mixture.factors[0, :, 0, 0].double()).square() + kept
    at = torch.linspace(-40, 40, 400_001, dtype=torch.float64)
    prior = (
        mixture.weights[0].double() / variances.sqrt() * torch.exp(-((at[:, None] - means) ** 2) / (2 * variances))
    ).sum(1)
    for seen in (-12.0, -3.0, 4.0):
        posterior = prior * torch.exp(-((at - seen) ** 2) / (2 * sigma**2))
        wanted = float((at * posterior).sum() / posterior.sum())
        x = torch.full((1, 1, 1, size, size), seen / size)  # an image of that coefficient and of no other
        found = denoiser.ideal(x, torch.tensor([[sigma]]), torch.tensor([0]))
        assert float(found.sum() / size) == pytest.approx(wanted, abs=2e-4)


def test_without_noise_it_is_the_image_and_with_much_of_it_the_classes_mean(make_denoiser):
    denoiser = make_denoiser()
    x, label = torch.randn(1, 1, 1, 16, 16), torch.tensor([1])
    assert torch.allclose(denoiser.ideal(x, torch.tensor([[1e-4]]), label), x, atol=1e-4)
    mixture = denoiser.mixture
    code = (mixture.weights[1, :, None] * mixture.centres[1]).sum(0).view(1, 2, 2)
    mean = mixture.scale * (mixture.basis.T @ code @ mixture.basis) - 1
    assert torch.allclose(denoiser.ideal(x, torch.tensor([[1e4]]), label)[0, 0], mean, atol=1e-3)


def test_a_changed_mixture_changes_it_only_when_taken_up(make_denoiser):
    denoiser = make_denoiser()
    given = (torch.randn(1, 1, 1, 16, 16), torch.tensor([[1.0]]), torch.tensor([0]))
    before = denoiser.ideal(*given)
    denoiser.mixture.centres.add_(0.1)
    assert torch.equal(denoiser.ideal(*given), before)
    denoiser.take_up_mixture()
    assert not torch.allclose(denoiser.ideal(*given), before, atol=1e-2)


def test_an_unfilled_mixture_is_black_with_the_floors_variance(make_denoiser):
    denoiser = make_denoiser(spread=0.0)
    denoiser.mixture.centres.zero_()
    denoiser.take_up_mixture()
    x = denoiser.ideal.noised_sample(
        denoiser.mixture, torch.randn(4000, 3), torch.zeros(4000, dtype=torch.int64), torch.randn(4000, 1, 16, 16), 0.0
    )
    basis = cosine_basis(16, 16).float()
    code = basis @ (x + 1) @ basis.T
    _, floor = public_floor(16, 2)
    assert torch.allclose(code.square().mean((0, 1)).double(), floor, rtol=0.12)


@pytest.mark.parametrize(("size", "frequencies"), [(28, 16), (32, 8), (64, 16), (28, 28)])
def test_the_floor_is_positive_public_and_falls_with_frequency(size, frequencies):
    kept, floor = public_floor(size, frequencies)
    assert kept > 0
    assert bool((floor > 0).all())
    assert float(floor[0, 0]) == kept == float(floor[frequencies - 1, frequencies - 1])
    assert kept == pytest.approx(0.007 * size**2 / (1 + frequencies**2))
    outside = floor[0, frequencies:]
    assert bool((outside.diff() < 0).all())
    assert math.isfinite(float(floor.sum()))


def test_the_floors_law_is_that_of_photographs():
    photographs = pytest.importorskip("sklearn.datasets").load_sample_images().images
    basis = cosine_basis(28, 28)
    patches = torch.cat(
        [
            torch.from_numpy(image.mean(2) / 127.5 - 1)[:420, :616]
            .view(15, 28, 22, 28)
            .transpose(1, 2)
            .reshape(-1, 28, 28)
            for image in photographs
        ]
    )
    measured = (basis @ patches @ basis.T).var(0)
    _, floor = public_floor(28, 4)
    for low, high in ((4, 8), (8, 16), (16, 28)):
        ratio = measured[low:high, low:high].mean() / floor[low:high, low:high].mean()
        assert 1 / 3 < float(ratio) < 3
