"""`Canaries`: records that are nobody's, planted into a training so that it can be audited from one run.

Each is an image of random black and white pixels under a random label, trained on if a fair coin says so. Pixels,
labels, identities and coins come from the operating system and from nothing else, so planting them is independent of
the data: every theorem about the records holds for each outcome of the coins, and it holds for a canary too, which is
a record among records (docs/privacy.md, Canaries).

They live in private/canaries.safetensors, and their scores (`privgen.training.canary_scores`) beside them. The
ledger names the file's
digest, so that the coins were fixed before the first step; the identities, 128 random bits each, keep the digest from
confirming a guess of them.

    >>> planted = draw_canaries(32, image_shape=(28, 28, 1), classes=10)
    >>> planted.images.shape, Canaries.read(planted.to_bytes()).digest == planted.digest
    ((32, 28, 28, 1), True)
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor

from accountant.audit.checks import CANARIES
from privgen.data.batches import to_tensor
from privgen.errors import CheckpointError

SCORES = "canary-scores.safetensors"
_OF_PART = "part "


@dataclass(frozen=True, kw_only=True, slots=True)
class Canaries:
    """What was planted; private, for whoever knows the coins can no longer audit.

    Args:
        images: (m, H, W, C) uint8. labels: (m,) int64. ids: (m, 16) uint8. included: (m,) bool, the coins.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    ids: NDArray[np.uint8]
    included: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.labels)

    def records(self, device: torch.device) -> tuple[Tensor, ...]:
        """As training takes records: images (m, C, H, W) in [−1, 1] and labels (m,)."""
        return to_tensor(self.images, device), torch.from_numpy(self.labels).to(device)

    def to_bytes(self) -> bytes:
        """As a safetensors file; `read` is its inverse."""
        return save({name: getattr(self, name) for name in ("images", "labels", "ids", "included")})

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def read(cls, data: bytes) -> Canaries:
        """What `to_bytes` wrote.

        Raises:
            CheckpointError: it is no such file.
        """
        try:
            return cls(**load(data))
        except (SafetensorError, TypeError, ValueError) as error:
            raise CheckpointError(f"{CANARIES} does not hold canaries ({error}); restore it from a backup.") from error


def draw_canaries(count: int, *, image_shape: tuple[int, int, int], classes: int) -> Canaries:
    """Fresh canaries and coins from the operating system.

    Args:
        count: m. image_shape: (H, W, C). classes: labels are uniform over so many.
    """
    generator = np.random.default_rng(int.from_bytes(os.urandom(32), "little"))
    images = generator.integers(0, 2, (count, *image_shape), dtype=np.uint8) * np.uint8(255)
    coins = np.frombuffer(os.urandom(count), dtype=np.uint8)
    return Canaries(
        images=images,
        labels=generator.integers(0, classes, count),
        ids=np.frombuffer(os.urandom(16 * count), dtype=np.uint8).reshape(count, 16).copy(),
        included=(coins & 1).astype(np.bool_),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """How much each canary was felt in training (`privgen.training.canary_scores`).

    Args:
        values: (m,), the higher the likelier in. blocks: of steps that were looked at.
        by_part: the same by each part alone, where canaries are felt in each of them by themselves.
    """

    values: NDArray[np.float64]
    blocks: int
    by_part: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """As a safetensors file; `read` is its inverse."""
        apart = {f"{_OF_PART}{name}": values for name, values in self.by_part.items()}
        return save({"scores": self.values, "blocks": np.array([self.blocks]), **apart})

    @classmethod
    def read(cls, data: bytes) -> Scores:
        """What `to_bytes` wrote.

        Raises:
            CheckpointError: it is no such file.
        """
        try:
            found = load(data)
            apart = {key.removeprefix(_OF_PART): values for key, values in found.items() if key.startswith(_OF_PART)}
            return cls(values=found["scores"], blocks=int(found["blocks"][0]), by_part=apart)
        except (SafetensorError, KeyError, IndexError, TypeError, ValueError) as error:
            raise CheckpointError(f"{SCORES} does not hold scores ({error}); restore it from a backup.") from error
