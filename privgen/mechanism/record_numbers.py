"""Random numbers that stand beside a record: latent vectors, injected noise, which generated image it is set against.

They are a record's own: drawn for every place of every physical batch, whether a record stands there or not, from
AES-CTR under the operating system's key, so that no record can shift another's and nobody can guess one. They hide
nothing and need no exact law: a normal number is one of 65 536 quantiles of equal probability, looked up by 16 bits,
so that its bits depend on those 16 alone.

    >>> numbers = RecordNumbers.insecure_fixed_seed(1)
    >>> numbers.normal(2, 3).shape, bool((numbers.uniform(1000) < 1).all())
    (torch.Size([2, 3]), True)
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from privgen.mechanism.key_stream import KeyStream

_LEVELS = 1 << 16


@functools.cache
def _quantiles() -> NDArray[np.float32]:
    found: NDArray[np.float32] = ndtri((np.arange(_LEVELS) + 0.5) / _LEVELS).astype(np.float32)
    return found


class RecordNumbers:
    """A source of numbers beside records. Never saved: a resumed run draws afresh.

    Args:
        stream: of uniform 64-bit words; None for one under the operating system's key, which is the only choice that
            protects anybody.
        device: of the tensors.
    """

    def __init__(self, stream: KeyStream | None = None, *, device: torch.device | None = None) -> None:
        self._stream = KeyStream() if stream is None else stream
        self._device = torch.device("cpu") if device is None else device

    @classmethod
    def insecure_fixed_seed(cls, seed: int, *, device: torch.device | None = None) -> RecordNumbers:
        """Reproducible, for debugging and experiments on public data."""
        return cls(KeyStream.insecure_fixed_seed(seed, purpose="numbers beside records"), device=device)

    def normal(self, *shape: int) -> Tensor:
        """Numbers of mean 0 and variance about 1, float32."""
        count = math.prod(shape)
        words = self._stream(-(-count // 4)).view(np.uint16)[:count]
        return torch.from_numpy(_quantiles()[words]).view(shape).to(self._device)

    def uniform(self, *shape: int) -> Tensor:
        """Numbers in [0, 1), multiples of 2⁻²⁴, float32."""
        count = math.prod(shape)
        words = self._stream(-(-count // 2)).view(np.uint32)[:count]
        return (
            torch.from_numpy((words >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24))
            .view(shape)
            .to(self._device)
        )
