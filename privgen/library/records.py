"""`LibraryRecords`: a data set of one's own behind `privgen.training.records.TrainingRecords`.

Who a record is, whatever others there are, in this order: what a column or a function says of it, its index where the
caller declares that this is a stable id, and otherwise its content with the number of equal ones before it
(`privgen.data.identity`). The data set is read once through when training is made: for the identities, for one form of
all records, and to see that a record is the same each time it is asked for.

Guarantees: what is read for a batch is a function of each record alone, where `dataset[i]` is; that it is stays on
trust. Numbers of an augmentation come from a generator of the record's own place, seeded by the operating system.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, Subset, TensorDataset

from accountant.budget import Neighbouring
from accountant.ledger.writers import BY_CONTENT, DECLARED_INDEX, GIVEN
from accountant.plans.plan import Plan
from privgen.data.identity import content_ids, identities, require_unique
from privgen.data.planned import FAR_OFF
from privgen.errors import ConfigError, DataError, RunError
from privgen.gradients.clipped_sums import Rows
from privgen.library.reading import Augment, DrawnColumn, DrawnRecords, ReadingPool, RecordReader, fresh_generator
from privgen.library.record_form import RecordForm, Tensors, digest_of
from privgen.training.canaries import Canaries
from privgen.training.method import RecordFacts

# A column's place in a record, or a function of the record.
Identity = int | str | Callable[[Any], Any]


class Records(Protocol):
    """A map-style data set."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class _Columns:
    """Tensors with the records first, as a map-style data set of tuples, or of what the one tensor has."""

    columns: Tensors
    single: bool

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, index: int) -> Any:
        return self.columns[0][index] if self.single else tuple(column[index] for column in self.columns)


def records_of(dataset: Any) -> Records:
    """A data set, or tensors, as a map-style data set.

    Args:
        dataset: one; or a tensor (N, ...); or a tuple of tensors with the records first.

    Raises:
        ConfigError: it is none of these.
    """
    if type(dataset) is TensorDataset:
        dataset = dataset.tensors
    if isinstance(dataset, Tensor):
        return _Columns((dataset,), single=True)
    if isinstance(dataset, tuple) and dataset and all(isinstance(column, Tensor) for column in dataset):
        sizes = [len(column) for column in dataset]
        if len(set(sizes)) > 1:
            raise ConfigError(f"Expected tensors with the records first, all of one length, got {sizes}.")
        return _Columns(dataset, single=False)
    if isinstance(dataset, IterableDataset) or not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise ConfigError(
            f"Expected a map-style data set (len and [i]) or tensors, got {type(dataset).__name__}: a Poisson draw "
            "takes each record by itself. Read a stream into a list first."
        )
    found: Records = dataset
    return found


class LibraryRecords:
    """The records of one run.

    Args:
        dataset: as `records_of` takes it. identity: see the module; None for content.
        stable_index: the caller's word that index i is the same record's for good, whatever others come and go.
        augment: (record, generator) → record of the form that all have; or None. views: augmented ones of a record
            that is drawn, >= 1; they count as one record. workers: processes that read, or 0 for a thread.

    Raises:
        DataError: records of several forms, or two of one identity. ConfigError: no map-style data set, one that gives
            other records each time, or arguments that exclude each other.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        identity: Identity | None = None,
        stable_index: bool = False,
        augment: Augment | None = None,
        views: int = 1,
        workers: int = 0,
    ) -> None:
        if identity is not None and stable_index:
            raise ConfigError("Give identity= or stable_index=True, not both.")
        if not isinstance(views, int) or views < 1 or (views > 1 and augment is None):
            raise ConfigError(f"Expected views={views!r} to be >= 1, and 1 where there is no augment=.")
        if not isinstance(workers, int) or workers < 0:
            raise ConfigError(f"Expected workers={workers!r} to be a number of processes >= 0; 0 reads in a thread.")
        self._dataset, self._augment, self.views = records_of(dataset), augment, views
        self.identified_by = DECLARED_INDEX if stable_index else BY_CONTENT if identity is None else GIVEN
        self._count = len(self._dataset)
        if self._count < 1:
            raise DataError("The data set has no record.")
        first = self._dataset[0]
        self.form = RecordForm.of(first)
        self._digests = self._read_once(identity)
        self.drawn_form = self.form if augment is None else RecordForm.of(augment(first, fresh_generator()))
        self.reader = RecordReader(dataset=self._dataset, form=self.drawn_form, augment=augment, views=views)
        self._pool = ReadingPool(self.reader, workers)

    def _read_once(self, identity: Identity | None) -> list[bytes]:
        """The digest of each record, in order; sets `ids`."""
        digests, keys = [], []
        for index in range(self._count):
            record = self._dataset[index]
            digests.append(digest_of(self.form.tensors(record)))
            if identity is not None:
                keys.append(_key(record, identity))
        for index in {0, self._count - 1}:
            if digest_of(self.form.tensors(self._dataset[index])) != digests[index]:
                raise ConfigError(
                    "The data set gives another record each time it is asked for one: it augments. Take that out, and "
                    "give it as augment=: then its numbers are the record's own."
                )
        self.require_same_length()
        if self.identified_by == DECLARED_INDEX:
            keys = [str(index) for index in range(self._count)]
        require_unique(keys, "The data set")
        self.ids: NDArray[np.uint8] = identities(keys) if keys else content_ids(digests)
        return digests

    def __len__(self) -> int:
        return self._count

    def require_same_length(self) -> None:
        """Raise DataError if the data set has another number of records than when it was read."""
        if len(self._dataset) != self._count:
            raise DataError(
                f"The data set had {self._count} records and has {len(self._dataset)}; what is trained on may not "
                "change while it is trained on."
            )

    @property
    def source(self) -> str | None:
        """None: they are handed over again."""
        return None

    @property
    def facts(self) -> RecordFacts:
        """The shape of the first tensor."""
        return RecordFacts(shape=tuple(self.form.shapes[0]))

    @property
    def everything(self) -> Records:
        """The data set."""
        return self._dataset

    def everything_of(self, rows: NDArray[np.int64]) -> Records:
        """These records of it."""
        return Subset(self._dataset, rows.tolist())  # type: ignore[arg-type]  # any map-style data set will do

    def require_planned(self, plan: Plan) -> None:
        """Raise DataError unless the plan may be carried out on them."""
        if abs(self._count - plan.dataset_size) > FAR_OFF * plan.dataset_size:
            raise DataError(
                f"The plan is for N = {plan.dataset_size} records and the data set has {self._count}, over "
                f"{FAR_OFF:.0%} away; plan with dataset_size={self._count}, or give the records that were planned for."
            )
        if plan.neighbouring is Neighbouring.REPLACE_ONE and self.identified_by == BY_CONTENT:
            raise DataError(
                "The plan is for replace-one, and content is no identity that a record in its place would keep: give "
                "identity= (a column or a function), or plan for add-or-remove-one."
            )

    def notes(self, plan: Plan) -> tuple[str, ...]:
        """What only their owner is told."""
        if self._count == plan.dataset_size:
            return ()
        return (f"{self._count} records are trained on, and N = {plan.dataset_size} is what the plan divides by",)

    def fingerprint(self) -> str:
        """SHA-256 of all of them, whatever their order; private."""
        return hashlib.sha256(b"".join(sorted(self._digests))).hexdigest()

    def contents(self) -> Iterator[bytes]:
        """A digest of each; private."""
        return iter(self._digests)

    def canaries(self, count: int) -> Canaries:
        """There are none."""
        raise RunError("A data set of one's own has no made-up records to plant; omit canaries.")

    def drawn(self, rows: NDArray[np.int64], device: torch.device) -> tuple[Rows, ...]:
        """The records of one Poisson batch: each tensor (n, ...), or (n, views, ...) where they are augmented."""
        if self._augment is None and isinstance(self._dataset, _Columns):
            chosen = torch.from_numpy(rows)
            return tuple(column[chosen.to(column.device)].detach().to(device) for column in self._dataset.columns)
        drawn = DrawnRecords(self._pool, rows, self.like(device), device)
        return tuple(DrawnColumn(drawn, place) for place in range(len(self.drawn_form.shapes)))

    def close(self) -> None:
        """End the processes that read; they begin again where more is drawn."""
        self._pool.close()

    def like(self, device: torch.device) -> Tensors:
        """No records, as they are drawn."""
        return self.drawn_form.empty(device, 0, *(() if self._augment is None else (self.views,)))


def _key(record: Any, identity: Identity) -> str:
    """What names a record for good."""
    try:
        found = identity(record) if callable(identity) else record[identity]
    except (KeyError, IndexError, TypeError) as error:
        columns = list(record) if isinstance(record, Mapping) else type(record).__name__
        raise ConfigError(f"A record has no column {identity!r} ({error!r}); it has {columns}.") from error
    if isinstance(found, Tensor | np.generic) and found.ndim == 0:
        found = found.item()
    if isinstance(found, bytes):
        return found.hex()
    if isinstance(found, bool) or not isinstance(found, int | str):
        raise ConfigError(f"Expected identity= to give text or an integer, got {type(found).__name__}.")
    return str(found)
