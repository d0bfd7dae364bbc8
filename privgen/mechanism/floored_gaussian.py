"""Integers distributed exactly as floor(N(0, std²)): nothing is approximated but the ideal random bits.

A random sign and a tail probability p in (0, ½], an infinite fair binary fraction, define the normal number ±std·x with
Φ(−x) = p. Its floor is decided from the first 63 bits of p by a polynomial with a proven radius (`normal_quantile`).
Where that leaves two cells open, once in 200 million draws at std = 2^20, bits are appended to the *same* p until
integer arithmetic decides (`normal_tail`); to draw again would bend the distribution. As s + floor(n) = floor(s + n)
for an integer s, adding the result to integers is post-processing of the Gaussian mechanism.

The numbers are a function of the bits alone: the same on every machine, and however draws are cut into calls.

    >>> source = ExactGaussian.insecure_fixed_seed(7)
    >>> source.kind, source.floored((2, 3), std=1000.0).shape
    ('insecure-fixed-seed', (2, 3))
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from privgen.errors import ConfigError
from privgen.mechanism import normal_quantile
from privgen.mechanism.key_stream import KeyStream
from privgen.mechanism.normal_tail import TailProbability, cell

BitSource = Callable[[int], NDArray[np.uint64]]

SMALLEST_STD, LARGEST_STD = 2.0**-20, 2.0**52
_BLOCK = 1 << 16


def floored_gaussian(shape: int | Sequence[int], *, std: float) -> NDArray[np.int64]:
    """Independent integers, each distributed exactly as floor(N(0, std²)), under fresh keys of the operating system.

    Args:
        shape: of the result. std: in grid units, from 2^-20 to 2^52, taken as exactly this float64.

    Returns:
        int64 of that shape.

    Raises:
        ConfigError: std or shape is not such a value.

    Guarantees:
        As `ExactGaussian.floored`.
    """
    return ExactGaussian().floored(shape, std=std)


class ExactGaussian:
    """Draws floor(N(0, std²)) from a source of bits. Never saved: a resumed run draws afresh.

    Args:
        words: count → (count,) uint64, uniform and independent; one word for every number, in order.
        further: the same, independent of `words`; what is appended where a word does not decide.
        kind: what ledger and reports say.
    """

    def __init__(
        self,
        words: BitSource | None = None,
        further: BitSource | None = None,
        *,
        kind: str = "floored-gaussian",
    ) -> None:
        self._words = words or KeyStream()
        self._further = further or KeyStream()
        self.kind = kind

    @classmethod
    def insecure_fixed_seed(cls, seed: int) -> ExactGaussian:
        """Reproducible, and so without any protection: who knows the seed can subtract the noise."""
        words = KeyStream.insecure_fixed_seed(seed, purpose="words")
        further = KeyStream.insecure_fixed_seed(seed, purpose="further")
        return cls(words, further, kind="insecure-fixed-seed")

    def floored(self, shape: int | Sequence[int], *, std: float) -> NDArray[np.int64]:
        """Independent integers, each distributed exactly as floor(N(0, std²)).

        Args:
            shape: of the result. std: in grid units, from 2^-20 to 2^52, taken as exactly this float64.

        Returns:
            int64 of that shape; absolute values below 2^62.

        Raises:
            ConfigError: std or shape is not such a value.
            TypeError: the source of bits gives something else than uint64.
            OverflowError: a tail probability below 2^-700000 was drawn, so improbable that the bits must be broken.

        Guarantees:
            With independent uniform bits the result equals, with probability one, the floor of a number that is exactly
            N(0, std²); float64 addition and multiplication and integers are trusted, no function of a mathematical
            library is. With `KeyStream` the bits are AES-CTR's instead.

        Source:
            docs/proofs/floored-gaussian.md
        """
        std, sizes = checked_std(std), _checked_shape(shape)
        result = np.empty(math.prod(sizes), dtype=np.int64)
        # A block's words stay in the processor's cache.
        for start in range(0, len(result), _BLOCK):
            part = result[start : start + _BLOCK]
            words = self._words(len(part))
            if words.dtype != np.uint64 or words.shape != part.shape:
                raise TypeError(
                    f"Expected {len(part)} uint64 from the source of bits, got {words.shape} {words.dtype}."
                )
            self._decide(words, part, floors_of_words(words, part, std=std), std=std)
        return result.reshape(sizes)

    def mark(self) -> bytes:
        """Some bits that are used up: where two ranks have the same, both draw the same noise."""
        return self._words(2).tobytes() + self._further(1).tobytes()

    def _decide(
        self, words: NDArray[np.uint64], result: NDArray[np.int64], open_at: NDArray[np.int64], *, std: float
    ) -> None:
        """Fill in, in order, what the words alone and float64 left open."""

        def append() -> int:
            return int(self._further(1)[0])

        for index in open_at:
            word = int(words[index])
            p = TailProbability(word >> 1, 64, append)
            below = cell(p, std=std)
            result[index] = ~below if word & 1 else below


def checked_std(std: float) -> float:
    """The float64 that std is exactly.

    Raises:
        ConfigError: not a number that float64 holds exactly, or outside 2^-20 to 2^52.
    """
    number = isinstance(std, (int, float, np.integer, np.floating)) and not isinstance(std, bool)
    if not number or not SMALLEST_STD <= std <= LARGEST_STD or float(std) != std:
        raise ConfigError(
            f"Expected std={std!r} to be a float64 from 2^-20 to 2^52, in grid units; choose the grid step h so that "
            "the noise's standard deviation is between 2^-20·h and 2^52·h, best about 2^20·h."
        )
    return float(std)


def _checked_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    try:
        sizes = tuple(operator.index(size) for size in (shape if isinstance(shape, Sequence) else (shape,)))
    except TypeError:
        sizes = (-1,)
    if any(size < 0 for size in sizes):
        raise ConfigError(f"Expected shape={shape!r} to be an integer ≥ 0 or a sequence of them; pass e.g. (128, 10).")
    return sizes


def floors_of_words(
    words: NDArray[np.uint64],
    result: NDArray[np.int64],
    *,
    std: float,
    table: NDArray[np.float64] | None = None,
) -> NDArray[np.int64]:
    """Write the floor for every word whose 64 bits decide it; return the indices of the others.

    Args:
        words: (n,) uint64; the lowest bit is the sign, the upper 63 are the first bits of p after the binary point and
            a zero. result: (n,) int64, written. std: as `checked_std` returns it.
        table: for tests; the certified one by default.
    """
    open_at = np.empty(len(words), dtype=np.int64)
    # Four units of relative slack on either side cover the three roundings behind them.
    low, high = std * (1 - 2.0**-51), std * (1 + 2.0**-51)
    count = _kernel()(words, normal_quantile.table() if table is None else table, low, high, result, open_at)
    return open_at[:count]


def floors(
    words: NDArray[np.uint64],
    table: NDArray[np.float64],
    std_low: float,
    std_high: float,
    result: NDArray[np.int64],
    open_at: NDArray[np.int64],
) -> int:
    """The loop over words, as numba compiles it. Returns how many are left open."""
    count = 0
    for i in range(words.size):
        word = words[i]
        fraction = word >> np.uint64(1)
        if fraction < np.uint64(1 << 35):
            open_at[count] = i
            count += 1
            continue
        octave, mantissa = 0, fraction << np.uint64(1)
        while mantissa < np.uint64(1 << 63):
            mantissa <<= np.uint64(1)
            octave += 1
        piece = np.int64(mantissa >> np.uint64(57)) - 64
        within = np.int64(mantissa & np.uint64((1 << 57) - 1))
        # The middle of the interval: half a unit of the 63 bits is 2^octave units of the mantissa.
        t = np.float64(within - (1 << 56) + (1 << octave)) * 2.0**-57
        row = table[octave * 64 + piece]
        x = row[4] + t * (row[5] + t * row[6])
        x = row[0] + t * (row[1] + t * (row[2] + t * (row[3] + t * x)))
        low = math.floor((x - row[7]) * std_low)
        high = math.floor((x + row[7]) * std_high)
        if low == high:
            result[i] = ~np.int64(low) if word & np.uint64(1) else np.int64(low)
        else:
            open_at[count] = i
            count += 1
    return count


@functools.cache
def _kernel() -> Callable[..., int]:
    """`floors`, compiled at the first use (a second or two) and kept on disk where that is possible."""
    from numba import njit  # takes half a second, which nobody should wait for who draws nothing

    def compiled(*, cache: bool) -> Callable[..., int]:
        kernel: Callable[..., int] = njit(nogil=True, cache=cache)(floors)
        one = np.zeros(1, dtype=np.int64)
        kernel(one.view(np.uint64), normal_quantile.table(), 1.0, 1.0, one, one.copy())
        return kernel

    try:
        return compiled(cache=True)
    except Exception:  # whatever is wrong with the folder it is kept in; a real fault comes up again below
        return compiled(cache=False)
