"""Windows of an image as rows of a matrix, for convolutions written as matrix products.

>>> import torch
>>> window = Window(kernel=(2, 2), stride=(2, 2), padding=(0, 0), dilation=(1, 1))
>>> window.rows_of(torch.arange(16.0).view(1, 1, 4, 4), (2, 2))[0, 0]
tensor([0., 1., 4., 5.])
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

# Vertical and horizontal, or three numbers.
Sides = tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """The windows that a convolution looks through, in two or three dimensions.

    Args:
        kernel, stride, padding, dilation: along each dimension, as torch.nn.Conv2d and Conv3d mean them.
    """

    kernel: Sides
    stride: Sides
    padding: Sides
    dilation: Sides

    def rows_of(self, images: Tensor, places: Sides) -> Tensor:
        """(n, L, kh·kw·C) from (n, C, H, W): each of the first `places` windows a row, its channels innermost.

        A transposed convolution with output padding has fewer positions than windows. With the channels
        innermost a window is a few long runs of memory, so that this is one fast strided copy.
        """
        n, channels = images.shape[:2]
        x = self._padded(images)  # (n, H + 2·ph, W + 2·pw, C)
        of_n, *of_sides, _ = x.stride()
        windows = x.as_strided(
            (n, *places, *self.kernel, channels),
            (
                of_n,
                *(of * step for of, step in zip(of_sides, self.stride, strict=True)),
                *(of * step for of, step in zip(of_sides, self.dilation, strict=True)),
                1,
            ),
        )
        return windows.reshape(n, math.prod(places), math.prod(self.kernel) * channels)

    def _padded(self, images: Tensor) -> Tensor:
        n, channels, *sides = images.shape
        around = list(zip(sides, self.padding, strict=True))
        x = images.new_zeros(n, *(side + 2 * pad for side, pad in around), channels)
        x[(slice(None), *(slice(pad, pad + side) for side, pad in around))] = images.movedim(1, -1)
        return x


Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d


def window_of(layer: Convolution) -> Window:
    """The windows of a convolution's input, or of a transposed convolution's output; a sequence's are of height one."""
    assert not isinstance(layer.padding, str)  # `layers.require_supported`
    return Window(
        kernel=_sides(layer.kernel_size, 1),
        stride=_sides(layer.stride, 1),
        padding=_sides(layer.padding, 0),
        dilation=_sides(layer.dilation, 1),
    )


def _sides(sizes: Sequence[int], of_height_one: int) -> Sides:
    return tuple(sizes) if len(sizes) > 1 else (of_height_one, *sizes)
