"""Attack: look where the noise cannot reach. There, a record is proven to have been in the sum.

What it did: noise was torch.randn in float32 on the CPU, which makes two numbers from two uniforms of 24 bits, eight
places apart. No uniform is below 2^-24, so that a pair's radius is at most √(48·ln 2) = 5.77 standard deviations. A
record that moves one of a pair by a single standard deviation puts it outside that disc with probability 2·10⁻⁶ in
every step, one that moves it by two with 10⁻⁴, and then no other explanation is left: no ε covers it, all of it is δ.
Over a run δ came to 1.1·10⁻⁴ where 10⁻⁶ was printed.

Exact noise has no end. Its tail is sampled bit by bit, and here at ten standard deviations it has its share.
"""

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy.stats import chi2, norm

from privgen.mechanism.floored_gaussian import ExactGaussian

LARGEST_RADIUS = math.sqrt(48 * math.log(2))
ROWS, WIDTH = 500_000, 16  # torch pairs numbers i and i + 8 of each 16


def torch_pairs(std):
    """(ROWS, 2): the old noise, in the pairs in which it is made."""
    noise = torch.randn((ROWS, WIDTH), generator=torch.Generator().manual_seed(0)) * std
    return noise[:, [0, 8]].double().numpy()


def exact_pairs(std):
    """(ROWS, 2): the new noise, in the same places."""
    noise = ExactGaussian.insecure_fixed_seed(0).floored((ROWS, WIDTH), std=std)
    return noise[:, [0, 8]].astype(np.float64)


def outside(pairs, std, *, shift, radius=LARGEST_RADIUS):
    """How often a record that moves the first number by `shift` standard deviations is seen outside the disc."""
    return int(np.sum((pairs[:, 0] + shift * std) ** 2 + pairs[:, 1] ** 2 > (radius * std) ** 2 * (1 + 1e-6)))


def seen_outside(shift):
    """P(‖n + shift·e₁‖ > R) for the old noise n, whose radius r has exp(−r²/2) uniform on (2^-24, 1)."""
    angle = np.linspace(0, math.pi, 20_001)
    least = -shift * np.cos(angle) + np.sqrt(LARGEST_RADIUS**2 - (shift * np.sin(angle)) ** 2)
    chance = np.maximum(np.exp(-(least**2) / 2) - 2.0**-24, 0)
    return float(np.mean((chance[1:] + chance[:-1]) / 2))


def forced_tail(zeros, seed):
    """Exact noise, given that p has so many leading zeros more than the 64 of a first word that is all zero."""
    generator = np.random.default_rng(seed)

    def first(count):
        return generator.integers(0, 2, count, dtype=np.uint64)  # a sign; 63 zeros

    started = [False]

    def further(count):
        drawn = generator.integers(0, 2**64, count, dtype=np.uint64)
        if not started[0]:
            started[0] = True
            drawn >>= np.uint64(zeros)
        return drawn

    def draw(count, std):
        result = np.empty(count, dtype=np.int64)
        for i in range(count):
            started[0] = False
            result[i] = ExactGaussian(first, further).floored((), std=std)
        return result

    return draw


class TestAttack:
    STD = 1000.0

    def test_it_succeeds_against_float32_noise_of_torch(self):
        """Never without the record, and with it as often as two-dimensional quadrature says."""
        pairs = torch_pairs(self.STD)
        assert outside(pairs, self.STD, shift=0.0) == 0
        for shift in (2.0, 3.0, 5.0):
            expected = seen_outside(shift) * ROWS
            assert expected > 50
            assert abs(outside(pairs, self.STD, shift=shift) - expected) < 4 * math.sqrt(expected)

    def test_exact_noise_goes_beyond_the_old_radius(self):
        drawn = forced_tail(0, seed=1)(20, self.STD)
        assert np.all(np.abs(drawn + 0.5) > LARGEST_RADIUS * self.STD)

    @pytest.mark.parametrize("radius", [4.0, 4.5])
    def test_it_fails_against_exact_noise(self, radius):
        """The same region is reached without the record, and as often as the Gaussian reaches it."""
        expected = math.exp(-(radius**2) / 2) * ROWS
        seen = outside(exact_pairs(self.STD), self.STD, shift=0.0, radius=radius)
        assert expected > 10 and abs(seen - expected) < 4 * math.sqrt(expected)

    def test_likelihood_ratios_in_the_tail_are_the_gaussian_ones(self):
        """Given that a number is beyond 4, its law decides between two worlds as N(0, 1) and N(1, 1) do."""
        drawn = ExactGaussian.insecure_fixed_seed(3).floored(5_000_000, std=self.STD)
        without = np.sum(drawn >= 4 * self.STD)
        within = np.sum(drawn + int(self.STD) >= 4 * self.STD)
        for seen, start in ((without, 4.0), (within, 3.0)):
            expected = norm.sf(start) * len(drawn)
            assert abs(seen - expected) < 4 * math.sqrt(expected)


class TestTenStandardDeviations:
    """Given p < 2^-76, that is beyond 9.95, the law is Φ's: leading bits are forced, the others are fair."""

    STD, COUNT, ZEROS = 16.0, 2500, 12

    @pytest.fixture(scope="class")
    def draws(self):
        return forced_tail(self.ZEROS, seed=2)(self.COUNT, self.STD)

    @classmethod
    def conditional(cls, k):
        """P(|y| ≥ k/std | p < 2^-76)."""
        with mpmath.workdps(50):
            tail = mpmath.erfc(mpmath.mpf(k) / cls.STD / mpmath.sqrt(2)) / 2
            return float(min(1, tail * mpmath.mpf(2) ** (64 + cls.ZEROS)))

    def test_cells_have_their_conditional_probabilities(self, draws):
        cells = np.where(draws >= 0, draws, ~draws)
        first, last = cells.min(), cells.max()
        assert first == math.floor(9.9503 * self.STD)
        expected = np.array([self.conditional(k) - self.conditional(k + 1) for k in range(first, last + 1)])
        counts = np.bincount(cells - first)
        enough = expected * self.COUNT > 10
        statistic = np.sum((counts - expected * self.COUNT)[enough] ** 2 / (expected * self.COUNT)[enough])
        assert np.sum(enough) >= 8 and chi2.sf(statistic, np.sum(enough)) > 0.01

    def test_beyond_ten_there_is_what_the_normal_has(self, draws):
        share = self.conditional(160)
        seen = np.mean(np.where(draws >= 0, draws, ~draws) >= 160)
        assert 0.1 < share < 0.9 and abs(seen - share) < 4 * math.sqrt(share * (1 - share) / self.COUNT)

    def test_both_signs_are_as_frequent(self, draws):
        assert abs(np.mean(draws < 0) - 0.5) < 4 * 0.5 / math.sqrt(self.COUNT)
