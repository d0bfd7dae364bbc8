"""Poisson sampling, plain and cyclic over groups: every record tosses a coin of its own.

A record's group is a keyed hash of its identity (AES under the salt), so it depends on no other record: neither
on position nor on how many there are. Step t of a banded segment draws from group t mod b, each of its records
with probability b·q (docs/privacy.md, theorem 3). Batches are never truncated or topped up, and may be empty. Where
several ranks train together each tosses the coins of the records that a hash of their identity gives it (theorem 15).

    >>> ids = np.arange(32, dtype=np.uint8).reshape(2, 16)
    >>> groups = assign_groups(ids, bands=4, salt=bytes(16))
    >>> bool((assign_groups(ids[1:], bands=4, salt=bytes(16)) == groups[1:]).all())
    True
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from accountant.events import Event
from privgen.errors import ConfigError
from privgen.mechanism.key_stream import KeyStream

Coins = Callable[[int], NDArray[np.uint64]]


def assign_groups(ids: NDArray[np.uint8], *, bands: int, salt: bytes) -> NDArray[np.int64]:
    """The group of each record, from 0 to bands − 1.

    Args:
        ids: (N, 16) stable identities, each of one record. salt: 16 bytes.

    Returns:
        (N,). Uniform to b/2⁶⁴, and independent between records as far as AES is a pseudorandom function.

    Raises:
        ConfigError: an identity stands twice: two records would share their coins' fate.
    """
    return (_hashed(ids, salt)[::2] % np.uint64(bands)).astype(np.int64)


def assign_shards(ids: NDArray[np.uint8], *, shards: int, salt: bytes) -> NDArray[np.int64]:
    """Which rank holds each record, from 0 to shards − 1.

    Args:
        ids: (N, 16) stable identities, each of one record. shards: how many ranks train. salt: 16 bytes, of the run.

    Returns:
        (N,). A function of a record's identity and the salt alone: of no position, and of no other record. Uniform, and
        independent of the groups: it is made of the other half of the same hash.

    Raises:
        ConfigError: an identity stands twice.
    """
    return (_hashed(ids, salt)[1::2] % np.uint64(shards)).astype(np.int64)


def _hashed(ids: NDArray[np.uint8], salt: bytes) -> NDArray[np.uint64]:
    """(2N,): two numbers for each record, its identity under a secret permutation."""
    if ids.ndim != 2 or ids.shape[1] != 16 or ids.dtype != np.uint8:
        raise ConfigError(f"Expected ids of shape (N, 16), uint8, got {ids.shape}, {ids.dtype}.")
    if len(np.unique(ids.view("V16"))) != len(ids):
        raise ConfigError("Two records have the same identity; give each record an id of its own.")
    # ECB is meant: each block is one identity under a secret permutation, and identities do not repeat.
    encryptor = Cipher(algorithms.AES(salt), modes.ECB()).encryptor()
    return np.frombuffer(encryptor.update(np.ascontiguousarray(ids).tobytes()), dtype=np.uint64)


class PoissonSampler:
    """Draws batches; each record decides by a 64-bit coin against the event's own sampling rate.

    Args:
        ids: (N, 16) uint8 identities. bands: groups for cyclic sampling, 1 for plain.
        salt: 16 bytes, kept over resumes.
        coins: count → uint64 numbers; None draws them from a fresh cryptographic stream, which is the only
            choice that protects anybody.
        mine: (N,) bool, the records whose coins are tossed here where ranks share them; None for all.
    """

    def __init__(
        self,
        ids: NDArray[np.uint8],
        *,
        bands: int,
        salt: bytes,
        coins: Coins | None = None,
        mine: NDArray[np.bool_] | None = None,
    ) -> None:
        groups = assign_groups(ids, bands=bands, salt=salt)
        if mine is not None:
            groups = np.where(mine, groups, -1)
        self._members = [np.flatnonzero(groups == group) for group in range(bands)]
        self._coins: Coins = KeyStream() if coins is None else coins

    def draw(self, event: Event, cycle: int) -> NDArray[np.int64]:
        """Indices of one Poisson batch, ascending; possibly none.

        Args:
            event: what the step will release; its sampling rate (and bands) are what is sampled with.
            cycle: the step's number within its segment.

        Raises:
            ConfigError: the event has other bands than this sampler.
        """
        bands = event.bands
        if bands != len(self._members):
            raise ConfigError(f"Expected an event of {len(self._members)} bands, got {event}.")
        members = self._members[cycle % bands]
        rate = bands * event.sampling_rate
        if rate >= 1:
            return members
        # floor(rate · 2⁶⁴) of 2⁶⁴ values: at most the rate that is charged.
        limit = np.uint64(int(rate * 2**64))
        return members[self._coins(len(members)) < limit]

    def mark(self) -> bytes:
        """Some coins that are used up: where two ranks have the same, both toss the same coins."""
        return self._coins(2).tobytes()
