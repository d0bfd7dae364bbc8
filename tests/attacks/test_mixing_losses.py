"""Losses in which records mix: once they passed; now a loss sees one record, so that there is nothing to mix with.

What they once did, with C1 = 1: x − x.mean(0) moved the sum by 64 C1 through one record, a cumulative sum by 98.7,
buffers by 63, the position in the batch by 12.6, a dropout mask with a known seed by 8.6, a detached mean by 1.2; and
once one good loss had been seen, any loss was accepted. Each is written here for one record, which is all there is.
"""

import warnings

import pytest
import torch
from torch import nn

from privgen.errors import PrivgenError, UnsupportedLayer
from privgen.gradients.clipped_sums import private_sums
from privgen.gradients.row_check import check_rows, safe_physical_batch
from privgen.mechanism.error_feedback import clipped_weights

WIDTH = 8
STEP = 2.0**-20


def weighting(norms):
    return (clipped_weights(norms, clip_norm=1.0, grid_step=STEP),)


def net_of():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, 16), nn.Tanh(), nn.Linear(16, 1))


def most_that_a_record_moves(net, loss, count=40):
    """Squared, in grid steps, over places and records that are far off, ordinary, or all zeros."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, WIDTH, generator=generator)
    x[:, 0] += 0.3
    far = torch.zeros(1, WIDTH)
    far[0, 0] = 1e4

    def sums(batch):
        found = private_sums(net, loss, (batch,), weighting, physical_batch=16)
        return torch.cat([t.flatten() for t in found.sums[0].values()]).to(torch.int64)

    base, most = sums(x), 0
    for extra in (far, -far, 0 * far, x[:1]):
        for place in (0, 7, count):
            moved = sums(torch.cat([x[:place], extra, x[place:]])) - base
            most = max(most, sum(int(v) ** 2 for v in moved.tolist()))
    return most


def centred(net):
    return lambda x: net(x - x.mean(0))[0] ** 2


def standardised(net):
    return lambda x: net((x - x.mean(0)) / (x.std(0) + 1e-3))[0]


def detached_mean(net):
    return lambda x: ((out := net(x)[0]) - out.mean().detach()) ** 2


def summed_up(net):
    return lambda x: net(torch.cumsum(x, 0) / 10)[0]


def by_size(net):
    return lambda x: net(x)[0] * (1.0 if len(x) % 2 else -1.0)


def by_position(net):
    return lambda x: (net(x) * torch.cos(3.14159 * torch.arange(len(net(x)))))[0]


def against_the_neighbour(net):
    return lambda x: nn.functional.softplus(50 * (net(x.roll(1, 0)) - net(x)))[0]


def by_a_hook(net):
    net[0].register_forward_pre_hook(lambda _, inputs: (inputs[0] - inputs[0].median(0).values,))
    return lambda x: net(x)[0] ** 2


@pytest.mark.parametrize(
    "make",
    [centred, standardised, detached_mean, summed_up, by_size, by_position, against_the_neighbour, by_a_hook],
    ids=lambda make: make.__name__,
)
def test_whatever_a_loss_does_with_dimension_0_one_record_moves_one_clip_norm(make):
    net = net_of()
    assert most_that_a_record_moves(net, make(net)) <= (1 / STEP) ** 2


class RunningMean(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = net_of()
        self.register_buffer("mean", torch.zeros(WIDTH))

    def forward(self, x):
        with torch.no_grad():
            self.mean.lerp_(x, 0.5)
        return self.inner(x - self.mean)


def test_a_buffer_that_follows_the_records_is_refused():
    net = RunningMean()
    with pytest.raises(UnsupportedLayer, match="function of one record"):
        private_sums(net, lambda x: net(x)[0], (torch.randn(5, WIDTH),), weighting)
    assert not net.mean.any()


def test_dropout_is_refused_with_what_to_do_instead():
    """Its mask came from torch's own generator: to who knows the seed one record more shifted all others' masks."""
    net = nn.Sequential(nn.Linear(WIDTH, 16), nn.Dropout(0.9), nn.Linear(16, 1))
    with pytest.raises(UnsupportedLayer, match="random numbers in as tensors"):
        private_sums(net, lambda x: net(x)[0], (torch.randn(5, WIDTH),), weighting)


def test_a_gate_that_opens_later_has_nothing_to_let_in():
    """Mixing that a parameter switches on once the first, honest pass was seen."""
    net = net_of()

    def loss(x):
        hidden = torch.tanh(net[0](x))
        gate = torch.relu(net[0].bias.detach().sum() - 10)
        return net[2](hidden + gate * hidden.mean(0))[0] ** 2

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its bias is read outside its layer's call: the slow way
        assert most_that_a_record_moves(net, loss) <= (1 / STEP) ** 2
        with torch.no_grad():
            net[0].bias.fill_(0.0)
            net[0].bias[0] = 11.0
        assert most_that_a_record_moves(net, loss) <= (1 / STEP) ** 2


def test_a_loss_that_remembers_in_python_is_seen_by_the_row_check_and_refused():
    """Records of an earlier batch moved this one's sum: the one way that is left, and what looks at it."""
    net, kept = net_of(), {}

    def loss(x):
        before = kept.get("x")
        kept["x"] = x.detach() * 50
        return net(x if before is None else x - before)[0] ** 2

    like = (torch.zeros(0, WIDTH),)
    assert not check_rows(net, loss, like, physical_batch=8).holds
    with pytest.raises(PrivgenError):
        safe_physical_batch(net, loss, like, physical_batch=8)
