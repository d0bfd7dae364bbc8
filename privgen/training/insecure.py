"""Streams from a seed, for debugging and experiments on public data: who knows the seed can subtract the noise."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch

from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.record_numbers import RecordNumbers


def seeded(seed: int, *, rank: int = 0) -> dict[str, Any]:
    """The fields of `privgen.training.session.Options` that draw random numbers, all from one seed. Insecure.

    Args:
        rank: of several that train together; each has streams of its own.
    """
    stream = np.random.default_rng(seed if rank == 0 else (seed, rank))
    own = seed + (rank << 64)
    return {
        "salt": lambda: hashlib.sha256(str(seed).encode()).digest()[:16],
        "coins": lambda count: stream.integers(0, 2**64, size=count, dtype=np.uint64),
        "latents": lambda on: torch.Generator(device=on).manual_seed(seed + 1),
        "beside": lambda on: RecordNumbers.insecure_fixed_seed(own, device=on),
        "noise": lambda: ExactGaussian.insecure_fixed_seed(own),
    }
