"""`Ranks`: processes that share one training, as its integer sums see them, and the bytes that they tell each other.

    sums of this rank ──reduce-scatter──▶ a slice of the whole sum ──noise, once──▶ ──all-gather──▶ what is released

A sum of integers is the same whoever adds up what, so any number of ranks releases what one process does. Each
coordinate of the whole sum lies in one rank's slice, and that rank alone draws its noise (docs/privacy.md, theorem 15).

    >>> ALONE.slice_of_sum(torch.tensor([3, 4])), ALONE.whole(torch.tensor([3, 4]), 2)
    (tensor([3, 4]), tensor([3, 4]))

Guarantees: integers travel as int64 and are added without a remainder: the plan keeps a whole sum, fed-back part
included, below 2^53, so no partial sum in any order leaves int64. Nothing but torch.distributed carries them.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from privgen.errors import RankLost, RunError

# Newer versions of torch have other names for the same.
_REDUCE_SCATTER = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
_ALL_GATHER = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
# Seconds in which a rank must answer: a rank that loads or writes is waited for, one that hangs stops all.
TIMEOUT = 600.0


class Ranks:
    """One process alone: it is rank 0 of 1, its sums are the sums, and nobody else is told anything."""

    rank = 0
    size = 1

    def slice_of_sum(self, own: Tensor) -> Tensor:
        """This rank's slice of the ranks' sum.

        Args:
            own: (d,) int64, of the same d on every rank.

        Returns:
            (⌈d/W⌉,), from coordinate rank·⌈d/W⌉ on; past d there are zeros.
        """
        return own

    def whole(self, own: Tensor, length: int) -> Tensor:
        """All ranks' slices, one behind the other, the first `length` numbers of them: the same on every rank."""
        return own[:length]

    def added(self, own: Tensor) -> Tensor:
        """The ranks' sum, on every rank."""
        return own

    def exchanged(self, message: bytes) -> list[bytes]:
        """What each rank says, by rank."""
        return [message]

    def from_first(self, message: bytes) -> bytes:
        """What rank 0 says; what another rank gives is not looked at."""
        return message

    def leave(self) -> None:
        """Let go of the other ranks: those that still wait for this one stop."""


ALONE = Ranks()


class ProcessRanks(Ranks):
    """Processes of torch.distributed: gloo between CPUs, NCCL between GPUs.

    Args:
        group: this training's own, so that nobody else's messages come between.

    Raises (each method):
        RankLost: another rank is gone, or did not answer in time. What was about to be released is not.
    """

    def __init__(self, group: dist.ProcessGroup, *, timeout: float) -> None:
        self._group: dist.ProcessGroup | None = group
        self._timeout = timeout
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)

    def slice_of_sum(self, own: Tensor) -> Tensor:
        """See Ranks."""
        length = -(-own.numel() // self.size)
        padded = own.new_zeros(length * self.size)
        padded[: own.numel()] = own
        found = own.new_empty(length)
        with self._answered():
            _REDUCE_SCATTER(found, padded, group=self._group)
        return found

    def whole(self, own: Tensor, length: int) -> Tensor:
        """See Ranks."""
        found = own.new_empty(own.numel() * self.size)
        with self._answered():
            _ALL_GATHER(found, own.contiguous(), group=self._group)
        return found[:length]

    def added(self, own: Tensor) -> Tensor:
        """See Ranks."""
        found = own.clone()
        with self._answered():
            dist.all_reduce(found, group=self._group)
        return found

    def exchanged(self, message: bytes) -> list[bytes]:
        """See Ranks; messages may be of different lengths."""
        lengths = self.whole(torch.tensor([len(message)]), self.size)
        longest = int(lengths.max())
        sent = torch.zeros(longest, dtype=torch.uint8)
        sent[: len(message)] = _as_tensor(message)
        rows = self.whole(sent, longest * self.size).view(self.size, longest)
        return [bytes(row[:length].numpy()) for row, length in zip(rows, lengths.tolist(), strict=True)]

    def from_first(self, message: bytes) -> bytes:
        """See Ranks."""
        length = torch.tensor([len(message)])
        with self._answered():
            dist.broadcast(length, src=0, group=self._group)
            sent = _as_tensor(message) if self.rank == 0 else torch.empty(int(length), dtype=torch.uint8)
            dist.broadcast(sent, src=0, group=self._group)
        return bytes(sent.numpy())

    def leave(self) -> None:
        """See Ranks."""
        if self._group is not None:
            dist.destroy_process_group(self._group)
            self._group = None

    @contextmanager
    def _answered(self) -> Iterator[None]:
        if self._group is None:
            raise RankLost(f"Rank {self.rank} of {self.size} has left the others; start all ranks again.")
        try:
            yield
        except (RuntimeError, ValueError) as error:
            raise RankLost(
                f"Rank {self.rank} of {self.size} stops: another rank is gone or did not answer in {self._timeout:g} s "
                f"({str(error).strip().splitlines()[0][:160]}). The ledger covers every step that ran; start all ranks "
                "again with --resume (resume=True)."
            ) from error


def torchrun_size() -> int:
    """How many processes torchrun, or who sets WORLD_SIZE, has started; 1 without.

    Raises:
        RunError: WORLD_SIZE is no number.
    """
    named = os.environ.get("WORLD_SIZE") or "1"
    if not named.isdecimal() or int(named) < 1:
        raise RunError(f"Expected WORLD_SIZE={named!r} to be a number of processes, as torchrun sets it.")
    return int(named)


def torchrun_rank() -> int:
    """Which of them this is; 0 without torchrun."""
    return int(os.environ.get("RANK") or "0") if torchrun_size() > 1 else 0


def joined_ranks(*, timeout: float = TIMEOUT) -> Ranks:
    """The ranks that torchrun has started, this process one of them; `ALONE` without torchrun.

    Args:
        timeout: seconds in which each rank must answer, > 0.

    Raises:
        RunError: they do not find each other.
    """
    if torchrun_size() == 1:
        return ALONE
    limit = datetime.timedelta(seconds=timeout)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    try:
        if not dist.is_initialized():
            dist.init_process_group(backend, timeout=limit)
        group = dist.new_group(backend=backend, timeout=limit)
    except (RuntimeError, ValueError) as error:
        raise RunError(
            f"The {os.environ['WORLD_SIZE']} processes of WORLD_SIZE do not find each other "
            f"({str(error).strip().splitlines()[0][:160]}). One may have ended before all were there: see what it "
            "said, and start all of them by torchrun."
        ) from error
    if not isinstance(group, dist.ProcessGroup):
        raise RunError("This process is in none of torch.distributed's groups; start it by torchrun.")
    return ProcessRanks(group, timeout=timeout)


def _as_tensor(message: bytes) -> Tensor:
    return torch.frombuffer(bytearray(message), dtype=torch.uint8) if message else torch.empty(0, dtype=torch.uint8)
