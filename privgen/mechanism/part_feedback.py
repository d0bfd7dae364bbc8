"""What a part and an event say of feedback: how a record is weighed, what is owed, what a step releases before noise.

Here the event is asked, and its class never: `bands` above one pays back what was clipped away, a `feedback_ratio` is
the published feedback, and neither is none at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import torch
from torch import Tensor

from accountant.events import Event
from accountant.plans.parts import Part
from privgen.mechanism.error_feedback import (
    FeedbackMemory,
    PublishedError,
    Weighting,
    apply_feedback,
    apply_published_feedback,
    banded_weights,
    clipped_weights,
    paper_weights,
)

TensorDict = dict[str, Tensor]
Owed = FeedbackMemory | PublishedError


class _Clip(TypedDict):
    clip_norm: float
    grid_step: float
    normalise: float | None


def nothing_owed(event: Event, like: Mapping[str, Tensor]) -> Owed | None:
    """What is owed where a segment begins, or None for an event without feedback.

    Args:
        like: the part's parameters by name; shapes and device are taken of them.
    """
    if event.feedback_ratio is not None:
        return PublishedError(like)
    return FeedbackMemory(like, event.bands) if event.bands > 1 else None


def weighting_of(part: Part, event: Event, *, normalise: float | None = None) -> Weighting:
    """Weights of each record from its norm: clipped, or normalised, and what the feedback needs beside it.

    Args:
        normalise: γ > 0 of normalised gradients (`clipped_weights`), or None to clip.
    """
    clip = _Clip(clip_norm=part.clip_norm, grid_step=part.step, normalise=normalise)
    if event.feedback_ratio is not None:
        return lambda norms: paper_weights(norms, **clip)
    if event.bands > 1:
        bands, residual = event.bands, part.residual_clip_norm
        return lambda norms: banded_weights(norms, residual_clip_norm=residual, bands=bands, **clip)
    return lambda norms: (clipped_weights(norms, **clip),)


def feed_back(part: Part, owed: Owed | None, sums: tuple[TensorDict, ...], batch_size: float) -> TensorDict:
    """The sums to release before noise, int64 in grid steps, and the owed error brought up to date."""
    if isinstance(owed, PublishedError):
        return apply_published_feedback(
            owed, *sums, feedback_clip_norm=part.feedback_clip_norm, batch_size=batch_size, grid_step=part.step
        )
    if isinstance(owed, FeedbackMemory) and owed.bands > 1:
        return apply_feedback(owed, *sums)
    return {name: value.to(torch.int64) for name, value in sums[0].items()}
