"""`World`: processes that take the steps of one training together; rank 0 leads, and one process is a world too.

    each step     compare plan, step and parameters → rank 0 charges and fsyncs → it says "step t granted" → each rank
                  draws its own records' coins → integer sums added up → one noise → the same update on every rank

Rank 0 has the run's folder, its ledger with the lock, the guard, and the canaries. The others have neither: what they
need they are told, and `led` is the one way in which they are. An error of rank 0 ends all, with its words.

Guarantees: no rank draws a coin of a step before rank 0 has it in the ledger, on disk. A rank that differs in its plan,
in the step that it is at, or in a bit of a parameter, stops all before the next step is charged (docs/privacy.md,
theorem 15).
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from accountant.errors import BudgetExhausted
from privgen.errors import RankLost, RunError
from privgen.mechanism.ranks import ALONE, TIMEOUT, Ranks, joined_ranks
from privgen.mechanism.sampling import assign_shards

# Of the message of each step: plan, step, parameters, and whether to stop.
_STEP = struct.Struct("<32sq32s?")
_COMPARED = ("another plan", "another step", "other parameters")


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """Who trains together.

    Args:
        ranks: this process among them.
    """

    ranks: Ranks = ALONE

    @classmethod
    def joined(cls, *, timeout: float = TIMEOUT) -> World:
        """The world that torchrun has started, or that of one process.

        Args:
            timeout: seconds in which a rank must answer, > 0.

        Raises:
            RunError: the processes do not find each other.
        """
        return cls(ranks=joined_ranks(timeout=timeout))

    @property
    def size(self) -> int:
        """W: how many processes."""
        return self.ranks.size

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return self.ranks.rank == 0

    def shard(self, ids: NDArray[np.uint8], *, salt: bytes) -> NDArray[np.bool_] | None:
        """(N,) which records' coins this rank tosses, by a keyed hash of their identity; None for all."""
        if self.size == 1:
            return None
        mine: NDArray[np.bool_] = assign_shards(ids, shards=self.size, salt=salt) == self.ranks.rank
        return mine

    def led(self, action: Callable[[], Any]) -> Any:
        """Have rank 0 do something, and say what came of it to all.

        Args:
            action: what rank 0 does; gives JSON. Called on rank 0 alone.

        Raises:
            BudgetExhausted: the action's own, on every rank. RunError: on the others, whatever else it raised.
        """
        if self.size == 1:
            return action()
        if not self.leads:
            return _answer(json.loads(self.ranks.from_first(b"")))
        try:
            said = {"is": action()}
        except RankLost:
            raise
        except BaseException as error:
            kind = "exhausted" if isinstance(error, BudgetExhausted) else "failed"
            self._say_last({kind: str(error) or type(error).__name__})
            raise
        self.ranks.from_first(json.dumps(said).encode())
        return said["is"]

    def _say_last(self, said: Mapping[str, Any]) -> None:
        """Say it if anybody is still there: the error that is about to be raised matters more."""
        with suppress(RankLost):
            self.ranks.from_first(json.dumps(said).encode())

    @contextmanager
    def together(self) -> Iterator[None]:
        """What each rank does by itself; where one fails, all stop.

        Raises:
            RunError: another rank failed; with its number and its words. A rank's own error is raised as it is.
        """
        failed: BaseException | None = None
        try:
            yield
        except (Exception, SystemExit) as error:
            failed = error
        said = self.ranks.exchanged(b"" if failed is None else (str(failed) or type(failed).__name__).encode())
        if failed is not None:
            raise failed
        for rank, text in enumerate(said):
            if text:
                raise RunError(f"Rank {rank} of {self.size}: {text.decode()}")

    def require_same(self, facts: Mapping[str, str]) -> None:
        """Raise RunError, the same on every rank, unless all ranks have the same of each.

        Args:
            facts: digests and words, by what a person calls them.
        """
        found = [json.loads(said) for said in self.ranks.exchanged(json.dumps(facts).encode())]
        for name in found[0]:
            others = _odd_ones([one.get(name) for one in found])
            if others:
                raise RunError(
                    f"{_named(others)} of {self.size} has another {name} than the others; start all ranks with the "
                    "same. Nothing was spent."
                )

    def require_different(self, mark: bytes) -> None:
        """Raise RunError if two ranks have the same mark: they would toss the same coins or draw the same noise."""
        found = self.ranks.exchanged(mark)
        twice = [rank for rank, one in enumerate(found) if found.index(one) < rank]
        if twice:
            raise RunError(
                f"{_named(twice)} of {self.size} draws the random bits of another rank: the operating system gives "
                "both the same (a copied virtual machine?), or one seed was set for all. Nothing was spent."
            )

    def must_stop(self, *, plan: str, step: int, parameters: bytes, stop: bool) -> bool:
        """Compare what all must have in common before a step, and see whether any rank is asked to stop.

        Args:
            plan: its digest. step: charged so far. parameters: 32 bytes, of all of them. stop: whether this rank is.

        Raises:
            RunError: a rank differs; the same text on every rank. Nothing more is charged.
        """
        if self.size == 1:
            return stop
        message = _STEP.pack(hashlib.sha256(plan.encode()).digest(), step, parameters, stop)
        found = [_STEP.unpack(said) for said in self.ranks.exchanged(message)]
        for place, what in enumerate(_COMPARED):
            others = _odd_ones([one[place] for one in found])
            if others:
                raise RunError(
                    f"{_named(others)} of {self.size} has {what} than the others at step {step}: its machine computes "
                    "otherwise, or something beside the training changed it. All stop; the ledger covers every step "
                    "that ran. Use machines of one kind, and start all ranks again with --resume (resume=True)."
                )
        return any(one[-1] for one in found)

    def part_from(self, *, orderly: bool) -> None:
        """Leave the others.

        Args:
            orderly: at the end that all have come to, so that nobody's last message is cut off. Otherwise those that
                are still at work stop.
        """
        if orderly:
            with suppress(RankLost):
                self.ranks.exchanged(b"")
        self.ranks.leave()

    def any(self, asked: bool) -> bool:
        """Whether any rank says so."""
        return self.totals(int(asked))[0] > 0

    def totals(self, *numbers: int) -> tuple[int, ...]:
        """The ranks' sums of some integers."""
        if self.size == 1:
            return numbers
        return tuple(self.ranks.added(torch.tensor(numbers)).tolist())


def digest_of_modules(modules: Iterator[nn.Module]) -> bytes:
    """SHA-256 of all parameters and buffers, in order."""
    found = hashlib.sha256()
    for module in modules:
        for tensor in module.state_dict().values():
            found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return found.digest()


def _answer(said: Mapping[str, Any]) -> Any:
    """What rank 0 said came of it."""
    if "exhausted" in said:
        raise BudgetExhausted(said["exhausted"])
    if "failed" in said:
        raise RunError(f"Rank 0 stopped: {said['failed']}")
    return said["is"]


def _odd_ones(values: list[Any]) -> list[int]:
    """Ranks whose value is not that of the most; of two that differ, the later."""
    most, _ = Counter(values).most_common(1)[0]
    return [rank for rank, value in enumerate(values) if value != most]


def _named(ranks: list[int]) -> str:
    return ("Rank " if len(ranks) == 1 else "Ranks ") + ", ".join(map(str, ranks))
