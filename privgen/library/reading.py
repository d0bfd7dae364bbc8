"""Reads the records of a batch beside the step: in a thread, or in processes, passes ahead of the gradients.

Which records are read was drawn before; who reads them changes nothing of what is trained on. A process that dies or
fails loses nothing either: its records are read again here, with a warning, and so are all that follow. Processes are
fresh ones (loky's), which have the data set and the augmentation from the start; what they read comes back as bytes.
"""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from loky import ProcessPoolExecutor
from numpy.typing import NDArray
from torch import Tensor

from privgen.library.record_form import RecordForm, Tensors

Augment = Callable[[Any, torch.Generator], Any]
Indices = NDArray[np.int64]
# What a process gives back of each tensor: its bytes, its type and its shape.
_Sent = tuple[tuple[NDArray[np.uint8], torch.dtype, torch.Size], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordReader:
    """One record by its index, as it is drawn.

    Args:
        dataset: map-style. form: of its records, and of their views. augment: (record, generator) → view, or None.
        views: of a record that is drawn, where there is an augmentation.
    """

    dataset: Any
    form: RecordForm
    augment: Augment | None
    views: int

    def read(self, index: int) -> Tensors:
        """A record's tensors, or those of its views, (views, ...)."""
        record = self.dataset[index]
        if self.augment is None:
            return self.form.tensors(record)
        views = [self.form.tensors(self.augment(record, fresh_generator())) for _ in range(self.views)]
        return tuple(torch.stack(tensors) for tensors in zip(*views, strict=True))

    def stacked(self, rows: Indices) -> Tensors:
        """Each tensor of these records, records first; there is at least one."""
        return tuple(torch.stack(tensors) for tensors in zip(*(self.read(int(row)) for row in rows), strict=True))


def fresh_generator() -> torch.Generator:
    """Of a record's own place, seeded by the operating system."""
    return torch.Generator().manual_seed(secrets.randbits(63))


class ReadingPool:
    """Who reads: one thread, or processes; for a whole run.

    Args:
        reader: of one record. workers: processes, >= 0; 0 for a thread.
    """

    def __init__(self, reader: RecordReader, workers: int) -> None:
        self._reader = reader
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="privgen-read")
        self._workers = workers
        self._processes: Executor | None = None

    @property
    def ahead(self) -> int:
        """Passes that are read before they are asked for."""
        return max(1, 2 * self._workers)

    def submit(self, rows: Indices) -> Reading:
        """Begin to read these records."""
        if not self._workers:
            return Reading(self, rows, self._thread.submit(self._reader.stacked, rows), beside=False)
        try:
            if self._processes is None:
                self._processes = ProcessPoolExecutor(self._workers, initializer=_take, initargs=(self._reader,))
            return Reading(self, rows, self._processes.submit(_read_and_send, rows), beside=True)
        except Exception as error:
            self.give_up(error)
            return self.submit(rows)

    def read_here(self, rows: Indices) -> Tensors:
        """These records, read by who asks."""
        return self._reader.stacked(rows)

    def give_up(self, error: Exception) -> None:
        """From now on a thread reads."""
        if self._workers:
            self._workers = 0
            said = str(error).partition("\n")[0]
            warnings.warn(
                f"A process that reads records failed ({type(error).__name__}: {said:.200}). "
                "Nothing is lost: its records are read again, and from now on by a thread.",
                stacklevel=2,
            )
        self.close()

    def close(self) -> None:
        """End the processes; they begin again where more is read."""
        if isinstance(self._processes, ProcessPoolExecutor):
            self._processes.shutdown(wait=True, kill_workers=True)
        self._processes = None


@dataclass(frozen=True, slots=True)
class Reading:
    """Records that are being read."""

    pool: ReadingPool
    rows: Indices
    future: Future[Any]
    beside: bool

    def result(self) -> Tensors:
        """Each tensor, records first; read again here where the process that read them failed."""
        if not self.beside:
            read: Tensors = self.future.result()
            return read
        try:
            sent: _Sent = self.future.result()
        except Exception as error:
            self.pool.give_up(error)
            return self.pool.read_here(self.rows)
        return tuple(torch.from_numpy(held).view(dtype).view(shape) for held, dtype, shape in sent)


class DrawnRecords:
    """The records of one batch, each read once for all its tensors."""

    def __init__(self, pool: ReadingPool, rows: Indices, like: Tensors, device: torch.device) -> None:
        self.count = len(rows)
        self._pool, self._rows, self._like, self._device = pool, rows, like, device
        self._reading: dict[tuple[int, int], Reading] = {}
        self._held: tuple[tuple[int, int], Tensors] = ((0, 0), like)

    def slice_of(self, first: int, last: int) -> Tensors:
        """Each tensor of the records from `first` to before `last`, records first."""
        asked, size = (first, last), last - first
        if not size:
            return self._like
        if self._held[0] != asked:
            spans = [(at, min(at + size, self.count)) for at in range(first, self.count, size)][: 1 + self._pool.ahead]
            self._reading = {
                span: self._reading.get(span) or self._pool.submit(self._rows[slice(*span)])
                for span in (asked, *spans[1:])
            }
            self._held = (asked, tuple(tensor.to(self._device) for tensor in self._reading.pop(asked).result()))
        return self._held[1]


@dataclass(frozen=True, slots=True)
class DrawnColumn:
    """One tensor of a batch that is read as it is asked for."""

    records: DrawnRecords
    place: int

    def __len__(self) -> int:
        return self.records.count

    def __getitem__(self, rows: slice) -> Tensor:
        first, last, _ = rows.indices(self.records.count)
        return self.records.slice_of(first, max(first, last))[self.place]


# In a process that reads: by what.
_readers: list[RecordReader] = []


def _take(reader: RecordReader) -> None:
    torch.set_num_threads(1)
    _readers[:] = [reader]


def _read_and_send(rows: Indices) -> _Sent:
    return tuple(
        (tensor.contiguous().view(-1).view(torch.uint8).numpy(), tensor.dtype, tensor.shape)
        for tensor in _readers[0].stacked(rows)
    )
