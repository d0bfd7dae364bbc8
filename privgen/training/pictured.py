"""`Pictured`: what the training watch (`privgen.training.watch`) asks of a learner, and nothing of it sees a record."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Pictured:
    """Shows what the networks generate now; a method that shows nothing leaves all of it as it is."""

    @property
    def pictured_classes(self) -> int:
        """How many classes `pictured` can show; 0 where it shows nothing."""
        return 0

    def pictured(self, labels: Tensor, source: torch.Generator) -> Tensor | None:
        """Images of these labels by the networks as they are, for the training watch; None where that is too dear.

        Args:
            labels: (n,). source: of all randomness, the watch's own.

        Returns:
            (n, C, H, W) in [−1, 1].

        Guarantees (the method's): it changes nothing, the run's own random numbers included.
        """
        return None

    def judged(self, images: Tensor, labels: Tensor) -> Mapping[str, float]:
        """What released networks say of generated images, for the training watch: "score gap" and "accuracy"."""
        return {}
