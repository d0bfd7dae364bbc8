"""The images of one drawn batch, read from disk while what does not need them yet is computed.

    >>> mapped = MappedImages(np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1), np.arange(6))
    >>> drawn = DrawnImages(mapped, np.array([0, 3, 5]), torch.device("cpu"))
    >>> len(drawn), float(drawn[0:1]), len(drawn[1:3])
    (3, -1.0, 2)

Guarantees: reading begins when the batch is drawn, that is, after its step was admitted, and no coin is tossed
for a step that was not. What overlaps is the reading of a batch's later rows with the work on the earlier ones and
with whatever comes before the first of them (the generator's images).
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privgen.data.mapped import MappedImages

# Rows that are read at a time.
_TOGETHER = 32


def to_tensor(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """uint8 (n, H, W, C) as float (n, C, H, W) in [−1, 1]."""
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def drawn_images(
    images: NDArray[np.uint8] | MappedImages, chosen: NDArray[np.int64], device: torch.device
) -> Tensor | DrawnImages:
    """The chosen images in [−1, 1]: at once from memory, in the background from disk.

    Args:
        images: (N, H, W, C) uint8. chosen: (n,) indices of one Poisson batch; n may be 0.
    """
    if isinstance(images, MappedImages):
        return DrawnImages(images, chosen, device)
    return to_tensor(images[chosen], device)


class DrawnImages:
    """Like a tensor (n, C, H, W), as far as its length and slices of its rows go.

    Args:
        images: on disk. chosen: (n,) rows. device: of the tensors.
    """

    def __init__(self, images: MappedImages, chosen: NDArray[np.int64], device: torch.device) -> None:
        self._count = len(chosen)
        self._device = device
        self._shape = images.shape[1:]
        self._ends = [*range(0, self._count, _TOGETHER), self._count]
        reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="privgen-read")
        self._blocks: list[Future[NDArray[np.uint8]]] = [
            reader.submit(images.__getitem__, chosen[first:last]) for first, last in pairwise(self._ends)
        ]
        # The thread ends with the last block.
        reader.shutdown(wait=False)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, rows: slice) -> Tensor:
        """(k, C, H, W) of these rows; waits for those that are not read yet.

        Raises:
            OSError: they cannot be read.
        """
        first, last, _ = rows.indices(self._count)
        blocks = [
            block.result()[max(first - start, 0) : last - start]
            for block, (start, end) in zip(self._blocks, pairwise(self._ends), strict=True)
            if start < last and first < end
        ]
        read = np.concatenate(blocks) if blocks else np.empty((0, *self._shape), np.uint8)
        return to_tensor(read, self._device)
