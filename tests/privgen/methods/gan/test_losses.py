"""The losses: values that can be worked out by hand, one a record, and no mixing of records."""

import math

import pytest
import torch

from privgen.errors import ConfigError
from privgen.methods.gan import losses


def test_the_critic_losses_have_their_formulas():
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([-3.0, 0.5])
    assert losses.critic_loss("hinge", real, fake).tolist() == [0.0, 3.5]
    assert losses.critic_loss("wasserstein", real, fake).tolist() == [-5.0, 1.5]
    expected = [math.log1p(math.exp(-r)) + math.log1p(math.exp(f)) for r, f in ((2, -3), (-1, 0.5))]
    assert losses.critic_loss("non-saturating", real, fake).tolist() == pytest.approx(expected)


def test_the_generator_losses_have_their_formulas():
    fake = torch.tensor([-3.0, 0.5])
    assert losses.generator_loss("hinge", fake).tolist() == [3.0, -0.5]
    assert losses.generator_loss("non-saturating", fake).tolist() == pytest.approx(
        [math.log1p(math.exp(3)), math.log1p(math.exp(-0.5))]
    )


def test_an_unknown_loss_is_refused_by_name():
    with pytest.raises(ConfigError, match="hinge, wasserstein or non-saturating"):
        losses.critic_loss("least-squares", torch.zeros(1), torch.zeros(1))


def test_the_gradient_penalty_has_its_formula():
    """A linear critic of slope 3: (3 − 1)² everywhere, and its gradient points along the slope."""
    slope = torch.zeros(1, 4, 4)
    slope[0, 0, 0] = 3.0
    slope.requires_grad_(True)
    first, second = torch.randn(2, 5, 1, 4, 4)
    penalties = losses.gradient_penalty(lambda x: (x * slope).sum((1, 2, 3)), first, second, torch.rand(5))
    assert penalties.tolist() == pytest.approx([4.0] * 5)
    (gradient,) = torch.autograd.grad(penalties.mean(), slope)
    assert float(gradient[0, 0, 0]) == pytest.approx(4.0)  # d (s − 1)² / ds
    assert float(gradient.abs().sum()) == pytest.approx(4.0)


def test_the_gradient_penalty_looks_between_its_two_images_and_nowhere_else():
    seen = []
    first, second, mix = torch.zeros(3, 1, 2, 2), torch.ones(3, 1, 2, 2), torch.tensor([0.0, 0.25, 1.0])
    losses.gradient_penalty(lambda x: seen.append(x.detach()) or x.sum((1, 2, 3)), first, second, mix)
    (x,) = seen
    assert torch.allclose(x, (1 - mix).view(3, 1, 1, 1).expand_as(x))


def test_a_critic_without_slope_has_a_penalty_of_one_and_no_bad_gradient():
    weight = torch.zeros(1, requires_grad=True)
    images = torch.rand(2, 3, 1, 2, 2)
    penalties = losses.gradient_penalty(lambda x: (x * weight).sum((1, 2, 3)), *images, torch.rand(3))
    assert penalties.tolist() == pytest.approx([1.0] * 3, abs=1e-5)
    assert bool(torch.isfinite(torch.autograd.grad(penalties.sum(), weight)[0]).all())


def test_a_perfect_reconstruction_from_the_prior_costs_nothing():
    x, mean = torch.rand(3, 1, 4, 4), torch.zeros(3, 5)
    loss = losses.reconstruction_loss(x, x, mean, mean, reconstruction_weight=1.0, kl_weight=1.0)
    assert loss.tolist() == [0.0, 0.0, 0.0]


def test_reconstruction_and_divergence_have_their_weights():
    x, zero = torch.zeros(2, 1, 4, 4), torch.zeros(2, 5)
    off = losses.reconstruction_loss(x + 0.5, x, zero, zero, reconstruction_weight=2.0, kl_weight=3.0)
    assert off.tolist() == pytest.approx([0.5, 0.5])
    apart = losses.reconstruction_loss(x, x, zero + 2, zero, reconstruction_weight=2.0, kl_weight=3.0)
    assert apart.tolist() == pytest.approx([6.0, 6.0])  # ½ · 2² · 3


def test_each_value_is_of_its_own_record():
    real = torch.randn(4, requires_grad=True)
    losses.critic_loss("hinge", real, torch.zeros(4))[1].backward()
    assert [bool(g) for g in real.grad] == [False, bool(real[1] < 1), False, False]


def test_alike_images_cost_more():
    z = torch.randn(8, 3)
    some, same = torch.randn(8, 1, 4, 4), torch.zeros(8, 1, 4, 4)
    assert losses.diversity_loss(same, z) > 100 * losses.diversity_loss(some, z)
    twice = losses.diversity_loss(2 * some, z)
    assert float(twice) == pytest.approx(float(losses.diversity_loss(some, z)) / 2, rel=1e-3)
