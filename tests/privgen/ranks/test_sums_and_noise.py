"""What ranks do to sums and noise: integers are added up without a remainder, and each coordinate is noised once."""

import numpy as np
import pytest
import torch

from accountant import Budget, BudgetGuard, SubsampledGaussian
from accountant.plans.parts import Part
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.ranks import ALONE, ProcessRanks
from privgen.mechanism.release import gaussian
from privgen.mechanism.sampling import assign_groups, assign_shards

SALT = bytes(range(16))
# Odd lengths, and names that a slice's end cuts through.
SHAPES = {"a": (3, 5), "b": (7,), "c": (1,)}
PARTS = tuple(Part(name=name, clip_norm=clip, noise_multiplier=2.0) for name, clip in (("one", 1.0), ("two", 3.0)))
EVENT = SubsampledGaussian(sampling_rate=0.1, noise_multiplier=1.0)


class Counting(ExactGaussian):
    """Noise of one in each coordinate, which remembers how many it gave and with what deviation."""

    def __init__(self):
        super().__init__()
        self.given = []

    def floored(self, shape, *, std):
        self.given.append((int(np.prod(shape)), std))
        return np.ones(shape, dtype=np.int64)


def sums_of(rank, size):
    """The rank's share of sums that are large enough for float64 to lose their last bit."""
    whole = {name: 2**52 + torch.arange(int(np.prod(shape))) for name, shape in SHAPES.items()}
    return {
        part.name: {
            name: (total // size + (total % size if rank == 0 else 0)).view(SHAPES[name])
            for name, total in whole.items()
        }
        for part in PARTS
    }


def released(ranks, noise):
    receipt = BudgetGuard(Budget(epsilon=1e6, delta=0.5)).admit(EVENT)
    sums = sums_of(ranks.rank, ranks.size)
    out = gaussian(sums, parts=PARTS, bands=1, receipt=receipt, noise=noise, ranks=ranks)
    return {(part, name): value.tolist() for part, tensors in out.items() for name, value in tensors.items()}


@pytest.mark.parametrize("size", [2, 3])
def test_any_number_of_ranks_releases_the_integers_of_one_with_noise_once_in_each_coordinate(ranks, size):
    def work(world):
        noise = Counting()
        return released(world.ranks, noise), noise.given

    alone = Counting()
    expected = released(ALONE, alone)
    found = ranks(size, work)
    assert [out for out, _ in found] == [expected] * size
    # Together they drew each coordinate of each part once, with that part's deviation.
    drawn = {std: sum(n for _, given in found for n, own in given if own == std) for std in {s for _, s in alone.given}}
    assert drawn == {std: sum(n for n, own in alone.given if own == std) for std in drawn}
    assert all(given for _, given in found)


@pytest.mark.parametrize("size", [2, 3])
def test_a_rank_that_adds_noise_of_its_own_would_be_seen(ranks, size, monkeypatch):
    """The bug of a second copy: every rank adds noise to the whole sum, and slices of it are added up."""
    from privgen.mechanism import release

    def work(world):
        plain = release._noised

        def twice(sums, parts, bands, noise, counted_twice, ranks):
            own = {p: {n: v + torch.from_numpy(noise.floored(v.shape, std=1.0)) for n, v in t.items()}
                   for p, t in sums.items()}  # fmt: skip
            return plain(own, parts, bands, noise, counted_twice, ranks)

        monkeypatch.setattr(release, "_noised", twice)
        return released(world.ranks, Counting())

    expected = released(ALONE, Counting())
    for out in ranks(size, work):
        assert out[("one", "b")] == [value + size for value in expected[("one", "b")]]


def test_noise_of_slices_has_the_charged_deviation(ranks):
    def work(world):
        receipt = BudgetGuard(Budget(epsilon=1e6, delta=0.5)).admit(EVENT)
        zeros = {part.name: {"w": torch.zeros(30_000, dtype=torch.int64)} for part in PARTS}
        out = gaussian(zeros, parts=PARTS, bands=1, receipt=receipt, noise=ExactGaussian(), ranks=world.ranks)
        return {name: tensors["w"].numpy() for name, tensors in out.items()}

    found = ranks(2, work)
    for part in PARTS:
        first, second = (out[part.name] for out in found)
        assert np.array_equal(first, second)
        for half in (first[:15_000], first[15_000:]):
            assert np.std(half) == pytest.approx(part.noise_on_grid(1), rel=0.03)
        assert abs(np.corrcoef(first[:15_000], first[15_000:])[0, 1]) < 0.05


def test_the_largest_sum_that_a_plan_allows_is_exact_in_every_order(ranks):
    """Below 2^53 with what is fed back: partial sums of either sign stay in int64, and lose no bit."""

    def work(world):
        sign = 1 if world.ranks.rank % 2 else -1
        own = torch.tensor([sign * (2**53 - 1), 2**53 - world.ranks.rank, 1])
        return world.ranks.added(own).tolist(), world.ranks.whole(world.ranks.slice_of_sum(own), 3).tolist()

    size = 3
    expected = [-(2**53 - 1), size * 2**53 - 3, size]
    assert ranks(size, work) == [(expected, expected)] * size


def test_messages_of_any_length_come_to_all_ranks(ranks):
    def work(world):
        own = b"x" * world.ranks.rank
        return world.ranks.exchanged(own), world.ranks.from_first(b"first" if world.leads else b"")

    assert ranks(3, work) == [([b"", b"x", b"xx"], b"first")] * 3


def test_who_has_left_is_told_so(ranks):
    def work(world):
        world.ranks.leave()
        return world.ranks.added(torch.tensor([1])).tolist()

    for found in ranks(2, work):
        assert found.kind == "RankLost"
        assert "has left the others" in found.text


def ids(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 16), dtype=np.uint8)


def test_a_records_shard_depends_on_its_identity_alone():
    every = ids(4000)
    shards = assign_shards(every, shards=3, salt=SALT)
    order = np.random.default_rng(1).permutation(4000)
    assert np.array_equal(assign_shards(every[order], shards=3, salt=SALT), shards[order])
    assert np.array_equal(assign_shards(every[1:], shards=3, salt=SALT), shards[1:])
    sizes = np.bincount(shards, minlength=3)
    assert sizes.sum() == 4000
    assert np.all(np.abs(sizes - 4000 / 3) < 5 * np.sqrt(4000 * 2 / 9))
    assert not np.array_equal(assign_shards(every, shards=3, salt=bytes(16)), shards)


def test_shards_by_position_move_others_when_a_record_goes():
    """The bug: record i to rank i mod W. Whoever stands behind the one that goes changes rank, so it changes coins."""
    shards = np.arange(4000) % 3
    assert not np.array_equal(np.arange(3999) % 3, shards[1:])


def test_shards_say_nothing_of_groups():
    every = ids(6000)
    shards, groups = assign_shards(every, shards=2, salt=SALT), assign_groups(every, bands=3, salt=SALT)
    table = np.array([[np.sum((shards == s) & (groups == g)) for g in range(3)] for s in range(2)])
    assert np.all(np.abs(table - 1000) < 5 * np.sqrt(1000))


def test_process_ranks_are_ranks():
    assert issubclass(ProcessRanks, type(ALONE))
