"""On random networks of every supported layer the private sums are those of torch.func and of Opacus."""

import copy
import warnings
from fractions import Fraction

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from privgen.gradients import clipped_sums, written
from privgen.gradients.spectral_norm import for_parameters

CLASSES = 3


class Net(nn.Module):
    """Convolutions, transposed ones, normalisation, a class embedding, a linear layer over positions, a head."""

    def __init__(self, choices):
        super().__init__()
        self.body = nn.ModuleList(choices["body"])
        width = choices["width"]
        self.label = nn.Embedding(CLASSES, width)
        self.over_positions = nn.Linear(width, width)
        self.layer_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 2)

    def forward(self, x, labels):
        for layer in self.body:
            x = torch.tanh(layer(x))
        h = x.flatten(2).transpose(1, 2)  # (n, positions, width)
        h = self.layer_norm(torch.tanh(self.over_positions(h)) + self.label(labels)[:, None])
        return self.head(h.mean(1) * self.label(labels)).square().sum(1)


@st.composite
def networks(draw, with_opacus=False):
    """A network in double precision, its input's shape, and how many records."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    channels = first = draw(st.integers(1, 3))
    body, size = [], draw(st.integers(6, 8))
    height = size
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["conv", "conv", "group norm"] + ([] if with_opacus else ["transposed", "again"])))
        kernel, stride, padding = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(0, 1))
        dilation, out = draw(st.integers(1, 2)), draw(st.sampled_from([2, 4, 6]))
        bias = draw(st.booleans())
        if kind == "conv" and height + 2 * padding > dilation * (kernel - 1):
            body.append(nn.Conv2d(channels, out, kernel, stride, padding, dilation, bias=bias))
            height = (height + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            channels = out
        elif kind == "transposed" and height * stride + kernel < 16 and (height - 1) * stride + kernel > 2 * padding:
            body.append(nn.ConvTranspose2d(channels, out, kernel, stride, padding, bias=bias))
            height = (height - 1) * stride - 2 * padding + kernel
            channels = out
        elif kind == "group norm" and height > 1:  # torch refuses groups of one value
            body.append(nn.GroupNorm(1 if channels % 2 else 2, channels))
        elif kind == "again" and body and isinstance(body[-1], nn.GroupNorm):
            body.append(body[-1])
    net = Net({"body": body, "width": channels}).double()
    if not with_opacus:
        _normalise_share_and_freeze(draw, net)
    return net, (first, size, size), draw(st.integers(1, 5))


def _normalise_share_and_freeze(draw, net):
    layers = [*dict.fromkeys(net.body), net.label, net.over_positions, net.layer_norm, net.head]
    for layer in layers:
        if draw(st.integers(0, 2)) == 0 and not hasattr(layer, "parametrizations"):
            spectral_norm(layer)
    if draw(st.booleans()) and not hasattr(net.over_positions, "parametrizations"):
        again = nn.Linear(net.over_positions.in_features, net.over_positions.out_features).double()
        again.weight, again.bias = net.over_positions.weight, net.over_positions.bias
        net.over_positions = nn.Sequential(net.over_positions, nn.Tanh(), again)
    everything = list(net.parameters())
    if draw(st.booleans()):
        everything[draw(st.integers(0, len(everything) - 1))].requires_grad_(False)


def by_torch_func(net, x, y):
    """(records, *shape) for each trainable parameter."""
    net.eval()
    # A copy: functional_call leaves its values behind in a module that has two names (torch 2.14).
    net = copy.deepcopy(net)
    parameters = {name: p.detach() for name, p in net.named_parameters() if p.requires_grad}

    def one(values, image, label):
        return functional_call(net, values, (image[None], label[None]))[0]

    return vmap(grad(one), in_dims=(None, 0, 0))(parameters, x, y)


def for_normalised_weights(net, x, y):
    """The same, where a spectral-normalised parameter counts as the normalised weight; record by record."""
    net.eval()
    made, handles = {}, []
    for path, part in net.named_modules():
        if isinstance(part, parametrize.ParametrizationList):
            name = f"{path}.original"
            handles.append(part.register_forward_hook(lambda _, __, out, name=name: made[name].append(out)))
            made[name] = []
    plain = {n: p for n, p in net.named_parameters() if p.requires_grad}
    rows = {name: [] for name in plain}
    for i in range(len(x)):
        for seen in made.values():
            seen.clear()
        loss = net(x[i : i + 1], y[i : i + 1])[0]
        for name, parameter in plain.items():
            uses = made.get(name, [parameter])
            found = torch.autograd.grad(loss, uses, retain_graph=True, allow_unused=True) if uses else ()
            rows[name].append(sum((g for g in found if g is not None), torch.zeros_like(parameter)))
    for handle in handles:
        handle.remove()
    return {name: torch.stack(each) for name, each in rows.items()}


def batch_of(shape, records):
    return torch.randn(records, *shape).double(), torch.randint(CLASSES, (records,))


UNIT = 2.0**-60  # far below float32, so that cutting to integers hides nothing


def weighting(norms):
    return 2 + torch.sin(norms), 1 / (1 + norms)


def private_sums(module, loss, batch, weights, **options):
    """The sums in floats: integers times their unit."""

    def in_units(norms):
        return tuple(w.double() / UNIT for w in weights(norms))

    def of_one(v, t):
        return loss(v[None], t[None])[0]

    found = clipped_sums.private_sums(module, of_one, batch, in_units, **options)
    return clipped_sums.Sums(found.norms, tuple({n: t * UNIT for n, t in s.items()} for s in found.sums), 0)


def assert_same(found, gradients):
    squares = sum(g.flatten(1).square().sum(1) for g in gradients.values())
    assert torch.allclose(found.norms, squares.sqrt(), rtol=1e-6, atol=1e-12)
    for weights, sums in zip(weighting(squares.sqrt()), found.sums, strict=True):
        assert set(sums) == set(gradients)
        for name, rows in gradients.items():
            exact = torch.tensordot(weights, rows, dims=1)
            scale = torch.tensordot(weights.abs(), rows.abs(), dims=1)
            assert ((sums[name] - exact).abs() <= 1e-6 * scale + 1e-12).all(), name


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=networks(), kept=st.sampled_from([0, 1 << 12, 1 << 25]))
def test_equal_to_torch_func(drawn, kept):
    """In double precision, where a mistake cannot hide in rounding; kept between the readings, or written twice."""
    net, shape, records = drawn
    x, y = batch_of(shape, records)
    expected = for_normalised_weights(net, x, y)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")  # none of these may need the slow way
        patch.setattr(written, "_KEPT", kept)
        patch.setattr(written, "_SLICE", 1 << 10)
        assert_same(private_sums(net, net, (x, y), weighting), expected)
        cut = private_sums(net, net, (x, y), lambda n: (torch.ones_like(n),), physical_batch=2).sums[0]
    behind = for_parameters(net, cut)
    for name, rows in by_torch_func(net, x, y).items():
        assert (
            (behind[name] - rows.sum(0)).abs() <= 1e-6 * rows.abs().sum(0) + 1e-5 * behind[name].abs().max() + 1e-12
        ).all()
    for name, rows in expected.items():
        assert ((cut[name] - rows.sum(0)).abs() <= 1e-6 * rows.abs().sum(0) + 1e-12).all()


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=networks(with_opacus=True))
def test_equal_to_opacus(drawn):
    from opacus.grad_sample import GradSampleModule

    net, shape, records = drawn
    x, y = batch_of(shape, records)
    found = private_sums(net, net, (x, y), weighting)
    wrapped = GradSampleModule(net, loss_reduction="sum")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped(x, y).sum().backward()
    # A layer that is called twice leaves a list.
    assert_same(found, {name: summed(p.grad_sample) for name, p in net.named_parameters()})


def summed(samples):
    return sum(samples) if isinstance(samples, list) else samples


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=networks(), scale=st.sampled_from([1e-4, 1.0, 1e4]))
def test_the_norm_is_never_smaller_than_that_of_what_is_summed(drawn, scale):
    """In single precision, record by record: a weighting of 0s and a single 1 gives what the record adds, here whole.

    Squares and sums in fractions: there is no rounding to hide behind.
    """
    net, shape, records = drawn
    net = net.float()
    x, y = batch_of(shape, records)

    def loss(v, t):
        return net(v, t) * scale

    found = private_sums(
        net, loss, (x.float(), y), lambda n: tuple(torch.eye(max(len(n), records))[:records, : len(n)])
    )
    for norm, sums in zip(found.norms, found.sums, strict=True):
        added = sum(Fraction(float(number)) ** 2 for t in sums.values() for number in t.flatten())
        assert added <= Fraction(float(norm)) ** 2
