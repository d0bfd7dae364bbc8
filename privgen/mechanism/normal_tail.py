"""Which cell [k, k + 1) of a grid a normal number lies in, decided in integers, from as many random bits as it takes.

The number is y = std·x, where Φ(−x) = p and p is an infinite binary fraction, of which a prefix is known. y < k exactly
if ½ − p < Φ(k/std) − ½, and the right-hand side is enclosed by a power series in integers of fixed point whose every
rounding is directed. If prefix and enclosure overlap, 64 more bits are appended to the same p, and the enclosure gets
finer by as much. `docs/proofs/floored-gaussian.md` has the argument.

Good to any depth in principle, slower the deeper: a millisecond at x = 10, a tenth of a second at x = 31, p = 2^-700.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

# p < 2^-700000 means x > 985; below that std · x stays below 2^62 for std up to 2^52.
DEEPEST = 700_000


@dataclass(slots=True)
class TailProbability:
    """A probability in (0, ½], known to lie in [numerator, numerator + 1] · 2^-bits.

    Args:
        numerator: the known bits. bits: how many, at least 1. append: gives 64 uniform bits as an int in [0, 2^64).
    """

    numerator: int
    bits: int
    append: Callable[[], int]

    def refine(self) -> None:
        """Append 64 bits.

        Raises:
            OverflowError: more than 700 000 leading zeros; the probability of that is at most 2^-700000.
        """
        self.numerator = self.numerator << 64 | self.append()
        self.bits += 64
        if self.bits - self.numerator.bit_length() > DEEPEST:
            raise OverflowError(
                f"Expected a tail probability of at least 2^-{DEEPEST}, drawn was a smaller one. With sound random "
                "bits this does not happen: check where they come from."
            )


def cell(p: TailProbability, *, std: float) -> int:
    """floor(std · x) with Φ(−x) = p, at least 0.

    Args:
        p: refined as far as it takes. std: > 0, exactly this float64.

    Guarantees:
        Whatever bits may still be appended to p, the result stays right (unless std · x is an integer, which has
        probability zero; then it does not return).
    """
    while p.numerator.bit_length() < 53:
        p.refine()
    low, high = _bracket(p, std=std)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _reaches(p, middle, std=std) else (low, middle)
    return low


def _bracket(p: TailProbability, *, std: float) -> tuple[int, int]:
    """low ≤ y < high, by widening steps from an estimate that need not be good."""
    guess, step = int(std * _estimate(p)), 1
    if _reaches(p, guess, std=std):
        low = guess
        while _reaches(p, low + step, std=std):
            low, step = low + step, 2 * step
        return low, low + step
    high = guess
    while not _reaches(p, max(0, high - step), std=std):
        high, step = high - step, 2 * step
    return max(0, high - step), high


def _estimate(p: TailProbability) -> float:
    """About x, at least 0; nothing rests on how close it is."""
    zeros = p.bits - p.numerator.bit_length()
    if zeros < 1000:
        return max(0.0, -NormalDist().inv_cdf(p.numerator / (1 << p.bits)))
    twice = 2 * zeros * math.log(2)
    return math.sqrt(twice - math.log(2 * math.pi * twice))


def _reaches(p: TailProbability, k: int, *, std: float) -> bool:
    """Whether y ≥ k; p is refined until it is certain."""
    if k <= 0:
        return True
    over, under = std.as_integer_ratio()
    half_square = (k * under) ** 2 // (2 * over**2)  # floor of (k/std)²/2
    while True:
        # Φ(−z) < exp(−z²/2) < 2^-floor(1.4·half_square): so small that p is certainly larger.
        if p.numerator.bit_length() - 1 - p.bits >= -(7 * half_square // 5):
            return False
        precision = p.bits + 3 * half_square // 2 + 64
        low, high = central_probability(k * under, over, precision)
        most = (1 << (p.bits - 1)) - p.numerator  # ½ − p lies in [most − 1, most] · 2^-bits
        shift = precision - p.bits
        if most << shift < low:
            return False
        if (most - 1) << shift >= high:
            return True
        p.refine()


def central_probability(over: int, under: int, precision: int) -> tuple[int, int]:
    """Integers low ≤ 2^precision · (Φ(z) − ½) ≤ high for z = over/under > 0.

    Φ(z) − ½ = z/√(2π) · Σ_n (−1)ⁿ (z²/2)ⁿ / (n! (2n + 1)), the terms falling from n ≥ z²/2 on, so that what is left out
    is at most the last one taken. The width is about exp(z²/2) units.
    """
    square, double = over * over << precision, 2 * under * under
    h_low, h_high = square // double, square // double + 1  # z²/2
    t_low = t_high = 1 << precision  # (z²/2)ⁿ/n!
    sum_low = sum_high = 0
    n, falling = 0, h_high >> precision
    while True:
        part_low, part_high = t_low // (2 * n + 1), _ceiling(t_high, 2 * n + 1)
        if n % 2 == 0:
            sum_low, sum_high = sum_low + part_low, sum_high + part_high
        else:
            sum_low, sum_high = sum_low - part_high, sum_high - part_low
        if t_high <= 1 and n > falling:
            break
        n += 1
        t_low = t_low * h_low // (n << precision)
        t_high = _ceiling(t_high * h_high, n << precision)
    sum_low, sum_high = max(0, sum_low - 1), sum_high + 1
    root_low, root_high = inverse_root_two_pi(precision)
    z_low = (over << precision) // under
    low = z_low * sum_low * root_low >> 2 * precision
    high = (z_low + 1) * sum_high * root_high >> 2 * precision
    return low, high + 1


def _ceiling(over: int, under: int) -> int:
    return -(-over // under)


@functools.lru_cache(maxsize=64)
def inverse_root_two_pi(precision: int) -> tuple[int, int]:
    """Integers low ≤ 2^precision/√(2π) ≤ high, by Machin's formula."""
    digits = precision + 32
    first, first_error = _arctangent_of_inverse(5, digits)
    second, second_error = _arctangent_of_inverse(239, digits)
    pi, error = 16 * first - 4 * second, 16 * first_error + 4 * second_error
    scaled = 1 << (2 * precision + digits)
    return math.isqrt(scaled // (2 * (pi + error))), math.isqrt(scaled // (2 * (pi - error))) + 1


def _arctangent_of_inverse(m: int, digits: int) -> tuple[int, int]:
    """2^digits · arctan(1/m) as an integer and a bound of its error: one unit for each term, one for the rest."""
    power, total, n = (1 << digits) // m, 0, 0
    while power:
        part = power // (2 * n + 1)
        total += part if n % 2 == 0 else -part
        power, n = power // (m * m), n + 1
    return total, n + 1
