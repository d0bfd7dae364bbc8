"""`TrainingRecords`: all that training asks of the data; `ImageRecords`: a data set of images behind it.

Nothing else in training reads a record, so that what a record is (an image and its label, a row of a table) is said
here alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from accountant.plans.plan import Plan
from privgen.data import DataSet, ImageData
from privgen.data.batches import drawn_images
from privgen.data.mapped import taken
from privgen.data.planned import private_notes, require_planned_data
from privgen.gradients.clipped_sums import Rows
from privgen.training.canaries import Canaries, draw_canaries
from privgen.training.method import RecordFacts


class TrainingRecords(Protocol):
    """The records of one run, in memory or wherever they are."""

    @property
    def ids(self) -> NDArray[np.uint8]:
        """(N, 16) stable identities, all different; one a record, in the order of the rows."""

    @property
    def source(self) -> str | None:
        """What to load them by again, or None; private."""

    @property
    def identified_by(self) -> str | None:
        """By what records are told apart, where an audit must say so (`accountant.ledger.writers`); or None."""

    @property
    def facts(self) -> RecordFacts:
        """What is public of each."""

    @property
    def everything(self) -> Any:
        """All of them, for a warm start's `Statistics.sums`."""

    def everything_of(self, rows: NDArray[np.int64]) -> Any:
        """These of them alone, in the same form: a rank's share of a warm start."""

    def require_planned(self, plan: Plan) -> None:
        """Raise DataError unless the plan may be carried out on them."""

    def notes(self, plan: Plan) -> tuple[str, ...]:
        """What only their owner is told."""

    def fingerprint(self) -> str:
        """SHA-256 of all of them, whatever their order; private."""

    def contents(self) -> Iterator[bytes]:
        """Each record as training sees it, for the register of what was spent on it; private."""

    def drawn(self, rows: NDArray[np.int64], device: torch.device) -> tuple[Rows, ...]:
        """The records of one Poisson batch, whose every tensor has them first; there may be none."""

    def canaries(self, count: int) -> Canaries:
        """Made-up records to plant.

        Raises:
            RunError: these records have no canaries.
        """


@dataclass(frozen=True, slots=True)
class ImageRecords:
    """Images and labels: what is trained on of a data set.

    Args:
        data: the data set; its test split stays unread.
    """

    data: DataSet

    @property
    def train(self) -> ImageData:
        """The records."""
        return self.data.train

    @property
    def ids(self) -> NDArray[np.uint8]:
        """(N, 16) stable identities."""
        return self.train.ids

    @property
    def source(self) -> str | None:
        """What the data set was loaded by; private."""
        return self.data.source

    @property
    def identified_by(self) -> None:
        """Nothing that an audit need say: `privgen.data.identity` has it."""

    @property
    def facts(self) -> RecordFacts:
        """Channels first, as networks take images, and the names of the classes."""
        height, width, channels = self.train.images.shape[1:]
        return RecordFacts(shape=(channels, height, width), class_names=self.train.class_names)

    @property
    def everything(self) -> ImageData:
        """The training split."""
        return self.train

    def everything_of(self, rows: NDArray[np.int64]) -> ImageData:
        """These records of the training split."""
        train = self.train
        return replace(train, images=taken(train.images, rows), labels=train.labels[rows], ids=train.ids[rows])

    def require_planned(self, plan: Plan) -> None:
        """Raise DataError unless the data set is one that the plan may be carried out on."""
        require_planned_data(plan, self.data)

    def notes(self, plan: Plan) -> tuple[str, ...]:
        """What is odd about the data; private."""
        return private_notes(self.data, stated_size=plan.dataset_size)

    def fingerprint(self) -> str:
        """SHA-256 of the training records; private."""
        return self.data.fingerprint()

    def contents(self) -> Iterator[bytes]:
        """Shape, label and pixels of each record; private."""
        return self.train.contents()

    def drawn(self, rows: NDArray[np.int64], device: torch.device) -> tuple[Rows, ...]:
        """Images (n, C, H, W) in [−1, 1], read in the background where they are on disk, and labels (n,)."""
        labels = torch.from_numpy(self.train.labels[rows]).to(device)
        return drawn_images(self.train.images, rows, device), labels

    def canaries(self, count: int) -> Canaries:
        """Made-up images with labels."""
        height, width, channels = self.train.images.shape[1:]
        return draw_canaries(count, image_shape=(height, width, channels), classes=len(self.train.class_names))
