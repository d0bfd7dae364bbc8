"""A torch generator for what is drawn beside no record: free latent vectors, injected noise of the free steps.

It hides nothing: no privacy rests on it. It is filled by the operating system all the same, so that two runs differ.
"""

from __future__ import annotations

import os

import numpy as np
import torch

# Where torch keeps the 624 words of its Mersenne twister, one in eight bytes (at::CPUGeneratorImplStateLegacy).
_WORDS, _WORDS_AT = 624, 24


def system_generator(device: torch.device) -> torch.Generator:
    """A torch generator whose whole state comes from the operating system.

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
        raise RuntimeError("This torch keeps its generator's state in another form; a newer privgen may know it.")
    words[:] = np.frombuffer(os.urandom(4 * _WORDS), dtype=np.uint32)
    return generator.set_state(torch.from_numpy(state))
