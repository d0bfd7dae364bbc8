"""What a share of the records releases in GS-WGAN: the clipped gradients of n generated images, as one vector.

    critic ← trained on the share's records against these images, without noise or clipping
    g_j = clip(∂ mean_j critic(x_j) / ∂x_j, C)           j = 1 … n            released: (g_1, …, g_n) + noise

Nothing is known of what a record does to a trained critic, so the bound is the widest there is: whatever the critic is,
(g_1, …, g_n) lies in a ball of radius C√n, and another record moves it by at most 2C√n. The noise is for that.

Guarantees: what is returned is a vector of integers in grid steps of length at most C√n/h, for any records. The critic
begins from the same public weights each time and is forgotten, so that a share's release is a function of its own
records and of what was released before: nothing else passes from one step to the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from privgen.gradients.clipped_sums import Rows, Sums, Weighting
from privgen.training.method import RecordTask

# Less than one by more than float32 rounds up: a clipped gradient is never longer than C.
_INSIDE = 1 - 2.0**-18


@dataclass(frozen=True, kw_only=True, slots=True)
class ShareTask(RecordTask):
    """Releases a function of all records of a draw together, of bounded length.

    Args:
        gradients: (images, labels) of the share → (n, C, H, W), of whatever length. clip_norm: C, of each of them.
        grid_step: h.
    """

    gradients: Callable[[Tensor, Tensor], Tensor]
    clip_norm: float
    grid_step: float

    def sums(self, records: tuple[Rows, ...], weighting: Weighting, *, physical_batch: int | None) -> Sums:
        """The share's vector; where error is fed back, none is."""
        count = len(records[0])
        images, labels = (rows[0:count] for rows in records)
        found = clipped(self.gradients(images, labels), self.clip_norm)
        whole = {"pixels": torch.trunc(found.double() / self.grid_step)}
        owed = len(weighting(torch.zeros(0, dtype=torch.float64))) - 1
        nothing = {name: torch.zeros_like(value) for name, value in whole.items()}
        return Sums(norms=torch.zeros(count, dtype=torch.float64), sums=(whole, *(nothing,) * owed), nonfinite=0)


def clipped(gradients: Tensor, clip_norm: float) -> Tensor:
    """Each of (n, ...) scaled down to a length of at most C; one that is not finite becomes zero."""
    finite = torch.isfinite(gradients.flatten(1)).all(1)
    known = torch.where(finite.view(-1, *(1,) * (gradients.dim() - 1)), gradients, 0.0).double()
    norms = known.flatten(1).norm(dim=1).clamp_min(1e-300)
    scale: Tensor = (clip_norm / norms).clamp_max(1.0) * _INSIDE
    return known * scale.view(-1, *(1,) * (gradients.dim() - 1))


def diameter(clip_norm: float, images: int) -> float:
    """2C√n: how far apart two shares' vectors can be, rounded up."""
    return math.nextafter(2 * clip_norm * math.sqrt(images), math.inf)
