"""What one record of a map-style data set is made of: its tensors, one after another, and how they stand in it.

>>> form = RecordForm.of((torch.zeros(3), 1))
>>> [tuple(t.shape) for t in form.tensors((torch.ones(3), 0))]
[(3,), ()]
>>> form.record((torch.ones(3), torch.tensor(0)))
(tensor([1., 1., 1.]), tensor(0))
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from privgen.errors import DataError

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class RecordForm:
    """The form that every record of a data set has; public.

    Args:
        example: a record of that form, whose contents are of no account. shapes, types: of its tensors, in order.
    """

    example: Any
    shapes: tuple[torch.Size, ...]
    types: tuple[torch.dtype, ...]

    @classmethod
    def of(cls, record: Any) -> RecordForm:
        """The form of a record.

        Raises:
            DataError: there is no tensor or number in it, or something that is neither.
        """
        found = tuple(_tensors_in(record))
        if not found:
            raise DataError("A record has no tensor and no number; nothing can be trained on it.")
        shapes, types = tuple(t.shape for t in found), tuple(t.dtype for t in found)
        empty = (torch.zeros(shape, dtype=dtype) for shape, dtype in zip(shapes, types, strict=True))
        return cls(_mapped(record, lambda _: next(empty)), shapes, types)

    def tensors(self, record: Any) -> Tensors:
        """A record's tensors, in order; text is left out.

        Raises:
            DataError: it has another form.
        """
        found = tuple(_tensors_in(record))
        if tuple(t.shape for t in found) != self.shapes or tuple(t.dtype for t in found) != self.types:
            raise DataError(
                f"A record has tensors {[(*t.shape,) for t in found]} of {[str(t.dtype) for t in found]}, and the "
                f"first has {[(*s,) for s in self.shapes]} of {[str(t) for t in self.types]}; give all one form: "
                "resize, crop or pad in the data set."
            )
        return found

    def record(self, tensors: Sequence[Tensor]) -> Any:
        """The inverse of `tensors`; text is None."""
        waiting = iter(tensors)
        return _mapped(self.example, lambda _: next(waiting))

    def empty(self, device: torch.device, *lead: int) -> Tensors:
        """Zeros (*lead, *shape) of each."""
        return tuple(
            torch.zeros(*lead, *shape, dtype=dtype, device=device)
            for shape, dtype in zip(self.shapes, self.types, strict=True)
        )


def digest_of(tensors: Tensors) -> bytes:
    """32 bytes that stand for a record as it is trained on."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
        found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.digest()


def _tensors_in(record: Any) -> Iterator[Tensor]:
    if record is None or isinstance(record, str | bytes):
        return
    if isinstance(record, Mapping):
        record = list(record.values())
    if isinstance(record, tuple | list):
        for part in record:
            yield from _tensors_in(part)
        return
    yield _tensor(record)


def _tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
        return torch.as_tensor(np.asarray(value))
    if isinstance(value, bool | int | float):
        return torch.tensor(value)
    raise DataError(
        f"A record has a {type(value).__name__} in it; expected tensors, arrays and numbers, in tuples, lists or "
        "dicts: convert it in the data set."
    )


def _mapped(record: Any, change: Callable[[Any], Any]) -> Any:
    """The same tuples, lists and dicts, with every tensor or number changed and text left out."""
    if record is None or isinstance(record, str | bytes):
        return None
    if isinstance(record, Mapping):
        return {key: _mapped(part, change) for key, part in record.items()}
    if isinstance(record, tuple) and hasattr(record, "_fields"):
        return type(record)(*(_mapped(part, change) for part in record))
    if isinstance(record, tuple | list):
        return type(record)(_mapped(part, change) for part in record)
    return change(record)
