"""Error feedback on the grid: what a record weighs, what is owed, and what a step releases before noise.

`banded` (docs/privacy.md, theorem 3), in units of the grid step h, K = bands − 1:

    a_i = trunc(u_i · G_i)      u_i = min(1, C1/N̂_i) (1 − 2⁻⁵⁰) / h                 ‖a_i‖ ≤ C1/h
    r_i = trunc(v_i · G_i)      v_i = min(1 − u_i h, R/N̂_i) (1 − 2⁻⁵⁰) / (K h)      ‖r_i‖ ≤ R/(K h)
    A_t = Σ a_i     R_t = Σ r_i                     released before noise:  A_t + Σ_{k=1..K} R_{t−k}

Normalised gradients (automatic clipping: Bu et al. 2022, arXiv 2206.07136) have u_i = C1/(N̂_i + γ) (1 − 2⁻⁵⁰)/h
instead, which lengthens short ones too: a_i is no longer than C1/h either.

Everything is an integer, so the window's sum is kept by addition and subtraction and what has left it leaves no bit
behind. `paper` (theorem 4) feeds back trunc(clip(e_t, C2) · B/h); e_t itself is a float and rounds as it likes.

    >>> memory = FeedbackMemory({"w": torch.zeros(1)}, bands=3)
    >>> sums = [(torch.tensor([0]), torch.tensor([r])) for r in (2, 0, 0, 0)]
    >>> [int(apply_feedback(memory, {"w": a}, {"w": r})["w"]) for a, r in sums]
    [0, 2, 2, 0]

Guarantees: one draw of a record adds, to all that is ever returned by banded feedback, its a_i once and its r_i in each
of the K steps after it: an L2 norm of at most sqrt(C1² + R²/K)/h, whatever the other records do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

TensorDict = dict[str, Tensor]

# Four roundings of 2⁻⁵³ each lie between a norm's bound and the number that is cut: quotient, product, division by K,
# product with the gradient.
_BELOW = 1 - 2.0**-50
# What the accountant rounds of a feedback ratio, and B, are off by far less.
_FED_BELOW = 1 - 2.0**-40
# No gradient is so long; without a bound one record could overflow the published error.
_LONGEST = 1e10

# Norm bounds (b,) float64 → one vector of weights (b,) for each sum.
Weighting = Callable[[Tensor], tuple[Tensor, ...]]


def clipped_weights(norms: Tensor, *, clip_norm: float, grid_step: float, normalise: float | None = None) -> Tensor:
    """u_i: what a record's gradient is multiplied by before it is cut to integers.

    Args:
        norms: (B,) float64 >= 0, upper bounds. clip_norm: C1 > 0. grid_step: h, a power of two.
        normalise: γ > 0 of normalised gradients, or None to clip.

    Returns:
        (B,) with ‖trunc(u·G)‖ <= C1/h for every G that is no longer than its norm's bound.
    """
    if normalise is not None:  # the sum is rounded to no less than the norm
        return clip_norm / (norms + normalise) * _BELOW / grid_step
    return (clip_norm / norms).clamp_max(1.0).nan_to_num(1.0) * _BELOW / grid_step


def banded_weights(
    norms: Tensor,
    *,
    clip_norm: float,
    residual_clip_norm: float,
    bands: int,
    grid_step: float,
    normalise: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Weights of the clipped gradient, and of a K-th of its clipped-away part; both are multiples of the gradient.

    Args:
        norms: (B,) float64 >= 0, upper bounds. clip_norm: C1 > 0. residual_clip_norm: R >= 0. bands: b >= 2.
        grid_step: h, a power of two. normalise: γ > 0 of normalised gradients, or None to clip.

    Returns:
        (u, v), each (B,), with ‖trunc(u·G)‖ <= C1/h, ‖trunc(v·G)‖ <= R/(K·h), and (u + K·v)·h <= 1 where v > 0.
    """
    kept = clipped_weights(norms, clip_norm=clip_norm, grid_step=grid_step, normalise=normalise)
    left = torch.where(norms > clip_norm, 1.0 - kept * grid_step, 0.0)
    owed = torch.minimum(left, (residual_clip_norm / norms).nan_to_num(0.0))
    return kept, owed * _BELOW / (bands - 1) / grid_step


def paper_weights(
    norms: Tensor, *, clip_norm: float, grid_step: float, normalise: float | None = None
) -> tuple[Tensor, Tensor]:
    """Weights of the clipped and of the raw gradient; the raw one is clipped too, but at 1e10."""
    kept = clipped_weights(norms, clip_norm=clip_norm, grid_step=grid_step, normalise=normalise)
    return kept, clipped_weights(norms, clip_norm=_LONGEST, grid_step=grid_step)


class FeedbackMemory:
    """What banded feedback still owes: the last K sums of clipped-away parts, as integers.

    Made of raw gradients: private state, dropped at a crash.

    Args:
        like: tensors shaped like the sums, by name. bands: b >= 1; at 1 nothing is ever owed.
    """

    def __init__(self, like: Mapping[str, Tensor], bands: int) -> None:
        self.bands = bands
        self._slots = [_integers_like(like) for _ in range(bands - 1)]
        self._sum = _integers_like(like)
        self._oldest = 0

    def tensors(self) -> TensorDict:
        """Everything it holds, for a checkpoint."""
        named = {f"{index}/{n}": t for index, slot in enumerate(self._slots) for n, t in slot.items()}
        return named | {"oldest": torch.tensor([self._oldest])}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` gave.

        Raises:
            KeyError: it is of other parameters or bands.
        """
        for name, own in self.tensors().items():
            if name != "oldest":
                own.copy_(tensors[name])
        self._oldest = int(tensors["oldest"][0])
        for name, total in self._sum.items():
            total.zero_()
            for slot in self._slots:
                total.add_(slot[name])

    @property
    def oldest(self) -> int:
        """The slot that the next push replaces."""
        return self._oldest

    def turn_to(self, oldest: int) -> None:
        """Have the next push replace that slot, as on the rank that holds what the slots hold."""
        self._oldest = oldest

    def window_sum(self) -> TensorDict:
        """Σ of the last K pushed sums, zeros before there were so many."""
        return {name: total.clone() for name, total in self._sum.items()}

    def push(self, residual: Mapping[str, Tensor]) -> None:
        """Add the newest sum; the oldest of K leaves without a trace."""
        slot = self._slots[self._oldest]
        for name, value in residual.items():
            self._sum[name] += value - slot[name]
            slot[name].copy_(value)
        self._oldest = (self._oldest + 1) % len(self._slots)


def apply_feedback(memory: FeedbackMemory, clipped: Mapping[str, Tensor], residual: Mapping[str, Tensor]) -> TensorDict:
    """One step: pay back a K-th of what the last K steps clipped away, and owe this step's.

    Args:
        clipped, residual: A_t and R_t, sums of integers by name; R_t holds a K-th of each clipped-away part.

    Returns:
        What is released before noise, int64.
    """
    released = {name: value.to(torch.int64) for name, value in clipped.items()}
    if memory.bands == 1:
        return released
    for name, paid in memory.window_sum().items():
        released[name] = released[name] + paid
    memory.push({name: value.to(torch.int64) for name, value in residual.items()})
    return released


class PublishedError:
    """e_t of the published update, on the scale of the mean. Private state.

    Args:
        like: tensors shaped like the gradients, by name; e_0 = 0.
    """

    def __init__(self, like: Mapping[str, Tensor]) -> None:
        self.error = {name: torch.zeros_like(tensor.detach()) for name, tensor in like.items()}

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


def fed_back(error: Mapping[str, Tensor], *, clip_norm: float, batch_size: float, grid_step: float) -> TensorDict:
    """trunc(clip(e, C2) · B/h), int64: what the published feedback adds to a step.

    Args:
        error: e by name. clip_norm: C2 >= 0, on the scale of the mean. batch_size: B. grid_step: h.

    Returns:
        Integers of an L2 norm of at most C2·B/h; zeros where e is not finite.
    """
    squares = sum(float(e.double().square().sum()) for e in error.values())
    size = sum(e.numel() for e in error.values())
    norm = torch.tensor([squares], dtype=torch.float64).sqrt() * (1 + (size + 4) * 2.0**-52)
    scale = float((clip_norm / norm).clamp_max(1.0).nan_to_num(0.0)) * _FED_BELOW * (batch_size / grid_step)
    if not (squares < float("inf")) or clip_norm == 0:
        return {name: torch.zeros_like(e, dtype=torch.int64) for name, e in error.items()}
    return {name: (e.double() * scale).trunc().to(torch.int64) for name, e in error.items()}


def apply_published_feedback(
    memory: PublishedError,
    clipped: Mapping[str, Tensor],
    raw: Mapping[str, Tensor],
    *,
    feedback_clip_norm: float,
    batch_size: float,
    grid_step: float,
) -> TensorDict:
    """One step of v = mean clip(g, C1) + clip(e, C2); e ← e + mean g − v.

    Args:
        clipped, raw: sums by name, in grid steps. feedback_clip_norm: C2, on the scale of the mean.
        batch_size: B = qN. grid_step: h.

    Returns:
        v·B/h, what is released before noise, int64.

    Guarantees: given the outputs so far, e adds a vector of norm at most C2·B/h. It depends on every earlier batch, so
    nothing amplifies it: the event to charge is `HiddenFeedbackGaussian`. An error that is not finite begins anew at 0.
    """
    fed = fed_back(memory.error, clip_norm=feedback_clip_norm, batch_size=batch_size, grid_step=grid_step)
    released = {name: clipped[name].to(torch.int64) + fed[name] for name in memory.error}
    unit = grid_step / batch_size
    for name, error in memory.error.items():
        moved = error.double() + (raw[name].double() - released[name].double()) * unit
        error.copy_(moved.nan_to_num(0.0, posinf=0.0, neginf=0.0))
    return released


def _integers_like(like: Mapping[str, Tensor]) -> TensorDict:
    return {name: torch.zeros_like(tensor, dtype=torch.int64) for name, tensor in like.items()}
