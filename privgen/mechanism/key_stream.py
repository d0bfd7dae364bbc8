"""Uniform bits from AES-256 in counter mode, under keys that the operating system gives and nobody keeps.

>>> stream = KeyStream()
>>> stream(3).dtype, stream(3).shape
(dtype('uint64'), (3,))
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from itertools import count
from typing import NoReturn

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

# A counter-mode stream has no repeated block, a random one has: after 2^32 blocks the difference in what an observer
# can tell is at most (2^32)²/2^129 = 2^-65, so there a new key is taken.
_BYTES_PER_KEY = 16 * 2**32
_ZEROS = bytes(1 << 19)
# Versions of `cryptography` before 43 ask for room beyond what they write.
_SLACK = 16


class KeyStream:
    """Uniform 64-bit numbers, AES-256 in counter mode.

    A new key is taken after 2^32 blocks of 16 bytes, and in a forked child at once, so that parent and child never give
    out the same bits. Not for use from two threads at the same time. It cannot be copied or pickled.

    Args:
        keys: gives a fresh 32-byte key whenever it is called; the operating system by default.

    Guarantees:
        Indistinguishable from ideal random bits, if AES is a pseudo-random permutation and the keys are uniform.
    """

    def __init__(self, keys: Callable[[], bytes] = lambda: os.urandom(32)) -> None:
        self._keys = keys
        self._take_key()

    @classmethod
    def insecure_fixed_seed(cls, seed: int, *, purpose: str) -> KeyStream:
        """Reproducible, and so without any protection: who knows the seed knows the bits.

        Args:
            seed: any integer. purpose: streams of one seed and different purposes are independent.
        """
        numbers = count()
        return cls(lambda: sha256(f"privgen insecure seed/{purpose}/{seed}/{next(numbers)}".encode()).digest())

    def __reduce__(self) -> NoReturn:
        raise TypeError("A stream of bits cannot be copied: whoever has the copy knows the noise. Make a new one.")

    def _take_key(self) -> None:
        self._encryptor = Cipher(algorithms.AES(self._keys()), modes.CTR(bytes(16))).encryptor()
        self._left, self._process = _BYTES_PER_KEY, os.getpid()

    def __call__(self, count: int) -> NDArray[np.uint64]:
        """(count,) uint64, uniform; the next bits of the stream, however it is cut into calls."""
        if self._process != os.getpid():
            self._take_key()
        size = 8 * count
        buffer = np.empty(size + _SLACK, dtype=np.uint8)
        done = 0
        while done < size:
            if self._left == 0:
                self._take_key()
            step = min(size - done, self._left, len(_ZEROS))
            self._encryptor.update_into(_ZEROS[:step], buffer.data[done : done + step + _SLACK])
            done, self._left = done + step, self._left - step
        return buffer[:size].view("<u8").astype(np.uint64, copy=False)
