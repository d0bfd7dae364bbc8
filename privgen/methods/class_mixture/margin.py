"""The margin below black: how a mixture of Gaussians comes to have backgrounds that are black.

    x' = x − α · share of black among the 5×5 pixels around it        where x is black; elsewhere x' = x

in units of [0, 1]; what is outside the image counts as black, and a pixel is black at 0 and 1 of 255. Cutting x' at
black gives the image back, but for that 1 of 255. Pixels pile up at black, which no Gaussian does: one of their mean
and variance is grey there and ends edges in smoke. x' falls away from an edge as a distance does, so sums of two
such images have one edge between theirs, and what a sample is unsure of lies below black.

>>> import torch
>>> x = torch.full((1, 5, 5), -1.0)
>>> x[0, 2, 2] = 0.5
>>> with_margin(x, 0.5)[0, 2].tolist()
[-1.9600000381469727, -1.9600000381469727, 0.5, -1.9600000381469727, -1.9600000381469727]

Guarantees: a function of one image and of a constant of the plan.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

# Pixels to each side, and the largest of 255 that is black.
REACH, BLACK = 2, 1


def with_margin(x: Tensor, margin: float) -> Tensor:
    """x (C, H, W) in [−1, 1] → the same, down to −1 − 2α.

    Args:
        margin: α, in [0, 1] of the range from black to white.
    """
    if not margin:
        return x
    black = (x < (BLACK + 0.5) / 127.5 - 1).to(x.dtype)
    around = functional.pad(black[None], (REACH,) * 4, value=1.0)
    share = functional.avg_pool2d(around, 2 * REACH + 1, stride=1)[0]  # (C, H, W)
    return x - 2 * margin * black * share
