"""Where the Gaussian noise comes from: fast, secure, or (never for a release) from a fixed seed.

| kind | source | for |
|---|---|---|
| fast | torch's generator on the device, its whole state from the operating system | research; the default |
| secure | AES-CTR keyed by the operating system, Box–Muller in float64, four draws summed and halved | release |
| insecure-fixed-seed | torch's generator with the seed that was given | debugging; protects nobody |

Noise in floating point is not exactly Gaussian: its low bits can tell which value was added to (Mironov 2012).
Summing several draws (Holohan & Braghin 2021, arXiv 2107.10138) makes that attack far more expensive, which
is what published practice does (Opacus' secure mode); only discrete noise removes it (Casacuberta et al. 2022,
arXiv 2207.10635). The reports say which kind was used.

    >>> source = NoiseSource.secure(torch.device("cpu"))
    >>> source.kind, tuple(source.normal((2, 3), std=0.5).shape)
    ('secure', (2, 3))
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from torch import Tensor

_SUMMED = 4
# Where torch keeps the 624 words of its Mersenne twister, one in eight bytes (at::CPUGeneratorImplStateLegacy).
_WORDS, _WORDS_AT = 624, 24


def system_generator(device: torch.device) -> torch.Generator:
    """A torch generator that nobody can guess, for noise and for whatever is drawn beside records.

    On the CPU the whole state of the Mersenne twister comes from the operating system: torch's own seeding takes
    32 bits of the seed and no more (seeds 5 and 5 + 2³² give the same numbers), which anybody can try out.
    Elsewhere it is Philox under 64 bits of the operating system's.

    Raises:
        RuntimeError: this torch keeps its state in another form.
    """
    seed = int.from_bytes(os.urandom(8), "big")
    generator = torch.Generator(device=device).manual_seed(seed >> 1)
    if device.type != "cpu":
        return generator
    state = generator.get_state().numpy().copy()
    words = state[_WORDS_AT : _WORDS_AT + 8 * _WORDS].view(np.uint64)
    if int(words[0]) != (seed >> 1) & 0xFFFFFFFF or int(words.max()) > 0xFFFFFFFF:
        raise RuntimeError("This torch keeps its generator's state in another form; use --noise secure.")
    words[:] = np.frombuffer(os.urandom(4 * _WORDS), dtype=np.uint32)
    return generator.set_state(torch.from_numpy(state))


class KeyStream:
    """Uniform 64-bit numbers from AES-256 in counter mode under a key that the operating system gave."""

    def __init__(self) -> None:
        cipher = Cipher(algorithms.AES(os.urandom(32)), modes.CTR(os.urandom(16)))
        self._encryptor = cipher.encryptor()

    def __call__(self, count: int) -> np.ndarray:
        """(count,) uint64, uniform."""
        return np.frombuffer(self._encryptor.update(bytes(8 * count)), dtype=np.uint64)


class NoiseSource:
    """Standard normal numbers of one kind. Its state is never saved: a resumed step draws afresh.

    Args:
        kind: what the ledger and the reports say. draw: shape → standard normal float tensor.
    """

    def __init__(self, kind: str, draw: Callable[[Sequence[int]], Tensor]) -> None:
        self.kind = kind
        self._draw = draw

    @classmethod
    def fast(cls, device: torch.device) -> NoiseSource:
        """torch's generator on the device, freshly filled by the operating system (`system_generator`)."""
        return cls("fast", _torch_draw(system_generator(device)))

    @classmethod
    def secure(cls, device: torch.device) -> NoiseSource:
        """A cryptographic generator; about ten times slower."""
        stream = KeyStream()

        def draw(shape: Sequence[int]) -> Tensor:
            count = math.prod(shape)
            total = sum(_box_muller(stream, count) for _ in range(_SUMMED)) / math.sqrt(_SUMMED)
            return torch.from_numpy(total).to(device, torch.float32).reshape(tuple(shape))

        return cls("secure", draw)

    @classmethod
    def insecure_fixed_seed(cls, seed: int, device: torch.device) -> NoiseSource:
        """Reproducible, and so without any protection: who knows the seed can subtract the noise."""
        return cls("insecure-fixed-seed", _torch_draw(torch.Generator(device=device).manual_seed(seed)))

    def normal(self, shape: Sequence[int], *, std: float) -> Tensor:
        """Independent N(0, std²) numbers, float32, on the device."""
        return self._draw(shape) * std


def _torch_draw(generator: torch.Generator) -> Callable[[Sequence[int]], Tensor]:
    return lambda shape: torch.randn(tuple(shape), generator=generator, device=generator.device)


def _box_muller(stream: KeyStream, count: int) -> np.ndarray:
    """(count,) standard normal float64 from 53-bit uniforms."""
    half = (count + 1) // 2
    bits = stream(2 * half) >> np.uint64(11)
    # (0, 1]: a logarithm is taken of it.
    uniform = (bits[:half].astype(np.float64) + 1) * 2.0**-53
    angle = bits[half:].astype(np.float64) * (2 * math.pi * 2.0**-53)
    radius = np.sqrt(-2 * np.log(uniform))
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
