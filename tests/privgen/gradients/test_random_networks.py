"""On random networks of every supported layer the private sums are those of torch.func and of Opacus."""

import copy
import warnings

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn.utils.parametrizations import spectral_norm

from privgen.gradients import factors
from privgen.gradients.clipped_sums import private_sums

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
        elif kind == "group norm":
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


def batch_of(shape, records):
    return torch.randn(records, *shape).double(), torch.randint(CLASSES, (records,))


def weighting(norms):
    return torch.linspace(0.5, 1.5, len(norms), dtype=norms.dtype), 1 / (1 + norms)


def assert_same(found, gradients):
    squares = sum(g.flatten(1).square().sum(1) for g in gradients.values())
    assert torch.allclose(found.norms, squares.sqrt(), rtol=1e-7, atol=1e-12)
    for weights, sums in zip(weighting(found.norms), found.sums, strict=True):
        assert set(sums) == set(gradients)
        for name, rows in gradients.items():
            exact = torch.tensordot(weights, rows, dims=1)
            assert torch.allclose(sums[name], exact, rtol=1e-9, atol=1e-12), name


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=networks(), written_out=st.sampled_from([-(10**9), 18, 10**9]))
def test_equal_to_torch_func(drawn, written_out):
    """In double precision, where a mistake cannot hide in rounding; by Gram products, written out, or by cost."""
    net, shape, records = drawn
    x, y = batch_of(shape, records)
    expected = by_torch_func(net, x, y)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")  # none of these may need the slow way
        patch.setattr(factors, "_WRITE", written_out)
        patch.setattr(factors, "_SLICE", 1 << 10)
        assert_same(private_sums(net, net, (x, y), weighting), expected)
        cut = private_sums(net, net, (x, y), lambda n: (torch.ones_like(n),), physical_batch=2).sums[0]
    assert all(torch.allclose(cut[name], rows.sum(0), rtol=1e-9, atol=1e-12) for name, rows in expected.items())


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
@given(drawn=networks(), scale=st.sampled_from([1e-4, 1.0, 1e4]), written_out=st.sampled_from([-(10**9), 10**9]))
def test_the_norm_is_never_smaller_than_that_of_what_is_summed(drawn, scale, written_out):
    """In single precision, record by record: a weighting of 0s and a single 1 gives what the record adds."""
    net, shape, records = drawn
    net = net.float()
    x, y = batch_of(shape, records)

    def loss(v, t):
        return net(v, t) * scale

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(factors, "_WRITE", written_out)
        found = private_sums(net, loss, (x.float(), y), lambda n: tuple(torch.eye(records)[:, : len(n)]))
    for norm, sums in zip(found.norms, found.sums, strict=True):
        added = sum(float(t.double().square().sum()) for t in sums.values()) ** 0.5
        assert added <= float(norm) * (1 + 1e-7) + 1e-30
