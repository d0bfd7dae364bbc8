"""The denoiser's loss is one record's, its gradients are fast for every layer, and it begins as the mixture's own."""

from __future__ import annotations

import pytest
import torch

from privgen.errors import ConfigError
from privgen.gradients import passes
from privgen.gradients.passes import record_pass
from privgen.gradients.row_check import check_rows
from privgen.gradients.vmap import gradients_by_torch_func
from privgen.methods.diffusion.config import PRESETS, DenoiserConfig

SHAPES = [(1, 28, 28), (3, 32, 32), (1, 64, 64), (3, 64, 64), (1, 20, 20)]


def learned(denoiser):
    """With a last layer that is not zero, so that every parameter has a gradient."""
    torch.nn.init.normal_(denoiser.network.leave.weight, std=0.1)
    return denoiser


def records(count, draws, shape, classes=2):
    return (
        torch.rand(count, *shape) * 2 - 1, torch.arange(count) % classes, torch.randn(count, draws, *shape),
        torch.exp(-1.2 + 1.2 * torch.randn(count, draws)),
    )  # fmt: skip


def test_it_begins_as_the_mixtures_ideal_denoiser(make_denoiser):
    denoiser = make_denoiser()
    x, sigma, labels = torch.randn(3, 1, 16, 16), torch.tensor([0.1, 0.5, 2.0]), torch.tensor([0, 1, 1])
    assert torch.equal(denoiser(x, sigma, labels), denoiser.ideal(x[:, None], sigma[:, None], labels)[:, 0])


def test_the_loss_is_the_weighted_error_of_the_denoised_image(make_denoiser):
    denoiser = learned(make_denoiser())
    x, labels, normal, sigma = records(1, 3, (1, 16, 16))
    found = denoiser.loss(x[0], labels[0], normal[0], sigma[0])
    noisy = x + sigma[0, :, None, None, None] * normal[0]
    error = denoiser(noisy, sigma[0], labels.expand(3)) - x
    c_out = sigma[0] * 0.33 / (sigma[0] ** 2 + 0.33**2).sqrt()
    assert float(found.detach()) == pytest.approx(
        float((error.square().mean((1, 2, 3)) / c_out**2).mean().detach()), rel=1e-4
    )


def test_the_draws_of_a_record_are_one_loss_their_mean(make_denoiser):
    denoiser = learned(make_denoiser())
    x, labels, normal, sigma = records(1, 4, (1, 16, 16))
    whole = denoiser.loss(x[0], labels[0], normal[0], sigma[0])
    single = [denoiser.loss(x[0], labels[0], normal[0, k : k + 1], sigma[0, k : k + 1]) for k in range(4)]
    assert float(whole.detach()) == pytest.approx(float(torch.stack(single).mean().detach()), rel=1e-5)


@pytest.mark.parametrize("draws", [1, 2])
def test_per_record_gradients_are_those_of_one_record_at_a_time(make_denoiser, draws):
    denoiser = learned(make_denoiser())
    batch = records(3, draws, (1, 16, 16))
    made = record_pass(denoiser.network, denoiser.loss, batch)
    slow = gradients_by_torch_func(denoiser.network, denoiser.loss, batch)
    assert {gradient.name for gradient in made.gradients} == set(slow)
    as_shaped = {gradient.name: gradient.in_shape for gradient in made.gradients}
    for name, first, rows in made.rows():
        for record, row in enumerate(rows.clone(), start=first):
            wanted = slow[name][record]
            assert torch.allclose(as_shaped[name](row), wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
    norms = torch.stack([g.flatten(1).square().sum(1) for g in slow.values()]).sum(0).sqrt()
    assert torch.allclose(made.norms().float(), norms, rtol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_layer_has_the_fast_way(make_denoiser, monkeypatch, preset, shape):
    def slow(*_):
        raise AssertionError("the slow way was taken")

    monkeypatch.setattr(passes, "gradients_by_torch_func", slow)
    denoiser = learned(make_denoiser(preset=preset, shape=shape))
    made = record_pass(denoiser.network, denoiser.loss, records(2, 1, shape))
    assert len(made.gradients) == len(list(denoiser.network.parameters()))
    assert bool(torch.isfinite(made.norms()).all())


def test_a_record_has_the_same_bits_wherever_it_stands(make_denoiser):
    denoiser = learned(make_denoiser(shape=(1, 28, 28), frequencies=8, rank=15, clusters=2))

    def beside(size):
        source = torch.Generator().manual_seed(3)
        return torch.randn(size, 1, 1, 28, 28, generator=source), torch.rand(size, 1, generator=source) + 0.05

    like = (torch.zeros(0, 1, 28, 28), torch.zeros(0, dtype=torch.int64))
    assert check_rows(denoiser.network, denoiser.loss, like, physical_batch=32, beside=beside).fault is None


def test_only_the_network_has_anything_to_train(make_denoiser):
    denoiser = make_denoiser()
    assert {id(p) for p in denoiser.parameters()} == {id(p) for p in denoiser.network.parameters()}
    stored = set(denoiser.state_dict())
    assert {"mixture.centres", "mixture.factors", "mixture.weights"} <= stored
    assert not any(name.startswith("ideal.") for name in stored)


def test_every_class_has_an_embedding_and_the_label_reaches_the_network(make_denoiser):
    denoiser = learned(make_denoiser())
    given = torch.randn(1, 1, 16, 16).expand(2, -1, -1, -1)
    made = denoiser.network(given, given, torch.zeros(2), torch.tensor([0, 1]))
    assert not torch.allclose(made[0], made[1], atol=1e-4)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"preset": "paper"}, "one of: tiny, small, large"),
        ({"image_shape": (1, 30, 30)}, "resize the images"),
        ({"mixture_frequencies": 29}, "at most the height, 28"),
        ({"largest_sigma": 0.01}, "> smallest_sigma"),
        ({"sampling_steps": 0}, ">= 1"),
    ],
)
def test_settings_out_of_range_are_named(changed, told):
    with pytest.raises(ConfigError, match=told):
        DenoiserConfig(**({"image_shape": (1, 28, 28), "classes": 10} | changed))


def test_settings_come_back_from_json_and_unknown_ones_are_refused():
    config = DenoiserConfig(image_shape=(3, 32, 32), classes=4, preset="large")
    assert DenoiserConfig.from_json(config.to_json()) == config
    with pytest.raises(ConfigError, match="critic"):
        DenoiserConfig.from_json(config.to_json() | {"critic": 1})
