"""floor(N(0, std²)) to the last bit: its law, its decisions, and what happens where 64 bits do not decide.

docs/proofs/floored-gaussian.md is what these tests keep honest. Seeds are fixed, so nothing here is red by chance.
"""

import functools
import math
import re

import mpmath
import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import binom, chi2, kstwobign

from privgen.errors import ConfigError
from privgen.mechanism import floored_gaussian as module
from privgen.mechanism import normal_quantile
from privgen.mechanism.floored_gaussian import ExactGaussian, floored_gaussian, floors, floors_of_words
from privgen.mechanism.normal_tail import TailProbability, cell


def tail(z, digits=60):
    """Φ(−z) by mpmath, at any depth."""
    with mpmath.workdps(digits):
        return mpmath.erfc(mpmath.mpf(z) / mpmath.sqrt(2)) / 2


def boundary(k, std):
    """The 63-bit number whose interval holds Φ(−k/std), and how much of that interval lies below it."""
    with mpmath.workdps(60):
        exact = tail(mpmath.mpf(k) / mpmath.mpf(std)) * 2**64
        return int(exact), float(exact - int(exact))


def no_more():
    """For a p whose known bits should suffice."""
    raise AssertionError("bits were appended")


def bits_of(generator, count):
    return generator.integers(0, 2**64, count, dtype=np.uint64)


def source(seed):
    """A source of bits that is good enough for tests."""
    return functools.partial(bits_of, np.random.default_rng(seed))


def decided(words, *, std, table=None):
    """The floors that float64 decides, by index."""
    words, result = np.array(words, dtype=np.uint64), np.zeros(len(words), dtype=np.int64)
    open_at = set(floors_of_words(words, result, std=std, table=table).tolist())
    return {i: int(k) for i, k in enumerate(result) if i not in open_at}


def by_integers(word, *, std, append=no_more):
    """The floor that integer arithmetic decides for one word."""
    below = cell(TailProbability(int(word) >> 1, 64, append), std=std)
    return ~below if word & 1 else below


def words_at_boundaries(std, generator, count):
    """Words whose p is close to a multiple's Φ(−k/std): where a margin that is too small shows. Never met by chance."""
    words = []
    for _ in range(count):
        k = int(abs(generator.normal()) * std) + 1
        m, _ = boundary(k, std)
        for distance in (0, 1, 30, 300, 1000, 3000, 10**4, 10**6):
            words += [2 * (m + sign * distance) + int(generator.integers(2)) for sign in (-1, 1)]
    return words


def chi_square(counts, probabilities):
    """The p-value of Pearson's test. Cells expected below 20 join the smallest that is not, for the law to apply."""
    counts, expected = np.asarray(counts, dtype=float), np.asarray(probabilities, dtype=float) * np.sum(counts)
    small = expected < 20
    joined = np.flatnonzero(~small)[np.argmin(expected[~small])]
    for values in (counts, expected):
        values[joined] += values[small].sum()
    return chi2.sf(np.sum(((counts - expected) ** 2 / np.where(small, 1, expected))[~small]), np.sum(~small) - 1)


class TestLaw:
    """Ten million numbers at std = 1 234 567.875 against Φ."""

    STD, COUNT = 1234567.875, 10_000_000

    @pytest.fixture(scope="class")
    def draws(self):
        return np.sort(ExactGaussian.insecure_fixed_seed(1).floored(self.COUNT, std=self.STD))

    @staticmethod
    def kolmogorov(ordered, std):
        count = len(ordered)
        above, below = ndtr((ordered + 1.0) / std), ndtr(ordered / std)
        index = np.arange(count)
        distance = max(np.max((index + 1) / count - above), np.max(below - index / count))
        return kstwobign.sf(distance * math.sqrt(count))

    @staticmethod
    def pearson(ordered, std, bins=2000):
        edges = np.searchsorted(ordered, np.rint(std * np.linspace(-4, 4, bins)))
        cuts = ndtr(np.concatenate([[-np.inf], np.rint(std * np.linspace(-4, 4, bins)) / std, [np.inf]]))
        return chi_square(np.diff([0, *edges, len(ordered)]), np.diff(cuts))

    def test_kolmogorov_finds_no_difference(self, draws):
        assert self.kolmogorov(draws, self.STD) > 0.01

    def test_pearson_finds_no_difference_in_2001_cells(self, draws):
        assert self.pearson(draws, self.STD) > 0.01

    def test_both_find_a_standard_deviation_that_is_half_a_percent_off(self, draws):
        assert self.kolmogorov(draws, self.STD * 1.005) < 1e-6
        assert self.pearson(draws, self.STD * 1.005) < 1e-6

    def test_moments(self, draws):
        z = (draws + 0.5) / self.STD
        for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
            assert abs(np.mean(z**power) - expected) < 4 * math.sqrt(variance / self.COUNT), power

    def test_the_far_tail_has_what_it_should(self, draws):
        for z in (4.0, 4.5, 5.0):
            for seen in (np.sum(draws >= math.ceil(z * self.STD)), np.sum(draws < -math.ceil(z * self.STD))):
                expected = float(tail(z)) * self.COUNT
                assert abs(seen - expected) < 4.5 * math.sqrt(expected) + 1

    def test_neighbours_are_not_correlated(self):
        z = ExactGaussian.insecure_fixed_seed(2).floored(2_000_000, std=1000.0) / 1000
        for lag in (1, 2, 8, 1 << 16):
            assert abs(np.mean(z[lag:] * z[:-lag])) < 4 / math.sqrt(len(z))

    @pytest.mark.parametrize("std", [0.3, 0.7, 1.0, 2.5])
    def test_small_deviations_have_exactly_these_probabilities(self, std):
        drawn = ExactGaussian.insecure_fixed_seed(3).floored(2_000_000, std=std)
        cells = range(-30, 30)
        probabilities = [float(tail(-(k + 1) / std) - tail(-k / std)) for k in cells]
        counts = np.array([np.sum(drawn == k) for k in cells])
        assert counts.sum() == len(drawn)
        assert chi_square(counts, probabilities) > 0.01
        rounded = [float(tail(-(k + 0.5) / std) - tail(-(k - 0.5) / std)) for k in cells]
        assert chi_square(counts, rounded) < 1e-9

    def test_the_smallest_deviation_gives_a_sign(self):
        drawn = ExactGaussian.insecure_fixed_seed(4).floored(10_000, std=2.0**-20)
        assert set(np.unique(drawn)) == {-1, 0}

    def test_the_largest_deviation_is_decided_in_integers_and_has_the_law(self):
        drawn = np.sort(ExactGaussian.insecure_fixed_seed(5).floored(20_000, std=2.0**52))
        assert self.kolmogorov(drawn, 2.0**52) > 0.01
        assert len(np.unique(drawn % 64)) == 64  # low bits are there


class TestFastAgainstIntegers:
    """What float64 decides is what integer arithmetic decides."""

    @pytest.mark.parametrize("std", [2.0**-20, 0.7, 1.0, 1000.0, 2.0**20, 1234567.875, 2.0**36, 2.0**44])
    def test_random_words(self, std):
        words = bits_of(np.random.default_rng(11), 300)
        for i, k in decided(words, std=std).items():
            assert by_integers(int(words[i]), std=std) == k

    @pytest.mark.parametrize("octave", range(0, 29, 4))
    def test_words_of_every_octave(self, octave):
        words = bits_of(np.random.default_rng(octave), 60) >> np.uint64(octave)
        fast = decided(words, std=2.0**16 + 0.375)
        assert len(fast) > 40 or octave == 28
        for i, k in fast.items():
            assert by_integers(int(words[i]), std=2.0**16 + 0.375, append=lambda: 1 << 63) == k

    @pytest.mark.parametrize("std", [1.0, 2.5, 1000.0, 2.0**20, 1234567.875, 2.0**30])
    def test_words_at_the_boundaries_of_cells(self, std):
        words = words_at_boundaries(std, np.random.default_rng(12), 60)
        fast = decided(words, std=std)
        assert 0.3 < len(fast) / len(words) < 0.9  # close ones are left open, and others are not
        assert all(by_integers(words[i], std=std, append=lambda: 1 << 63) == k for i, k in fast.items())

    @pytest.mark.parametrize("depth", [0.01, 1.0, 3.0, 4.5, 5.0, 5.3, 5.6])
    def test_a_word_whose_interval_holds_a_boundary_is_never_decided(self, depth):
        """Wherever in the interval it is; far out, where an interval is wide, that asks for the whole radius."""
        for std in (1000.5, 2.0**20):
            first = int(depth * std)
            words = [2 * boundary(k, std)[0] + k % 2 for k in range(first, first + 60)]
            assert decided(words, std=std) == {}

    @pytest.mark.parametrize("change", [1e-15, -1e-15])
    def test_a_quantile_off_by_one_in_10_to_the_15_is_found(self, change):
        wrong = normal_quantile.table().copy()
        wrong[:, 0] += change
        words = words_at_boundaries(2.0**20, np.random.default_rng(12), 60)
        fast = decided(words, std=2.0**20, table=wrong)
        assert any(by_integers(words[i], std=2.0**20, append=lambda: 1 << 63) != k for i, k in fast.items())

    def test_almost_every_word_is_decided_by_float64(self):
        for std, most in ((2.0**20, 2e-6), (2.0**22, 2e-6), (2.0**24, 2e-6), (2.0**36, 1e-3)):
            words = bits_of(np.random.default_rng(13), 2_000_000)
            assert len(floors_of_words(words, np.empty(len(words), np.int64), std=std)) <= most * len(words)

    def test_compiled_and_plain_python_are_the_same(self):
        words, table = bits_of(np.random.default_rng(14), 4000), normal_quantile.table()
        words[2000:] >>= np.uint64(20)
        compiled, plain = np.zeros((2, len(words)), dtype=np.int64)
        open_at = np.empty(len(words), dtype=np.int64)
        std = 2.0**40
        left = floors_of_words(words, compiled, std=std)
        with np.errstate(over="ignore"):
            count = floors(words, table, std * (1 - 2.0**-51), std * (1 + 2.0**-51), plain, open_at)
        assert np.array_equal(compiled, plain) and np.array_equal(left, open_at[:count])


class TestAppendedBits:
    """Where a prefix does not decide, the same p gets more bits."""

    @pytest.mark.parametrize("prefix", [1, 7, 20])
    def test_a_short_prefix_ends_where_float64_ends(self, prefix):
        generator = np.random.default_rng(22)
        words = bits_of(generator, 200)
        for i, k in decided(words, std=1000.5).items():
            m = int(words[i]) >> 1
            rest = 63 - prefix
            after = (m & ((1 << rest) - 1)) << (64 - rest) | int(generator.integers(2 ** (64 - rest)))
            appended = iter([after, *bits_of(generator, 5).tolist()])
            p = TailProbability(m >> rest, prefix + 1, lambda appended=appended: int(next(appended)))
            assert cell(p, std=1000.5) == (~k if int(words[i]) & 1 else k)

    def test_a_word_on_a_boundary_falls_to_either_side_by_its_share(self):
        """Drawing again instead would give the two sides another share."""
        m, share = boundary(1, 1.0)  # p below the boundary means x ≥ 1
        assert 0.05 < share < 0.95
        for sign, beyond in ((0, 1), (1, -2)):
            word = np.uint64(2 * m + sign)
            drawn = ExactGaussian(lambda count, word=word: np.full(count, word), source(23))
            seen = int(np.sum(drawn.floored(4000, std=1.0) == beyond))
            low, high = binom.interval(1 - 1e-6, 4000, share)
            assert low <= seen <= high

    def test_broken_bits_are_an_error_and_not_a_loop(self):
        zeros = ExactGaussian(lambda count: np.zeros(count, np.uint64), lambda count: np.zeros(count, np.uint64))
        with pytest.raises(OverflowError, match="700000"):
            zeros.floored(1, std=1.0)


class TestOneFunctionOfTheBits:
    def test_these_integers_on_every_machine(self):
        drawn = ExactGaussian.insecure_fixed_seed(0)
        assert drawn.floored(4, std=2.0**20).tolist() == [-229337, -210381, -1519224, 706750]
        assert drawn.floored(2, std=2.0**52).tolist() == [3039937869488999, -4523566052381325]

    @pytest.mark.parametrize("block", [1, 7, 1000, 1 << 20])
    def test_blocks_do_not_matter(self, block, monkeypatch):
        expected = ExactGaussian.insecure_fixed_seed(31).floored(3000, std=2.0**46)
        monkeypatch.setattr(module, "_BLOCK", block)
        assert np.array_equal(ExactGaussian.insecure_fixed_seed(31).floored(3000, std=2.0**46), expected)

    def test_calls_do_not_matter(self):
        whole, cut = ExactGaussian.insecure_fixed_seed(32), ExactGaussian.insecure_fixed_seed(32)
        parts = [cut.floored(count, std=2.0**46) for count in (1, 0, 499, 1500)]
        assert np.array_equal(whole.floored(2000, std=2.0**46), np.concatenate(parts))

    def test_fresh_keys_every_time(self):
        assert not np.array_equal(floored_gaussian(20, std=1e6), floored_gaussian(20, std=1e6))
        assert not np.array_equal(*(ExactGaussian().floored(20, std=1e6) for _ in range(2)))

    def test_kinds(self):
        assert ExactGaussian().kind == "floored-gaussian"
        assert ExactGaussian.insecure_fixed_seed(0).kind == "insecure-fixed-seed"


class TestInput:
    @pytest.mark.parametrize(
        "std",
        [
            0,
            0.0,
            -1.0,
            math.nan,
            math.inf,
            -math.inf,
            True,
            np.True_,
            "1",
            None,
            1j,
            2.0**-21,
            2.0**53,
            2**52 + 1,
            [1.0],
        ],
    )
    def test_other_deviations_are_refused(self, std):
        with pytest.raises(ConfigError, match=re.escape(f"std={std!r}")):
            floored_gaussian(3, std=std)

    @pytest.mark.parametrize("std", [1, np.float64(2.5), np.float32(0.7), np.int64(3), 2.0**52, 2.0**-20])
    def test_numbers_that_float64_holds_are_taken(self, std):
        drawn = ExactGaussian.insecure_fixed_seed(41).floored(5, std=std)
        assert np.array_equal(drawn, ExactGaussian.insecure_fixed_seed(41).floored(5, std=float(std)))

    @pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="long double is float64 here")
    def test_a_number_that_float64_does_not_hold_is_refused(self):
        with pytest.raises(ConfigError):
            floored_gaussian(3, std=np.longdouble(1) + np.finfo(np.longdouble).eps)

    @pytest.mark.parametrize("shape", [-1, (2, -3), 2.0, "3", (1, 2.5), None])
    def test_other_shapes_are_refused(self, shape):
        with pytest.raises(ConfigError, match="shape"):
            floored_gaussian(shape, std=1.0)

    @pytest.mark.parametrize("shape", [(), 0, 5, (2, 3), [4, 0], np.int64(3)])
    def test_shapes(self, shape):
        drawn = floored_gaussian(shape, std=10.0)
        assert drawn.shape == np.empty(shape).shape and drawn.dtype == np.int64

    @pytest.mark.parametrize("broken", [lambda n: np.zeros(n), lambda n: np.zeros(n + 1, dtype=np.uint64)])
    def test_bits_of_another_form_are_refused(self, broken):
        with pytest.raises(TypeError, match="uint64"):
            ExactGaussian(broken).floored(3, std=1.0)


@pytest.mark.parametrize("error", [OSError("read-only"), RuntimeError("no locator available")])
def test_a_folder_that_cannot_be_written_to_costs_compiling_only(error, monkeypatch):
    import numba

    original, tried = numba.njit, []

    def njit(**options):
        tried.append(options["cache"])
        if options["cache"]:
            raise error
        return original(**options)

    monkeypatch.setattr(numba, "njit", njit)
    kernel = module._kernel.__wrapped__()
    assert tried == [True, False] and kernel.signatures
