"""The upper normal quantile as 1 792 polynomials with a proven error each: float64 sums and products, no logarithm.

x(p) with Φ(−x) = p, for p from 2^-29 to 1/2. An octave halves p; an octave has 64 pieces of equal width, each with a
polynomial of degree 6 in t, |t| ≤ 1/2, and a radius: everywhere in a 63-bit interval of p inside the piece, x(p) is
within the radius of what float64 computes at the middle of the interval. The radius covers approximation, rounding and
the interval's width. `scripts/certify_normal_quantile.py` proves it for every piece with arb and makes the table;
`docs/proofs/normal_quantile.txt` is its output and `docs/proofs/floored-gaussian.md` the argument.

    >>> table().shape
    (1792, 8)
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

OCTAVES = 28
PIECES = 64
DEGREE = 6
TABLE_PATH = Path(__file__).with_name("normal_quantile.npy")
_DIGEST = "7111ea36eca4354bbb4df06393481dd190a9c3727106d8577ca23100611a8777"


def digest(table: NDArray[np.float64]) -> str:
    """SHA-256 of the table's numbers, row by row, little-endian."""
    return hashlib.sha256(np.ascontiguousarray(table, dtype="<f8").tobytes()).hexdigest()


@functools.cache
def table() -> NDArray[np.float64]:
    """(OCTAVES · PIECES, DEGREE + 2) float64, read-only: c_0 … c_6 and the radius, by octave and piece.

    Raises:
        RuntimeError: the file is not the one that was certified.
    """
    loaded: NDArray[np.float64] = np.load(TABLE_PATH, allow_pickle=False)
    if digest(loaded) != _DIGEST:
        raise RuntimeError(f"{TABLE_PATH} is not the table that was certified; install privgen anew.")
    loaded.setflags(write=False)
    return loaded
