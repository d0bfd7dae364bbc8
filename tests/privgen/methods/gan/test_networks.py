"""The four networks: their shapes, the noise that the generator injects, and that no layer mixes records."""

import pytest
import torch
from torch import nn

from privgen.errors import ConfigError
from privgen.methods.gan.networks import NetworkConfig, UpsamplingNoise, build_networks

SHAPES = [(1, 28, 28), (3, 28, 28), (1, 32, 32), (3, 32, 32)]
LABELS = torch.tensor([0, 3, 1, 1, 2])


def networks(shape=(1, 28, 28), **changes):
    torch.manual_seed(0)
    config = {"preset": "tiny", "image_shape": shape, "classes": 4, "latent_dim": 8, **changes}
    return build_networks(NetworkConfig(**config))


def images(shape, count=5):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("preset", ["tiny", "small", "paper"])
@pytest.mark.parametrize("shape", [*SHAPES, (3, 64, 64)], ids=str)
def test_every_network_has_the_shape_that_was_asked_for(shape, preset):
    net = networks(shape, preset=preset)
    x = images(shape)
    generated = net.generator(torch.randn(5, 8), LABELS)
    assert generated.shape == (5, *shape)
    assert generated.abs().max() <= 1
    assert net.critic(x, LABELS).shape == (5,)
    assert net.classifier(x).shape == (5, 4)
    assert [t.shape for t in net.encoder(x, LABELS)] == [(5, 8), (5, 8)]


@pytest.mark.parametrize("shape", [(2, 28, 28), (1, 28, 32), (1, 30, 30), (1, 8, 8), (3, 256, 256)], ids=str)
def test_an_image_shape_that_cannot_be_made_is_refused(shape):
    with pytest.raises(ConfigError, match="image_shape"):
        NetworkConfig(image_shape=shape, classes=2)


def called(name, net, inputs):
    x, z, labels = inputs
    return {
        "generator": lambda: net.generator(z, labels),
        "critic": lambda: net.critic(x, labels),
        "spectral critic": lambda: net.critic(x, labels),
        "classifier": lambda: net.classifier(x),
        "encoder": lambda: torch.cat(net.encoder(x, labels), 1),
    }[name]()


@pytest.mark.parametrize("name", ["generator", "critic", "spectral critic", "classifier", "encoder"])
@pytest.mark.parametrize("preset", ["tiny", "small", "paper"])
@pytest.mark.parametrize("shape", [*SHAPES, (3, 64, 64)], ids=str)
def test_a_records_output_depends_on_no_other_record_of_the_batch(name, preset, shape):
    net = networks(shape, preset=preset, upsampling_noise=0.0, critic_spectral_norm=name.startswith("spectral"))
    x, z = images(shape), torch.randn(5, 8, generator=torch.Generator().manual_seed(2))
    together = called(name, net, (x, z, LABELS))
    x2, z2, labels2 = x * 100, z + 50, (LABELS + 1) % 4
    for row in range(5):
        alone = called(name, net, (x[row : row + 1], z[row : row + 1], LABELS[row : row + 1]))
        assert torch.allclose(together[row], alone[0], atol=1e-5)
        others = [t.clone() for t in (x2, z2, labels2)]
        for changed, own in zip(others, (x, z, LABELS), strict=True):
            changed[row] = own[row]
        assert torch.allclose(together[row], called(name, net, others)[row], atol=1e-5)


@pytest.mark.parametrize("preset", ["tiny", "small", "paper"])
def test_there_is_no_batch_normalisation_and_no_running_statistic(preset):
    net = networks(preset=preset)
    for module in (net.generator, net.critic, net.classifier, net.encoder):
        kinds = {type(layer) for layer in module.modules()}
        assert not any(issubclass(kind, nn.modules.batchnorm._NormBase) for kind in kinds)
        assert not list(module.buffers())


def spectral(**changes):
    return networks(critic_spectral_norm=True, **changes).critic


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64)], ids=str)
def test_every_weight_of_a_spectrally_normalised_critic_has_norm_one_and_nothing_undoes_it(shape):
    critic = spectral(shape=shape)
    for _ in range(60):
        critic.update_spectral_norms()
    layers = [layer for layer in critic.modules() if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding)]
    assert len(layers) == 5
    for layer in layers:
        assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2)) == pytest.approx(1.0, abs=0.02)
    assert not any(isinstance(layer, nn.GroupNorm) for layer in critic.modules())


def test_a_forward_pass_moves_no_power_iteration_in_whatever_mode():
    """Else the critic's state would tell how often it was called, and so how large a batch was."""
    critic = spectral()
    before = {name: buffer.clone() for name, buffer in critic.named_buffers()}
    assert len(before) == 10
    for model in (critic, critic.train(), critic.requires_grad_(True)):
        model(images((1, 28, 28)), LABELS).sum().backward()
    assert all(torch.equal(buffer, before[name]) for name, buffer in critic.named_buffers())
    with torch.no_grad():
        critic.score.parametrizations.weight.original.mul_(2.0).add_(0.1)
    critic.update_spectral_norms()
    assert not torch.equal(
        critic.score.parametrizations.weight[0]._u, before["score.parametrizations.weight.0._u"]
    ) or (not torch.equal(critic.score.parametrizations.weight[0]._v, before["score.parametrizations.weight.0._v"]))


def test_without_upsampling_noise_the_generator_is_deterministic_and_with_it_not():
    z = torch.randn(5, 8)
    still, noisy = networks(upsampling_noise=0.0).generator, networks(upsampling_noise=0.1).generator
    assert torch.equal(still(z, LABELS), still(z, LABELS))
    assert not torch.equal(noisy(z, LABELS), noisy(z, LABELS))
    same = [noisy(z, LABELS, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*same)


@pytest.mark.parametrize("kind", ["fixed", "scheduled", "learned"])
def test_noise_has_the_deviation_that_was_asked_for(kind):
    added = UpsamplingNoise(0.1, kind)(torch.ones(100, 10, 32, 32), torch.Generator().manual_seed(0)) - 1
    assert abs(float(added.std()) - 0.1) < 1e-3
    assert abs(float(added.mean())) < 1e-3


def test_a_scheduled_noise_is_linear_and_a_fixed_or_learned_one_ignores_the_schedule():
    net = networks(upsampling_noise=0.2, upsampling_noise_kind="scheduled", upsampling_noise_end=0.1).generator
    seen = []
    for progress in (0.0, 0.5, 1.0, 1.5):
        net.schedule_noise(progress)
        seen.append(net.noise_levels())
    expected = [[level] * 2 for level in (0.2, 0.15, 0.1, 0.1)]  # past the plan's end it stays
    assert seen == [pytest.approx(levels) for levels in expected]
    for kind in ("fixed", "learned"):
        other = networks(upsampling_noise=0.2, upsampling_noise_kind=kind, upsampling_noise_end=0.1).generator
        other.schedule_noise(1.0)
        assert other.noise_levels() == pytest.approx([0.2, 0.2])


def test_a_schedule_to_zero_ends_in_a_generator_without_noise():
    net = networks(upsampling_noise=0.2, upsampling_noise_kind="scheduled").generator
    z = torch.randn(5, 8)
    assert not torch.equal(net(z, LABELS), net(z, LABELS))
    net.schedule_noise(1.0)
    assert torch.equal(net(z, LABELS), net(z, LABELS))


def test_a_learned_noise_takes_a_gradient_in_its_context_alone():
    """Everything private reads requires_grad, so outside it no record can reach σ."""
    net = networks(upsampling_noise_kind="learned").generator
    z = torch.randn(5, 8)
    levels = [block.noise.raw for block in net.blocks]
    assert not any(level.requires_grad for level in levels)
    with net.learning_noise():
        gradients = torch.autograd.grad(net(z, LABELS).square().sum(), levels)
    assert all(float(gradient.abs()) > 0 for gradient in gradients)
    assert not any(level.requires_grad for level in levels)


@pytest.mark.parametrize(
    "wrong",
    [
        {"upsampling_noise_kind": "random"},
        {"upsampling_noise_kind": "learned", "upsampling_noise": 0.0},
        {"upsampling_noise_end": -0.1},
        {"upsampling_noise": float("nan")},
    ],
)
def test_a_noise_that_cannot_be_is_refused(wrong):
    with pytest.raises(ConfigError, match="upsampling_noise"):
        networks(**wrong)


@pytest.mark.parametrize(("height", "upsamplings"), [(28, 2), (32, 2), (64, 3)])
def test_noise_comes_after_each_upsampling_and_before_the_activation(monkeypatch, height, upsamplings):
    """The order in which one block calls them: upsample, noise, norm, activation."""
    from privgen.methods.gan.networks import generator as module

    order = []
    upsample, activate = module.functional.interpolate, module.functional.silu
    monkeypatch.setattr(module.functional, "interpolate", lambda x, **k: order.append("up") or upsample(x, **k))
    monkeypatch.setattr(module.functional, "silu", lambda x: order.append("act") or activate(x))
    net = networks((1, height, height), upsampling_noise=0.1).generator
    seen = []
    for layer in net.modules():
        if isinstance(layer, UpsamplingNoise):
            layer.register_forward_hook(
                lambda _, given, out: seen.append((out - given[0]).detach()) or order.append("noise")
            )
    net(torch.randn(5, 8), LABELS)
    # A block: act, conv, up, noise, act, conv, and the skip's up; at the end the image's act.
    assert order == ["act", "up", "noise", "act", "up"] * upsamplings + ["act"]
    assert [tuple(added.shape[2:]) for added in seen] == [(height >> k,) * 2 for k in range(upsamplings)][::-1]
    assert all(abs(float(added.std()) - 0.1) < 0.02 for added in seen)
