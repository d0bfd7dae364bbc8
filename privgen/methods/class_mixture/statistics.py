"""`MixtureStatistics`: what a warm start releases of all records, and the mixture that is made of it.

Guarantees: records are read by `class_sums.integer_sums` alone. No coin is drawn: every record is in every one of these
releases, and they are charged so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from accountant.plans.warm_start import WarmRelease, WarmStart
from privgen.methods.class_mixture.class_sums import COUNTED_TWICE, as_sums, integer_sums
from privgen.methods.class_mixture.component_fit import update_by_components
from privgen.methods.class_mixture.mixture import ClassMixture
from privgen.methods.class_mixture.mixture_fit import update_mixture

if TYPE_CHECKING:
    from privgen.data import ImageData


class MixtureStatistics:
    """`privgen.training.method.Statistics` of a mixture in each class.

    Args:
        mixture: what is filled. start: the plan's releases. source: of where clusters begin; free.
    """

    counted_twice = COUNTED_TWICE

    def __init__(self, mixture: ClassMixture, start: WarmStart, source: torch.Generator) -> None:
        self._mixture, self._start, self._source = mixture, start, source

    def sums(self, release: WarmRelease, records: ImageData, *, grid_step: float) -> dict[str, Tensor]:
        """Integer sums of one release, by what the releases before made of the mixture."""
        return integer_sums(release, self._mixture, records.images, records.labels, grid_step=grid_step)

    def update(self, place: int, noised: Mapping[str, Tensor], *, grid_step: float) -> None:
        """Put release number `place` into the mixture."""
        update = update_by_components if self._start.components else update_mixture
        update(self._start, place, self._mixture, as_sums(noised, grid_step=grid_step), self._source)
