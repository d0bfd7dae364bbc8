"""What a plan takes where nothing is given, and the sentence that says so. Everything here is public.

>>> default_delta(60000), default_delta(1437)
(1e-06, 1e-05)
>>> default_batch_size(60000, bands=4), default_batch_size(1437, bands=4)
(256, 128)
>>> default_iterations(60000, 256.0, bands=4), default_iterations(1437, 128.0, bands=4)
(1172, 300)
"""

from __future__ import annotations

import math
from decimal import ROUND_FLOOR, Decimal

DATASET_SIZE = 60000
BANDS = 4
FEEDBACK_RATIO = 0.006
# The critic is what the generator learns from; the reconstruction's own updates are few and small.
SHARES: dict[str, float] = {"critic": 0.6, "classifier": 0.3, "reconstruction": 0.1}

_LARGEST_DELTA = 1e-5
_BATCH_SIZE = 256
_PASSES, _FEWEST, _MOST = 5, 300, 2000


def default_delta(dataset_size: int) -> float:
    """min(1e-5, 1/(10 N)), rounded down to one digit."""
    exact = Decimal(1) / (10 * Decimal(dataset_size))
    digit = Decimal(1).scaleb(exact.adjusted())
    return min(_LARGEST_DELTA, float(exact.quantize(digit, rounding=ROUND_FLOOR)))


def default_batch_size(dataset_size: int, *, bands: int) -> int:
    """256, or for small data sets the largest power of two up to a tenth of N that `bands` groups can give."""
    most = min(max(1, dataset_size // 10), max(1, dataset_size // bands))
    return int(min(_BATCH_SIZE, 2 ** math.floor(math.log2(most))))


def default_iterations(dataset_size: int, batch_size: float, *, bands: int) -> int:
    """Five expected passes over the data, at least 300 and at most 2000 steps, in whole blocks."""
    steps = min(_MOST, max(_FEWEST, round(_PASSES * dataset_size / batch_size)))
    return -(-steps // bands) * bands
