"""The two loops over written-out gradients that the CPU runs compiled: squares of rows, and truncated weighted sums.

    squares_i   = Σ_j G_ij²                     float64; each product of two float32 is exact in it
    sums_kj    += Σ_i trunc(u_ki · G_ij)        float64 that holds integers: exact, in any order, below 2^53

A gradient is read once for its square and once for all weightings together. numba compiles the loops at their first
call (a few seconds) and keeps them on disk. Elsewhere than on a CPU torch does the same in blocks of rows, with the
same integers: IEEE 754 defines each of their operations.

    >>> rows = torch.tensor([[3.0, 4.0], [1.0, float("nan")]])
    >>> found = torch.zeros(2, dtype=torch.float64)
    >>> add_squares([(0, rows)], found)
    >>> found.tolist()
    [25.0, nan]
    >>> total = torch.zeros(1, 2, dtype=torch.float64)
    >>> add_truncated([(rows, torch.tensor([[0.9, 0.0]], dtype=torch.float64), total)])
    >>> total.tolist()
    [[2.0, 3.0]]

Guarantees: a row whose weights are all 0 adds nothing, whatever stands in it. A row's square and what it adds
are functions of
the row and its weights alone: each row goes through the same machine instructions, wherever it stands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

# Columns that stay in the processor's cache while all rows are added to them.
_COLUMNS = 2048
# Numbers that torch turns into float64 at a time, where it does the work.
_BLOCK = 1 << 22
# Twice at::internal::GRAIN_SIZE: so many numbers are worth a thread to torch.
_EACH_THREAD = 1 << 16


def compiled(**options: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """numba.njit that keeps its result on disk, where there is a place for it."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        try:
            made: Callable[..., None] = numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # no folder that may be written to
            made = numba.njit(nogil=True, **options)(function)
        return made

    return decorate


# A sum of squares may be taken in any order: its bound (`norm_bounds`) holds for each, and the order of the compiled
# loop is the same for every row. Nothing else may be rearranged.
@compiled(fastmath={"reassoc", "nsz"})
def _squares(rows, found, first, last):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        total = 0.0
        for j in range(rows.shape[1]):
            value = np.float64(rows[i, j])
            total += value * value
        found[i] += total


@compiled()
def _add_truncated(rows, which, weights, totals, begin, end, columns):  # type: ignore[no-untyped-def]
    count = which.shape[0]
    whole = count - count % 4
    for first in range(begin, end, columns):
        last = min(first + columns, end)
        for k in range(weights.shape[0]):
            total = totals[k, first:last]
            for at in range(0, whole, 4):
                i0, i1, i2, i3 = which[at], which[at + 1], which[at + 2], which[at + 3]
                w0, w1, w2, w3 = weights[k, i0], weights[k, i1], weights[k, i2], weights[k, i3]
                r0, r1, r2, r3 = rows[i0, first:last], rows[i1, first:last], rows[i2, first:last], rows[i3, first:last]
                for j in range(last - first):
                    total[j] += (np.trunc(w0 * np.float64(r0[j])) + np.trunc(w1 * np.float64(r1[j]))) + (
                        np.trunc(w2 * np.float64(r2[j])) + np.trunc(w3 * np.float64(r3[j]))
                    )
            for at in range(whole, count):
                w0, r0 = weights[k, which[at]], rows[which[at], first:last]
                for j in range(last - first):
                    total[j] += np.trunc(w0 * np.float64(r0[j]))


@compiled()
def _keeps(single, double):  # type: ignore[no-untyped-def]
    """Make subnormal numbers in place; zero where the thread flushes them, as operands or as results."""
    for i in range(len(single)):
        double[i] = double[i] * np.float64(0.5) + np.float64(single[i])


@cache
def _workers(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=count, thread_name_prefix="privgen-sums")


def _in_parts(work: Callable[[int, int], None]) -> None:
    """`work(part, of)` for each part, one on each of torch's threads; this one takes the first."""
    parts = torch.get_num_threads()
    others = [_workers(parts - 1).submit(work, part, parts) for part in range(1, parts)]
    work(0, parts)
    for other in others:
        other.result()


def compile_loops() -> float:
    """Have the loops compiled, or read from disk, before they are waited for: the seconds that it took."""
    begun = time.perf_counter()
    rows, weights = torch.ones(5, 2), torch.ones(1, 5, dtype=torch.float64)
    add_squares([(0, rows)], torch.zeros(5, dtype=torch.float64))
    add_truncated([(rows, weights, torch.zeros(1, 2, dtype=torch.float64))])
    flushes_subnormals()
    return time.perf_counter() - begun


def flushes_subnormals() -> bool:
    """Whether some thread that sums takes subnormal numbers for zero: then a row's sum would depend on its thread."""
    found: list[bool] = []

    def work(part: int, of: int) -> None:
        single, double = np.full(2, 1e-45, dtype=np.float32), np.array([0.0, 2.0**-1022])
        _keeps(single[:1], double[:1])
        _keeps(np.zeros(1, dtype=np.float32), double[1:])
        found.append(bool((double == 0).any()))

    _in_parts(work)
    # torch keeps threads of its own, and gives each of them so many numbers at least.
    numbers = torch.full((_EACH_THREAD * torch.get_num_threads(),), 1e-45)
    return any(found) or bool((numbers * 1.0 == 0).any())


def add_squares(slices: Sequence[tuple[int, Tensor]], totals: Tensor) -> None:
    """totals_i += Σ_j rows_ij², for the rows of several slices at once.

    Args:
        slices: number of the first row, and the rows (n, d), float32. totals: (records,) float64, changed in place; a
            row's square is within a relative d · 2⁻⁵³ of the exact one, and not finite where a number of it is not.
    """
    if totals.device.type != "cpu":
        for first, rows in slices:
            step = max(1, _BLOCK // max(1, rows.shape[1]))
            found = torch.cat([part.double().square().sum(1) for part in rows.split(step)])
            totals[first : first + len(rows)] += found
        return
    if any(first + len(rows) > len(totals) for first, rows in slices):
        raise ValueError(f"Expected rows within totals of {len(totals)} records.")
    arrays = [(totals[first : first + len(rows)].numpy(), rows.numpy()) for first, rows in slices]

    def work(part: int, of: int) -> None:
        for found, array in arrays:
            # By rows: a row's square may not depend on how many threads there are.
            _squares(array, found, len(array) * part // of, len(array) * (part + 1) // of)

    _in_parts(work)


def add_truncated(slices: Sequence[tuple[Tensor, Tensor, Tensor]]) -> None:
    """totals_kj += Σ_i trunc(weights_ki · rows_ij), towards zero, number by number, for several slices at once.

    Args:
        slices: rows (n, d) float32; weights (k, n) float64, finite; totals (k, d) float64, changed in place,
        exact while
            below 2^53. A row whose weights are all 0 is left out and may hold anything; the others are finite.
    """
    if slices and slices[0][0].device.type != "cpu":
        for rows, weights, totals in slices:
            _add_on_device(rows, weights, totals)
        return
    for rows, weights, totals in slices:
        # Compiled loops look at no bounds.
        if weights.shape != (len(totals), len(rows)) or totals.shape[1] != rows.shape[1]:
            raise ValueError(f"Expected shapes that agree, got {rows.shape}, {weights.shape} and {totals.shape}.")
    arrays = [(rows.numpy(), w.numpy(), totals.numpy()) for rows, w, totals in slices]
    kept = [np.flatnonzero((w != 0).any(0)) for _, w, _ in arrays]

    def work(part: int, of: int) -> None:
        for (array, w, totals), which in zip(arrays, kept, strict=True):
            width = array.shape[1]
            _add_truncated(array, which, w, totals, width * part // of, width * (part + 1) // of, _COLUMNS)

    _in_parts(work)


def _add_on_device(rows: Tensor, weights: Tensor, totals: Tensor) -> None:
    for first in range(0, len(rows), step := max(1, _BLOCK // max(1, rows.shape[1]))):
        part = rows[first : first + step].double()
        for total, weight in zip(totals, weights[:, first : first + step], strict=True):
            scaled = torch.where(weight[:, None] == 0, 0.0, part * weight[:, None])
            total += scaled.trunc().sum(0)
