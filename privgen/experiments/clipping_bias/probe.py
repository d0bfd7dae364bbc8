"""How far the mean update is from the true mean gradient at one step of a training.

"Mean" is over batches and noise, with the weights of the run fixed. Both sides are computed on the same records, so
that no sampling error comes between them.

    true       g(x_t)      = mean_i g_i(x_t)
    none       u           = mean_i clip(g_i(x_t), C1)                                      correlated noise likewise
    banded     u           = mean_i clip(g_i(x_t), C1) + Σ_k w_k mean_i r_i(x_{t−k})        the delay is part of it
    paper      u           = mean_i clip(g_i(x_t), C1) + clip(e_t, C2)                      e_t as it is in the run

| measured | formula | for an unbiased update |
|---|---|---|
| bias | ‖u − g‖ / ‖g‖ | 0 |
| cosine | ⟨u, g⟩ / (‖u‖ ‖g‖) | 1 |
| ratio | ‖u‖ / ‖g‖ | the same in each step |
| noise | std of the noise in the mean, as it accumulates over steps, · √parameters / ‖u‖ | – |
| clipped | share of records with ‖g_i‖ > C1 + R | 0 |

These numbers are computed from raw gradients. They are for public data; on private data they would be releases.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from privgen.experiments.clipping_bias.results import Deviation
from privgen.experiments.clipping_bias.settings import Mechanism, Trial
from privgen.experiments.clipping_bias.tasks import Task, Weights
from privgen.mechanism.error_feedback import PublishedError, banded_weights, fed_back
from privgen.training.state import parameters_of

Place = tuple[Weights, Weights]


def place_of(task: Task) -> Place:
    """The weights now, and what else a gradient depends on."""
    return {n: p.detach().clone() for n, p in parameters_of(task.module).items()}, task.companions()


@contextmanager
def at_place(task: Task, place: Place) -> Iterator[None]:
    """Move to a place, and return to the present one afterwards."""
    now = place_of(task)
    _move(task, place)
    try:
        yield
    finally:
        _move(task, now)


@torch.no_grad()
def _move(task: Task, place: Place) -> None:
    for name, p in parameters_of(task.module).items():
        p.copy_(place[0][name])
    task.recall(place[1])


def probe(
    task: Task,
    trial: Trial,
    made: Mechanism,
    *,
    places: list[Place],
    records: tuple[Tensor, Tensor],
    error: PublishedError | None,
) -> Deviation:
    """Measure one step.

    Args:
        places: where gradients were taken, from the current step back to K steps ago: [x_t, x_{t−1}, …].
        records: images and labels that represent all. error: e_t of the published feedback.
    """
    kept, _, raw, norms = _means(task, made, places[0], records)
    update = kept
    if made.part.residual_clip_norm:
        for weight, place in zip(trial.payments, places[1:], strict=False):
            update = update + weight * _means(task, made, place, records)[1]
    if error is not None:
        fed = fed_back(
            error.error,
            clip_norm=made.part.feedback_clip_norm,
            batch_size=trial.batch_size,
            grid_step=made.part.step,
        )
        update = update + _flat(fed) * (made.part.step / trial.batch_size)
    length, true = float(update.norm()), float(raw.norm())
    tiny = 1e-30
    return {
        "bias": float((update - raw).norm()) / max(true, tiny),
        "cosine": float(update @ raw) / max(length * true, tiny),
        "ratio": length / max(true, tiny),
        "noise": made.noise_of_mean(trial) * math.sqrt(len(raw)) / max(length, tiny),
        "clipped": float((norms > trial.total_clip).float().mean()),
        "median_norm": float(norms.median()),
    }


def _means(
    task: Task, made: Mechanism, place: Place, records: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The mean clipped, clipped-away and raw gradients at a place, flattened, and the records' norms."""
    part = made.part

    def weighting(norms: Tensor) -> tuple[Tensor, ...]:
        bounds = {"clip_norm": part.clip_norm, "residual_clip_norm": part.residual_clip_norm}
        # Two bands: the whole clipped-away part.
        raw = torch.full_like(norms, 1 / part.step)
        return (*banded_weights(norms, bands=2, grid_step=part.step, **bounds), raw)

    with at_place(task, place):
        sums = task.record_task().sums(records, weighting, physical_batch=None)
    kept, owed, raw = (_flat(s) * (part.step / len(records[1])) for s in sums.sums)
    return kept, owed, raw, sums.norms


def _flat(tensors: dict[str, Tensor]) -> Tensor:
    return torch.cat([t.flatten().double() for t in tensors.values()])
