"""Cells decided in integers: the enclosures against mpmath and arb, and decisions at every depth."""

import math

import mpmath
import numpy as np
import pytest

from privgen.mechanism.normal_tail import TailProbability, cell, central_probability, inverse_root_two_pi


def tail(z, digits=60):
    """Φ(−z) by mpmath, at any depth."""
    with mpmath.workdps(digits):
        return mpmath.erfc(mpmath.mpf(z) / mpmath.sqrt(2)) / 2


def no_more():
    """For a p whose known bits should suffice."""
    raise AssertionError("bits were appended")


class TestCells:
    @pytest.mark.parametrize("std", [0.7, 1000.0, 2.0**20, 2.0**52])
    def test_a_prefix_and_its_continuation_are_one_number(self, std):
        generator = np.random.default_rng(21)
        for _ in range(100):
            numerator = int.from_bytes(generator.bytes(40), "big") >> 1
            rest = iter([(numerator >> (64 * i)) & (2**64 - 1) for i in (3, 2, 1, 0)])
            whole = cell(TailProbability(numerator, 320, no_more), std=std)
            assert cell(TailProbability(numerator >> 256, 64, lambda rest=rest: next(rest)), std=std) == whole

    def test_cells_agree_with_mpmath_at_every_depth(self):
        generator = np.random.default_rng(24)
        for zeros in (0, 1, 5, 30, 62, 100, 300):
            for std in (0.3, 1000.0, 2.0**30 + 0.5):
                numerator = int.from_bytes(generator.bytes(40), "big") >> 1 | 1 << 317
                bits = 319 + zeros
                k = cell(TailProbability(numerator, bits, no_more), std=std)
                with mpmath.workdps(220):
                    p = mpmath.mpf(numerator) / mpmath.mpf(2) ** bits
                    assert k == 0 or p <= tail(mpmath.mpf(k) / std, 220)
                    assert p > tail(mpmath.mpf(k + 1) / std, 220)

    def test_the_tail_has_no_end(self):
        """A thousand leading zeros, x = 37.2, beyond float64's smallest probability at 1 100."""
        for zeros, least, most in ((1000, 37.0, 37.4), (1100, 38.8, 39.2)):
            p = TailProbability((1 << 64) - 1, zeros + 64, lambda: 0)
            assert least < cell(p, std=1000.0) / 1000 < most

    def test_every_result_fits_62_bits(self):
        """Φ(−1024) is below 2^-700001, so x is below 1024, and 1024 · 2^52 = 2^62."""
        assert mpmath.log(tail(1024), 2) < -700_001


class TestIntegerEnclosures:
    @pytest.mark.parametrize("precision", [64, 100, 700, 5000])
    def test_the_constant(self, precision):
        low, high = inverse_root_two_pi(precision)
        with mpmath.workprec(precision + 60):
            assert low <= mpmath.ldexp(1 / mpmath.sqrt(2 * mpmath.pi), precision) <= high
        assert high - low <= 2

    @pytest.mark.parametrize("z", [(1, 2**52), (1, 1000), (7, 10), (1, 1), (5, 2), (16, 3), (10, 1), (25, 1)])
    def test_the_central_probability_against_arb(self, z):
        flint = pytest.importorskip("flint")
        over, under = z
        before = flint.ctx.prec
        try:
            for precision in (80, 200, 1200):
                low, high = central_probability(over, under, precision)
                flint.ctx.prec = 2 * precision + 200
                exact = flint.arb(2) ** precision * (flint.arb(over) / under / flint.arb(2).sqrt()).erf() / 2
                assert flint.arb(low) <= exact <= flint.arb(high)
                # As narrow as its docstring says, up to a small factor.
                assert high - low <= 200 * math.exp((over / under) ** 2 / 2) * max(1, over / under)
        finally:
            flint.ctx.prec = before
