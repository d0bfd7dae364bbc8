"""`GradientCanaries`: canaries that are no records but vectors, one in each part's sum, each in or out by a fair coin.

Canary i adds to part k, where it is drawn, what a record would whose gradient were `(C1 + R)·u`: C1·u at once and R·u
in its turn, u a fixed random unit vector. The coordinates of a part are dealt out to the m canaries at random, so that
no two meet and none is in another's way; on its own coordinates u is ±1/√w. Like a record it adds integers, cut towards
zero, so that it is no longer than what the noise is for.

Nothing of it depends on the data. Every theorem about the records holds for each outcome of the coins, and it holds for
a gradient canary too, whose vectors are bounded like a record's (docs/privacy.md, Canaries). They protect nothing.

    >>> planted = draw_gradient_canaries(4)
    >>> direction = planted.directions("critic", {"weight": (3, 5), "bias": (3,)})
    >>> direction.width, sorted(np.bincount(direction.owner + 1).tolist())  # 18 numbers, four each, two of nobody
    (4, [2, 4, 4, 4, 4])
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from accountant.audit.checks import CANARIES
from privgen.errors import CheckpointError, RunError
from privgen.training.canaries import Canaries

IMAGE, GRADIENT = "image", "gradient"
KINDS = (IMAGE, GRADIENT)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Directions:
    """Unit vectors of all canaries in one part, by coordinate of the part's numbers in a row.

    Args:
        owner: (D,) int64, whose a coordinate is; -1 where nobody's. signs: (D,) ±1. width: coordinates of each, >= 1.
    """

    owner: NDArray[np.int64]
    signs: NDArray[np.float64]
    width: int


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientCanaries:
    """What was planted; private, for whoever knows the coins can no longer audit.

    Args:
        seed: (32,) uint8, of the directions. ids: (m, 16) uint8. included: (m,) bool, the coins.
    """

    seed: NDArray[np.uint8]
    ids: NDArray[np.uint8]
    included: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.included)

    def to_bytes(self) -> bytes:
        """As a safetensors file; `read_planted` is its inverse."""
        return save({name: getattr(self, name) for name in ("seed", "ids", "included")})

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def directions(self, part: str, shapes: Mapping[str, tuple[int, ...]]) -> Directions:
        """Of every canary in a part, the same each time.

        Args:
            part: its name. shapes: of its gradients, in their order.

        Raises:
            RunError: the part has fewer numbers than there are canaries.
        """
        total = sum(int(np.prod(shape)) for shape in shapes.values())
        width = total // len(self)
        if not width:
            raise RunError(f"The part {part} has {total} numbers; plant at most so many gradient canaries.")
        key = hashlib.sha256(self.seed.tobytes() + part.encode()).digest()
        generator = np.random.default_rng(int.from_bytes(key, "little"))
        owner = np.full(total, -1, dtype=np.int64)
        owner[generator.permutation(total)[: width * len(self)]] = np.repeat(np.arange(len(self)), width)
        return Directions(owner=owner, signs=generator.choice(np.array([-1.0, 1.0]), total), width=width)


Planted = Canaries | GradientCanaries


def draw_gradient_canaries(count: int) -> GradientCanaries:
    """Fresh directions and coins from the operating system.

    Args:
        count: m, >= 1.
    """
    coins = np.frombuffer(os.urandom(count), dtype=np.uint8)
    return GradientCanaries(
        seed=np.frombuffer(os.urandom(32), dtype=np.uint8).copy(),
        ids=np.frombuffer(os.urandom(16 * count), dtype=np.uint8).reshape(count, 16).copy(),
        included=(coins & 1).astype(np.bool_),
    )


def read_planted(data: bytes) -> Planted:
    """What `to_bytes` of either kind wrote.

    Raises:
        CheckpointError: it is no such file.
    """
    try:
        found = load(data)
        return GradientCanaries(**found) if "seed" in found else Canaries.read(data)
    except (SafetensorError, TypeError, ValueError) as error:
        raise CheckpointError(f"{CANARIES} does not hold canaries ({error}); restore it from a backup.") from error
