"""`FakePool`: generated images that critic and generator share, so that none is made twice.

Each generator update makes a batch of images anyway. The pool keeps the newest ones of each class, and every record of
a draw is set against one of its own class, picked by a number of its own.

    >>> pool = FakePool(classes=2, each=3)
    >>> pool.add(torch.arange(4.0)[:, None], torch.tensor([0, 0, 0, 1]))
    >>> picked = pool.matching(torch.tensor([1, 1, 0]), torch.tensor([0.3, 0.9, 0.5]))
    >>> picked[:2, 0].tolist(), bool(picked[2] < 3)
    ([3.0, 3.0], True)

Guarantees: the pool is made of released networks and latent vectors, never of a record. A record's image is a function
of its label, the pool and its own number, so its gradient depends on no other record of the draw.
"""

from __future__ import annotations

import torch
from torch import Tensor


class FakePool:
    """The newest generated images of each class; free. Not part of a checkpoint: it fills anew.

    Args:
        classes: how many. each: images kept of a class, >= 1.
    """

    def __init__(self, *, classes: int, each: int) -> None:
        self.classes, self.each = classes, each
        self._images: Tensor | None = None  # (classes, each, ...)
        self._held = torch.zeros(classes, dtype=torch.long)
        self._next = torch.zeros(classes, dtype=torch.long)

    @property
    def ready(self) -> bool:
        """Whether there is an image of every class."""
        return bool((self._held > 0).all())

    def add(self, images: Tensor, labels: Tensor) -> None:
        """Take in images (n, ...) of these labels (n,); the oldest of a class make room."""
        if self._images is None:
            self._images = images.new_zeros(self.classes, self.each, *images.shape[1:])
        for label in range(self.classes):
            new = images[labels == label][-self.each :].detach()
            places = (self._next[label] + torch.arange(len(new))) % self.each
            self._images[label, places.to(images.device)] = new
            self._next[label] = (self._next[label] + len(new)) % self.each
            self._held[label] = min(self.each, int(self._held[label]) + len(new))

    def matching(self, labels: Tensor, numbers: Tensor) -> Tensor:
        """One image of its class for each label: (...labels, C, H, W). There must be one of every class.

        Args:
            labels: of any shape. numbers: the same, uniform in [0, 1), one of each record's own.
        """
        assert self._images is not None
        held = self._held.to(labels.device)[labels]
        return self._images[labels, (numbers.double() * held).long()]
