"""Error feedback as pure steps on an explicit state: `banded` (DESIGN 3.1), `paper` (3.2).

`banded`, on the scale of sums, K = bands − 1:

    a_i = clip(g_i, C1)     r_i = clip(g_i − a_i, R)     A_t = Σ a_i     R_t = Σ r_i
    released before noise:  A_t + (1/K) Σ_{k=1..K} R_{t−k}

What leaves the window must leave no bit behind, or a record would still be felt when it may be drawn again.
So the window's sum is never kept by subtraction: it is a queue of two stacks. The older stack holds suffix
sums (each is the sum of what is still inside), the newer one a running total; every K steps the newer
becomes the older. Amortised, a step costs three additions and K + 1 buffers.

    >>> like = {"w": torch.zeros(1)}
    >>> owed = owed_error(like, 3)
    >>> [float(exchange(owed, {"w": torch.tensor([0.0])}, {"w": torch.tensor([r])})["w"]) for r in (4.0, 0, 0, 0)]
    [0.0, 2.0, 2.0, 0.0]
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

TensorDict = dict[str, Tensor]

# Weights times norms must not pass their bounds by rounding.
_BELOW = 1 - 1e-6
# No gradient is so long; without a bound one record could overflow a sum, and a run that stops over it tells of it.
_LONGEST = 1e10


def banded_weights(norms: Tensor, *, clip_norm: float, residual_clip_norm: float) -> tuple[Tensor, Tensor]:
    """Weights of the clipped gradient and of its clipped-away part; both are multiples of the gradient.

    Args:
        norms: (B,) >= 0. clip_norm: C1 > 0, may be inf. residual_clip_norm: R >= 0, may be inf.

    Returns:
        (a, r), each (B,), with a·norm <= C1, r·norm <= R and a + r <= 1.
    """
    tiny = torch.finfo(norms.dtype).tiny
    safe = norms.clamp_min(tiny)
    kept = (clip_norm * _BELOW / safe).clamp_max(1.0)
    residual = torch.minimum(1.0 - kept, residual_clip_norm * _BELOW / safe).clamp_min(0.0)
    # Below the smallest normal number a weight has lost its digits, and could be too large by half of itself.
    kept, residual = (torch.where(w < tiny, torch.zeros_like(w), w) for w in (kept, residual))
    return kept, residual


class OwedError:
    """What banded feedback still owes: a window over the last K sums of clipped-away parts.

    Made of raw gradients: private state, dropped at a crash. Make one with `owed_error`.
    """

    def __init__(self, like: Mapping[str, Tensor], bands: int) -> None:
        self.bands = bands
        self._window = bands - 1
        self._slots = [{n: torch.zeros_like(t) for n, t in like.items()} for _ in range(self._window)]
        self._newer = {n: torch.zeros_like(t) for n, t in like.items()}
        # Slots [0, _count) hold the newer items as they came; slots [_count, K) the older ones' suffix sums.
        self._count = 0

    def tensors(self) -> TensorDict:
        """Everything it holds, for a checkpoint."""
        named = {f"{index}/{n}": t for index, slot in enumerate(self._slots) for n, t in slot.items()}
        named |= {f"newer/{n}": t for n, t in self._newer.items()}
        return named | {"count": torch.tensor([self._count])}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` gave.

        Raises:
            KeyError: it is of other parameters or bands.
        """
        for name, own in self.tensors().items():
            if name != "count":
                own.copy_(tensors[name])
        self._count = int(tensors["count"][0])

    def window_sum(self) -> TensorDict:
        """Σ of the last K pushed sums, zeros before there were so many."""
        if self._count == self._window:
            return dict(self._newer)
        older = self._slots[self._count]
        return {name: self._newer[name] + older[name] for name in self._newer}

    def push(self, residual: Mapping[str, Tensor]) -> None:
        """Add the newest sum; the oldest of K leaves without a trace."""
        if self._count == self._window:
            self._turn()
        slot = self._slots[self._count]
        for name, value in residual.items():
            slot[name].copy_(value)
            self._newer[name].add_(value)
        self._count += 1

    def _turn(self) -> None:
        """The newer stack becomes the older: suffix sums in place, and an empty newer one."""
        for index in range(self._window - 2, -1, -1):
            for name, value in self._slots[index].items():
                value.add_(self._slots[index + 1][name])
        for value in self._newer.values():
            value.zero_()
        self._count = 0


def owed_error(like: Mapping[str, Tensor], bands: int) -> OwedError:
    """Nothing owed yet, for sums shaped like these.

    Args:
        like: tensors by name. bands: b >= 1; at 1 nothing is ever owed.
    """
    return OwedError({name: tensor.detach() for name, tensor in like.items()}, bands)


def exchange(owed: OwedError, clipped: Mapping[str, Tensor], residual: Mapping[str, Tensor]) -> TensorDict:
    """One step: pay back a K-th of what the last K steps clipped away, and owe this step's.

    Args:
        clipped, residual: A_t and R_t, sums by name.

    Returns:
        What is released before noise.

    Guarantees: one draw of a record adds, to all that is ever returned, its a_i once and r_i/K in the K steps
    after it: an L2 norm of at most sqrt(C1² + R²/K), whatever the other records do.
    """
    if owed.bands == 1:
        return dict(clipped)
    paid = owed.window_sum()
    share = 1.0 / (owed.bands - 1)
    released = {name: value + share * paid[name] for name, value in clipped.items()}
    owed.push(residual)
    return released


class PaperError:
    """e_t of the published update, on the scale of the mean. Private state; make one with `paper_error`."""

    def __init__(self, like: Mapping[str, Tensor]) -> None:
        self.error = {name: torch.zeros_like(tensor) for name, tensor in like.items()}

    def tensors(self) -> TensorDict:
        """Everything it holds, for a checkpoint."""
        return dict(self.error)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` gave.

        Raises:
            KeyError: it is of other parameters.
        """
        for name, own in self.error.items():
            own.copy_(tensors[name])


def paper_error(like: Mapping[str, Tensor]) -> PaperError:
    """e_0 = 0, for gradients shaped like these."""
    return PaperError({name: tensor.detach() for name, tensor in like.items()})


def paper_weights(norms: Tensor, *, clip_norm: float) -> tuple[Tensor, Tensor]:
    """Weights of the clipped and of the raw gradient; the raw one is clipped too, but at 1e10."""
    kept, _ = banded_weights(norms, clip_norm=clip_norm, residual_clip_norm=0.0)
    raw, _ = banded_weights(norms, clip_norm=_LONGEST, residual_clip_norm=0.0)
    return kept, raw


def paper_exchange(
    owed: PaperError,
    clipped: Mapping[str, Tensor],
    raw: Mapping[str, Tensor],
    *,
    feedback_clip_norm: float,
    batch_size: float,
) -> TensorDict:
    """One step of v = mean clip(g, C1) + clip(e, C2); e ← e + mean g − v.

    Args:
        clipped, raw: sums by name. feedback_clip_norm: C2, on the scale of the mean. batch_size: B = qN.

    Returns:
        v·B, what is released before noise, on the scale of sums.

    Guarantees: given the outputs so far, e adds a vector of norm at most C2 to the mean. It depends on every
    earlier batch, so nothing amplifies it: the event to charge is `HiddenFeedbackGaussian`.
    """
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(e) for e in owed.error.values()]))
    fed = float(banded_weights(norm[None], clip_norm=feedback_clip_norm, residual_clip_norm=0.0)[0])
    if feedback_clip_norm == 0:
        fed = 0.0
    released = {}
    for name, error in owed.error.items():
        mean = clipped[name] / batch_size + fed * error
        error.add_(raw[name] / batch_size - mean)
        released[name] = mean * batch_size
    return released
