"""The floor under the mixture's covariances: a public law of how strong a photograph's frequencies are.

    v(i, j) = 0.007 · H · W / (1 + i² + j²)      variance of coefficient (i, j) of the orthonormal cosine transform

of an image in [−1, 1]. The power of natural images falls as 1/f² (Field 1987, "Relations between the statistics of
natural images"); the constant is that of grey 28×28 to 64×64 patches of the two photographs that scikit-learn ships,
whose v · (i² + j²) / (H · W) is 0.004 to 0.012 from the lowest frequencies to the highest.

Guarantees: a function of the images' size alone. No data set is looked at, and neighbours have one floor
(docs/privacy.md, theorem 13).
"""

from __future__ import annotations

import torch
from torch import Tensor

_STRENGTH = 0.007


def public_floor(size: int, frequencies: int) -> tuple[float, Tensor]:
    """Variances of what the mixture does not describe.

    Args:
        size: height = width of the images. frequencies: kept by the mixture in each direction, 1 to size.

    Returns:
        v of the kept frequencies, one number: that of the first frequency left out; and (size, size) float64 the
        variance of every frequency, the kept ones included.
    """
    rise = torch.arange(size, dtype=torch.float64)
    strength = _STRENGTH * size * size
    kept = strength / (1 + frequencies**2)
    floor = strength / (1 + rise[:, None].square() + rise.square())
    floor[:frequencies, :frequencies] = kept
    return kept, floor
