"""Bits: AES-256 in counter mode, cut anywhere, never twice."""

import copy
import os
import pickle

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from privgen.mechanism import key_stream
from privgen.mechanism.key_stream import KeyStream


def numbered_keys():
    """Keys 0, 1, 2, …, and the list of those that were taken."""
    taken = []

    def key():
        taken.append(len(taken).to_bytes(32, "big"))
        return taken[-1]

    return key, taken


def aes(key, words):
    """The stream under one key from counter zero, by the plain definition: AES of 0, 1, 2, …"""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    blocks = b"".join(encryptor.update(i.to_bytes(16, "big")) for i in range((words + 1) // 2))
    return np.frombuffer(blocks, dtype="<u8")[:words]


def test_it_is_aes_of_a_counter():
    key, _ = numbered_keys()
    assert np.array_equal(KeyStream(key)(101), aes(bytes(32), 101))


def test_calls_may_cut_it_anywhere():
    whole, cut = KeyStream(numbered_keys()[0]), KeyStream(numbered_keys()[0])
    sizes = (1, 0, 3, 64, 70_000, 5)
    assert np.array_equal(whole(sum(sizes)), np.concatenate([cut(size) for size in sizes]))


def test_a_key_gives_no_more_than_its_share(monkeypatch):
    monkeypatch.setattr(key_stream, "_BYTES_PER_KEY", 16 * 5)
    key, taken = numbered_keys()
    drawn = KeyStream(key)(25)
    assert len(taken) == 3
    assert np.array_equal(drawn, np.concatenate([aes(taken[0], 10), aes(taken[1], 10), aes(taken[2], 5)]))


def test_the_share_is_at_most_two_to_the_32_blocks():
    assert key_stream._BYTES_PER_KEY <= 16 * 2**32


def test_a_forked_child_gets_bits_of_its_own(monkeypatch):
    stream = KeyStream()
    twin = stream.__class__.__new__(stream.__class__)
    twin.__dict__.update(stream.__dict__)  # what a fork leaves in the child: the same key and counter
    child = os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: child)
    key_before = twin._encryptor
    twin(4)
    assert twin._encryptor is not key_before


def test_it_cannot_be_copied_or_pickled():
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            attempt(KeyStream())


def test_seeds_and_purposes_are_streams_of_their_own():
    def first(seed, purpose):
        return KeyStream.insecure_fixed_seed(seed, purpose=purpose)(3).tolist()

    assert first(1, "a") == first(1, "a")
    assert len({tuple(first(seed, purpose)) for seed in (0, 1, 2**32, -1) for purpose in "ab"}) == 8


def test_bits_are_balanced():
    ones = int(np.unpackbits(KeyStream.insecure_fixed_seed(0, purpose="test")(100_000).view(np.uint8)).sum())
    assert abs(ones - 3_200_000) < 5 * np.sqrt(1_600_000)
