"""Windows of an image as rows of a matrix, for convolutions written as matrix products.

>>> import torch
>>> window = Window(kernel=(2, 2), stride=(2, 2), padding=(0, 0), dilation=(1, 1))
>>> window.rows_of(torch.arange(16.0).view(1, 1, 4, 4), (2, 2))[0, 0]
tensor([0., 1., 4., 5.])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

Pair = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """The windows that a convolution looks through.

    Args:
        kernel, stride, padding, dilation: vertical and horizontal, as torch.nn.Conv2d means them.
    """

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair

    def rows_of(self, images: Tensor, places: Pair) -> Tensor:
        """(n, L, kh·kw·C) from (n, C, H, W): each of the first `places` windows a row, its channels innermost.

        A transposed convolution with output padding has fewer positions than windows. With the channels
        innermost a window is a few long runs of memory, so that this is one fast strided copy.
        """
        n, channels = images.shape[:2]
        down, across = places
        x = self._padded(images)  # (n, H + 2·ph, W + 2·pw, C)
        of_n, of_h, of_w, _ = x.stride()
        windows = x.as_strided(
            (n, down, across, *self.kernel, channels),
            (
                of_n,
                of_h * self.stride[0],
                of_w * self.stride[1],
                of_h * self.dilation[0],
                of_w * self.dilation[1],
                1,
            ),
        )
        return windows.reshape(n, down * across, self.kernel[0] * self.kernel[1] * channels)

    def _padded(self, images: Tensor) -> Tensor:
        n, channels, height, width = images.shape
        down, across = self.padding
        x = images.new_zeros(n, height + 2 * down, width + 2 * across, channels)
        x[:, down : down + height, across : across + width] = images.permute(0, 2, 3, 1)
        return x


def window_of(layer: nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d) -> Window:
    """The windows of a convolution's input, or of a transposed convolution's output; a sequence's are of height one."""
    assert not isinstance(layer.padding, str)  # `layers.require_supported`
    return Window(
        kernel=_pair(layer.kernel_size, 1),
        stride=_pair(layer.stride, 1),
        padding=_pair(layer.padding, 0),
        dilation=_pair(layer.dilation, 1),
    )


def _pair(sizes: Sequence[int], of_height_one: int) -> Pair:
    down, across = sizes if len(sizes) == 2 else (of_height_one, *sizes)
    return down, across
