"""How many exact noise numbers a core draws in a second, and how many of them 64 bits and float64 leave open.

python benchmarks/floored_gaussian.py [--count 4000000] [--repeats 7]

One thread, by the clock, the median of the repetitions; beside it torch.randn in float32, which is not exact.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from privgen.mechanism.floored_gaussian import ExactGaussian, floors_of_words
from privgen.mechanism.key_stream import KeyStream


def seconds(work: Callable[[], object], repeats: int) -> float:
    """The median of so many runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def open_rate(std: float, count: int) -> float:
    """The share of words that are left to integer arithmetic."""
    stream, block, left = KeyStream(), 1 << 20, 0
    result = np.empty(block, dtype=np.int64)
    for _ in range(-(-count // block)):
        left += len(floors_of_words(stream(block), result, std=std))
    return left / (-(-count // block) * block)


def main() -> None:
    """Print one line for each standard deviation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=4_000_000)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"1 thread of {os.cpu_count()}, load {os.getloadavg()[0]:.2f}")
    start = time.perf_counter()
    source = ExactGaussian()
    source.floored(1, std=1.0)
    print(f"first number, with compiling or loading: {time.perf_counter() - start:.2f} s")
    for exponent in (0, 10, 16, 20, 22, 24, 30, 36, 40, 44, 48, 52):
        std = 2.0**exponent
        count = arguments.count if exponent <= 36 else min(arguments.count, 1_000_000 >> max(0, exponent - 42))
        taken = seconds(lambda count=count, std=std: source.floored(count, std=std), arguments.repeats)  # type: ignore[misc]
        rate = open_rate(std, 20 * arguments.count if exponent <= 36 else 1 << 20)
        print(f"std 2^{exponent:<2d}  {count / taken / 1e6:9.3f} million a second   left open {rate:.1e}")
    taken = seconds(lambda: torch.randn(arguments.count), arguments.repeats)
    print(f"torch.randn float32: {arguments.count / taken / 1e6:.1f} million a second")


if __name__ == "__main__":
    main()
