"""Sums are the same integers in any order, in passes of any size, on any number of threads; and differ by one's own."""

import math
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from privgen.errors import ConfigError, UnsupportedLayer
from privgen.gradients import row_check
from privgen.gradients.clipped_sums import private_sums
from privgen.gradients.kernels import add_truncated, flushes_subnormals
from privgen.gradients.row_check import check_rows, safe_physical_batch
from privgen.mechanism.error_feedback import banded_weights
from privgen.methods.gan.networks import NetworkConfig, build_networks
from privgen.training.row_checks import require_deterministic

STEP = 2.0**-22


@pytest.fixture(scope="module")
def critic():
    torch.manual_seed(0)
    return build_networks(NetworkConfig(preset="tiny", image_shape=(1, 28, 28), classes=3)).critic


def batch_of(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 1, 28, 28, generator=generator), torch.arange(count) % 3


def loss_of(module):
    return lambda x, y: nn.functional.softplus(-module(x[None], y[None]))[0]


def integers(module, batch, **options):
    def weighting(norms):
        return banded_weights(norms, clip_norm=0.25, residual_clip_norm=0.75, bands=4, grid_step=STEP)

    return private_sums(module, loss_of(module), batch, weighting, **options)


def same(one, other):
    return all(torch.equal(a[n], b[n]) for a, b in zip(one.sums, other.sums, strict=True) for n in a)


def test_order_passes_and_threads_change_no_integer(critic):
    x, y = batch_of(50)
    whole = integers(critic, (x, y))
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    assert same(whole, integers(critic, (x[order], y[order])))
    for size in (64, 96):
        assert check_rows_of(critic, size).holds
        assert same(whole, integers(critic, (x, y), physical_batch=size))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2 if threads == 1 else 1)
        assert same(whole, integers(critic, (x, y)))
    finally:
        torch.set_num_threads(threads)


def check_rows_of(module, size):
    like = (torch.zeros(0, 1, 28, 28), torch.zeros(0, dtype=torch.int64))
    return check_rows(module, loss_of(module), like, physical_batch=size)


def test_where_the_check_holds_order_changes_no_integer_and_where_it_does_not_it_may(critic):
    """Softplus of seven losses is computed in two ways, by place, and seven is rounded up to 32 therefore."""
    x, y = batch_of(50)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    for size in (1, 2, 7, 40, 64, 128):
        equal = same(
            integers(critic, (x, y), physical_batch=size), integers(critic, (x[order], y[order]), physical_batch=size)
        )
        assert equal or not check_rows_of(critic, size).holds, size


@pytest.mark.parametrize("kind", ["ordinary", "huge", "tiny", "denormal", "NaN"])
@pytest.mark.parametrize("place", [0, 13, 30])
def test_neighbours_differ_by_the_record_s_own_vector_exactly(critic, kind, place):
    x, y = batch_of(30)
    own = batch_of(1, seed=9)[0] * {"huge": 1e20, "tiny": 1e-20, "denormal": 1e-42}.get(kind, 1.0)
    if kind == "NaN":
        own = own * math.nan
    label = torch.tensor([1])
    base, alone = integers(critic, (x, y)), integers(critic, (own, label))
    more = integers(critic, (torch.cat([x[:place], own, x[place:]]), torch.cat([y[:place], label, y[place:]])))
    for with_it, without, mine in zip(more.sums, base.sums, alone.sums, strict=True):
        for name in mine:
            assert torch.equal(with_it[name] - without[name], mine[name])
    bounds = ((0.25 / STEP) ** 2, (0.25 / STEP) ** 2)
    for mine, bound in zip(alone.sums, bounds, strict=True):
        assert sum(int(v) ** 2 for t in mine.values() for v in t.flatten().tolist()) <= bound
    if kind == "NaN":
        assert more.nonfinite == 1
        assert not any(bool(t.any()) for t in alone.sums[0].values())


def test_an_empty_batch_passes_once_as_others_do(critic):
    found = integers(critic, (torch.zeros(0, 1, 28, 28), torch.zeros(0, dtype=torch.int64)))
    assert len(found.norms) == 0
    assert not any(bool(t.any()) for sums in found.sums for t in sums.values())


class CountsCalls(nn.Module):
    """What it computes depends on how often it was called."""

    def __init__(self):
        super().__init__()
        self.inner, self.calls = nn.Linear(4, 1), 0

    def forward(self, x):
        self.calls += 1
        return self.inner(x) * (1 + 0.1 * self.calls)


def test_a_module_with_a_memory_is_refused_even_for_one_record_at_a_time():
    net = CountsCalls()
    with pytest.raises(UnsupportedLayer, match="passes alone"):
        safe_physical_batch(net, lambda x: net(x)[0], (torch.zeros(0, 4),), physical_batch=8)


def leaks_at(monkeypatch, fails):
    """Kernels that let neighbours change a row's last bits, on purpose, in passes of the sizes that `fails` names."""
    honest = row_check.record_pass

    def leaky(module, loss, records, workspace):
        found = honest(module, loss, records, workspace)
        for gradient in found.gradients if fails(found.records) else ():
            if gradient.name == "bias":
                gradient.gradients = gradient.gradients + 1e-7 * records[0].nan_to_num().abs().mean()
        return found

    monkeypatch.setattr(row_check, "record_pass", leaky)


@pytest.mark.parametrize(("asked", "bad", "taken"), [(64, {64}, 32), (32, {32}, 96), (64, {32, 64}, 96)])
def test_where_one_size_of_pass_fails_another_is_taken_before_records_pass_alone(monkeypatch, asked, bad, taken):
    """Two threads share 64 rows of a small network out so that bits move, 32 or 96 not; alone takes far longer."""
    net = nn.Linear(4, 1)
    leaks_at(monkeypatch, bad.__contains__)
    size, found = safe_physical_batch(net, lambda x: net(x)[0], (torch.zeros(0, 4),), physical_batch=asked)
    assert (size, found.physical_batch, found.holds) == (taken, asked, False)


def test_where_rows_of_a_pass_are_not_apart_records_pass_alone(monkeypatch):
    """Kernels that let neighbours change a row's last bits, here on purpose: the check sees it and finds a way."""
    net = nn.Linear(4, 1)
    leaks_at(monkeypatch, lambda records: records > 1)
    size, found = safe_physical_batch(net, lambda x: net(x)[0], (torch.zeros(0, 4),), physical_batch=8)
    assert size == 1
    assert not found.holds


def test_shapes_that_do_not_agree_are_no_memory_error():
    """Compiled loops look at no bounds: a weighting of another length once wrote beyond the sums."""
    rows, totals = torch.ones(3, 5), torch.zeros(1, 5, dtype=torch.float64)
    with pytest.raises(ValueError, match="agree"):
        add_truncated([(rows, torch.ones(2, 3, dtype=torch.float64), totals)])


def test_a_thread_that_flushes_subnormal_numbers_is_seen():
    """Set for one thread, as torch does it, it would make a row's bits depend on the thread that sums it."""
    assert not flushes_subnormals()
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush")
    try:
        assert flushes_subnormals()
        with pytest.raises(ConfigError, match="subnormal"):
            require_deterministic(torch.device("cpu"))
    finally:
        torch.set_flush_denormal(False)


_MIXED = """
import torch
torch.set_num_threads(2)
if not torch.set_flush_denormal(True):
    raise SystemExit(3)
torch.ones(1 << 20).sin()  # torch makes its threads, and they inherit it
torch.set_flush_denormal(False)
from privgen.gradients.kernels import flushes_subnormals
raise SystemExit(0 if flushes_subnormals() else 4)
"""


def test_one_of_torch_s_own_threads_that_flushes_is_seen():
    """Half of a large tensor was rounded otherwise than the other half, and sixty-four numbers did not show it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", _MIXED], env=environment, check=False)
    if done.returncode == 3:
        pytest.skip("this processor cannot flush")
    assert done.returncode == 0
