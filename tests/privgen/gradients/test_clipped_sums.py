"""Private sums are exactly the weighted sums of per-record gradients, whatever the layers and the cutting."""

import math
import warnings

import pytest
import torch
from torch import nn

from privgen.errors import ConfigError, UnsupportedLayer
from privgen.gradients import clipped_sums, graph_checks
from privgen.methods.gan.networks import NetworkConfig, build_networks

UNIT = 2.0**-24


def weighting(norms):
    return (1.0 / norms.clamp_min(1.0)), torch.ones_like(norms)


def of_one(loss):
    """A loss of one record, without a batch dimension, from one that is written for a batch."""
    return lambda *record: loss(*(t[None] for t in record))[0]


def private_sums(module, loss, batch, weights, **options):
    """The sums in floats: integers times their unit."""

    def in_units(norms):
        return tuple(w.double() / UNIT for w in weights(norms))

    found = clipped_sums.private_sums(module, of_one(loss), batch, in_units, **options)
    for sums in found.sums:
        assert all(torch.equal(t, t.round()) for t in sums.values())
    sums = tuple({name: (t * UNIT).float() for name, t in sums.items()} for sums in found.sums)
    return clipped_sums.Sums(found.norms, sums, found.nonfinite)


def one_by_one(module, loss, batch):
    """Per-record gradients by the plainest way there is: a backward pass for each record."""
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    rows = []
    for i in range(len(batch[0])):
        total = loss(*(t[i : i + 1] for t in batch)).sum()
        gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
        filled = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters.values(), gradients, strict=True)]
        rows.append(dict(zip(parameters, filled, strict=True)))
    return rows


def assert_exact(module, loss, batch, **options):
    found = private_sums(module, loss, batch, weighting, **options)
    rows = one_by_one(module, loss, batch)
    norms = torch.tensor(
        [math.sqrt(sum(float(g.double().square().sum()) for g in row.values())) for row in rows], dtype=torch.float64
    )
    assert torch.allclose(found.norms, norms, rtol=1e-4)
    # Two ways of rounding: that no norm is below what is summed is held in test_random_networks, exactly.
    assert (found.norms >= norms * (1 - 1e-6)).all()
    for weights, sums in zip(weighting(norms), found.sums, strict=True):
        for name in rows[0]:
            exact = sum(w * row[name] for w, row in zip(weights, rows, strict=True))
            assert torch.allclose(sums[name], exact, rtol=1e-3, atol=1e-5 * (1 + float(exact.abs().max()))), name


LAYERS = {
    "linear": (nn.Linear(6, 4), (6,)),
    "linear without bias": (nn.Linear(6, 4, bias=False), (6,)),
    "linear over positions": (nn.Linear(6, 4), (5, 6)),
    "few positions, many channels": (nn.Conv2d(16, 32, 3), (16, 4, 4)),
    "many positions, few channels": (nn.Conv2d(2, 3, 3, padding=1), (2, 12, 12)),
    "strided, dilated": (nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(2, 1)), (3, 11, 9)),
    "few positions, strided, dilated": (
        nn.Conv2d(16, 48, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(2, 1)),
        (16, 7, 3),
    ),
    "few positions, a rest at the edge": (nn.Conv2d(16, 48, 3, stride=2), (16, 6, 6)),
    "few positions, transposed": (nn.ConvTranspose2d(48, 16, 3, stride=2, output_padding=1), (48, 2, 2)),
    "transposed": (nn.ConvTranspose2d(3, 5, 4, stride=2, padding=1), (3, 6, 6)),
    "transposed with output padding": (nn.ConvTranspose2d(3, 5, 3, stride=2, output_padding=1), (3, 5, 5)),
    "group norm": (nn.GroupNorm(2, 6), (6, 5, 5)),
    "layer norm": (nn.LayerNorm((4, 5)), (3, 4, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_is_exact(name):
    torch.manual_seed(0)
    layer, shape = LAYERS[name]
    x = torch.randn(7, *shape)
    assert_exact(layer, lambda v: (layer(v) ** 2).flatten(1).sum(1) + layer(v).flatten(1)[:, 0], (x,))


def test_embedding_is_exact():
    layer = nn.Embedding(5, 4)
    tokens = torch.tensor([[0, 0, 1], [4, 2, 4], [3, 3, 3]])
    assert_exact(layer, lambda t: (layer(t).sum(1) ** 3).sum(1), (tokens,))


def test_a_layer_that_is_called_twice_counts_its_cross_terms():
    layer = nn.Linear(4, 4)
    x = torch.randn(6, 4)
    assert_exact(layer, lambda v: layer(torch.tanh(layer(v))).square().sum(1), (x,))


def test_an_activation_in_place_changes_no_gradient():
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 3), nn.SiLU(inplace=True))
    assert_exact(net, lambda v: net(v).square().sum(1), (torch.randn(6, 4),))


def test_an_input_that_is_changed_in_place_is_refused():
    net = nn.Linear(4, 4)

    def loss(v):
        h = v * 2
        out = net(h)
        h.zero_()
        return out.sum(1)

    with pytest.raises(ConfigError, match="in place"):
        private_sums(net, loss, (torch.randn(3, 4),), weighting)


def test_frozen_parameters_take_no_part():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    net[0].weight.requires_grad_(False)
    x = torch.randn(5, 3)
    found = private_sums(net, lambda v: net(v).sum(1), (x,), weighting)
    assert "0.weight" not in found.sums[0]
    assert_exact(net, lambda v: net(v).sum(1), (x,))


@pytest.mark.parametrize("part", ["critic", "classifier", "reconstruction"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_every_network_is_exact(part, shape):
    torch.manual_seed(1)
    networks = build_networks(
        NetworkConfig(preset="tiny", image_shape=shape, classes=3, latent_dim=4, upsampling_noise=0.0)
    )
    x, fake, y, z = torch.randn(4, *shape), torch.randn(4, *shape), torch.tensor([0, 1, 2, 1]), torch.randn(4, 4)
    if part == "critic":
        critic = networks.critic

        def loss(real, made, labels):
            scores = critic(torch.cat([real, made]), torch.cat([labels, labels]))
            return torch.relu(1 - scores[: len(real)]) + torch.relu(1 + scores[len(real) :])

        assert_exact(critic, loss, (x, fake, y))
    elif part == "classifier":
        net = networks.classifier
        assert_exact(net, lambda v, t: nn.functional.cross_entropy(net(v), t, reduction="none"), (x, y))
    else:
        both = nn.ModuleDict({"encoder": networks.encoder, "generator": networks.generator})

        def rebuilt(v, t, e):
            mean, log_variance = networks.encoder(v, t)
            made = networks.generator(mean + e * torch.exp(log_variance / 2), t)
            return (made - v).square().flatten(1).sum(1)

        assert_exact(both, rebuilt, (x, y, z))


@pytest.mark.parametrize("physical", [1, 3, 8])
def test_physical_batches_change_nothing(physical):
    net = build_networks(NetworkConfig(preset="tiny", image_shape=(1, 28, 28), classes=2)).classifier
    x, y = torch.randn(8, 1, 28, 28), torch.randint(2, (8,))

    def loss(v, t):
        return nn.functional.cross_entropy(net(v), t, reduction="none")

    whole = private_sums(net, loss, (x, y), weighting)
    cut = private_sums(net, loss, (x, y), weighting, physical_batch=physical)
    assert torch.allclose(whole.norms, cut.norms, rtol=1e-5)
    for a, b in zip(whole.sums, cut.sums, strict=True):
        assert all(torch.allclose(a[n], b[n], atol=1e-5) for n in a)


def test_agrees_with_opacus():
    from opacus.grad_sample import GradSampleModule

    torch.manual_seed(2)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))
    x, y = torch.randn(9, 1, 8, 8), torch.randint(3, (9,))
    found = private_sums(net, lambda v, t: nn.functional.cross_entropy(net(v), t, reduction="none"), (x, y), weighting)
    wrapped = GradSampleModule(net, loss_reduction="sum")
    nn.functional.cross_entropy(wrapped(x), y, reduction="sum").backward()
    squares = sum(p.grad_sample.flatten(1).square().sum(1) for p in net.parameters())
    assert torch.allclose(found.norms, squares.sqrt().double(), rtol=1e-4)
    for name, p in net.named_parameters():
        assert torch.allclose(found.sums[1][name], p.grad_sample.sum(0), atol=1e-4), name


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_record_without_a_finite_gradient_contributes_nothing(bad):
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
    x = torch.randn(5, 3)
    poisoned = x.clone()
    poisoned[2] = bad
    found = private_sums(net, lambda v: net(v).square().sum(1), (poisoned,), weighting)
    rest = private_sums(net, lambda v: net(v).square().sum(1), (x[[0, 1, 3, 4]],), weighting)
    assert found.nonfinite == 1
    assert float(found.norms[2]) == 0.0
    for a, b in zip(found.sums, rest.sums, strict=True):
        assert all(torch.allclose(a[n], b[n], atol=1e-6) for n in a)


def test_an_empty_batch_is_zero_sums():
    net = nn.Linear(3, 2)
    found = private_sums(net, lambda v: net(v).sum(1), (torch.zeros(0, 3),), weighting)
    assert len(found.norms) == 0
    assert all(float(t.abs().sum()) == 0 and t.shape == dict(net.named_parameters())[n].shape
               for sums in found.sums for n, t in sums.items())  # fmt: skip


@pytest.mark.parametrize("layer", [nn.BatchNorm2d(2), nn.BatchNorm2d(2, affine=False), nn.SyncBatchNorm(2)])
def test_layers_that_mix_records_are_refused(layer):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), layer)
    with pytest.raises(UnsupportedLayer, match="mix the records"):
        private_sums(net, lambda v: net(v).flatten(1).sum(1), (torch.randn(3, 1, 5, 5),), weighting)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_refused(dtype):
    net = nn.Linear(3, 2).to(dtype)
    with pytest.raises(ConfigError, match="half precision"):
        private_sums(net, lambda v: net(v).sum(1), (torch.randn(2, 3, dtype=dtype),), weighting)


OTHERS = {
    "grouped": lambda: (nn.Conv2d(4, 4, 3, groups=2), (4, 6, 6)),
    "unknown": lambda: (nn.Sequential(nn.PReLU(3), nn.Linear(3, 2)), (3,)),
    "weight norm": lambda: (nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), (4,)),
    "old spectral norm": lambda: (nn.utils.spectral_norm(nn.Linear(4, 3)), (4,)),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_layers_go_to_torch_func_say_so_once_and_are_exact(kind):
    torch.manual_seed(3)
    net, shape = OTHERS[kind]()
    x = torch.randn(3, *shape)
    buffers = {name: t.clone() for name, t in net.named_buffers()}
    graph_checks._warned.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first = private_sums(net, lambda v: net(v).square().flatten(1).sum(1), (x,), weighting)
        private_sums(net, lambda v: net(v).square().flatten(1).sum(1), (x,), weighting, physical_batch=1)
    assert sum("torch.func" in str(w.message) for w in caught) == 1
    assert all(torch.equal(t, buffers[name]) for name, t in net.named_buffers())
    assert_exact(net.eval(), lambda v: net(v).square().flatten(1).sum(1), (x,))
    again = private_sums(net, lambda v: net(v).square().flatten(1).sum(1), (x,), weighting)
    assert torch.allclose(first.norms, again.norms)


def test_torch_func_serves_shared_modules_and_parameters_and_puts_everything_back():
    """torch's own exchange of parameters leaves a module that has two names with dead tensors."""
    torch.manual_seed(5)
    twice, tied = nn.Linear(3, 3), nn.Linear(3, 3)
    tied.weight = twice.weight
    net = nn.Sequential(nn.PReLU(3), twice, nn.PReLU(3), twice, tied)
    before = dict(net.named_parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_exact(net, lambda v: net(v).square().sum(1), (torch.randn(4, 3),))
    assert all(p is before[name] and (p * 2).requires_grad for name, p in net.named_parameters())


def test_what_torch_func_cannot_run_is_refused_with_a_reason():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.slope = nn.PReLU(3)

        def forward(self, x):
            return self.slope(x) if x.sum() > 0 else x

    net = Branching()
    with pytest.warns(UserWarning), pytest.raises(UnsupportedLayer, match=r"torch\.func cannot"):
        private_sums(net, lambda v: net(v).sum(1), (torch.randn(4, 3),), weighting)


def test_a_parameter_that_is_used_besides_its_layer_is_seen_and_exact():
    """Its layer's calls do not tell of the other use: the fast way would sum something else."""
    torch.manual_seed(4)
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 4))

    def loss(v):
        return nn.functional.linear(net(v), net[0].weight).square().sum(1)

    with pytest.warns(UserWarning, match="used outside"):
        assert_exact(net, loss, (torch.randn(5, 4),))


class Centred(nn.Module):
    def forward(self, x):
        return x - x.mean(0)


def softmax_over_records(v):
    return torch.softmax(v, 0)


@pytest.mark.parametrize("mixing", [Centred(), softmax_over_records], ids=["batch mean", "softmax over the batch"])
def test_records_cannot_mix_in_a_function(mixing):
    """What computes over dimension 0 of a record's own row sees that record alone."""
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    x = torch.randn(6, 3)

    def sums(batch):
        return private_sums(net, lambda v: net[1](mixing(net[0](v))).square().sum(1), (batch,), weighting).sums

    apart = [sums(x[i : i + 1]) for i in range(6)]
    for k, together in enumerate(sums(x)):
        for name, total in together.items():
            assert torch.allclose(total, sum(one[k][name] for one in apart), atol=1e-6)


def test_a_record_that_overflows_is_not_taken_for_mixing():
    net = nn.Sequential(nn.Linear(3, 4), nn.GroupNorm(2, 4), nn.Linear(4, 2))
    x = torch.randn(6, 3)
    x[5] = math.inf
    assert private_sums(net, lambda v: net(v).square().sum(1), (x,), weighting).nonfinite == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_inside_the_loss_is_refused(dtype):
    net = nn.Linear(3, 2)

    def loss(v):
        with torch.autocast("cpu", dtype=dtype):
            return net(v).float().sum(1)

    with pytest.raises(ConfigError, match="autocast"):
        private_sums(net, loss, (torch.randn(4, 3),), weighting)


def test_no_buffer_tells_how_many_records_there_were():
    """Power iteration in the private pass would go once a physical batch, and not at all for an empty one."""
    net = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)).train()
    before = {name: t.clone() for name, t in net.named_buffers()}
    for count in (0, 1, 5):
        private_sums(net, lambda v: net(v).sum(1), (torch.randn(count, 4),), weighting, physical_batch=2)
        assert all(torch.equal(t, before[name]) for name, t in net.named_buffers())
    net(torch.randn(2, 4))
    assert any(not torch.equal(t, before[name]) for name, t in net.named_buffers()), "free passes still move it"


def test_a_loss_that_is_not_one_value_a_record_is_refused():
    net = nn.Linear(3, 2)
    with pytest.raises(ConfigError, match="one loss a record"):
        private_sums(net, lambda v: net(v), (torch.randn(4, 3),), weighting)


def test_several_rows_of_one_record_count_as_one():
    net = nn.Linear(3, 2)
    assert_exact(net, lambda v: net(torch.cat([v, 2 * v])).square().sum()[None], (torch.randn(4, 3),))
