"""The moving average of a network that is released in its place; made of released weights alone.

>>> young_decay(0.998, 1), young_decay(0.998, 10_000)
(0.18181818181818182, 0.998)
"""

from __future__ import annotations

import torch
from torch import nn


def young_decay(decay: float, steps: int) -> float:
    """The decay after so many steps: a young average would remember the initial weights for 1 / (1 − decay) of them."""
    return min(decay, (1 + steps) / (10 + steps))


@torch.no_grad()
def average_into(averaged: nn.Module, module: nn.Module, decay: float) -> None:
    """averaged ← decay · averaged + (1 − decay) · module, of the parameters; buffers are copied."""
    for mean, value in zip(averaged.parameters(), module.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)
    for kept, now in zip(averaged.buffers(), module.buffers(), strict=True):
        kept.copy_(now)
