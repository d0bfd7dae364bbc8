"""The private half of a step, which sees records; the free half is the method's.

    receipt → one Poisson draw → per-record integer sums of every part → error feedback →
    one joint release with exact noise → the optimiser of each part

Where several ranks train together each does so with the records of its shard; what is released is of all of them.

Guarantees: records enter through `private_sums` alone, and what it returns leaves through `release.gaussian`
alone. Every divisor is the public qN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from accountant.ledger.receipt import Receipt
from accountant.plans.parts import Part
from accountant.plans.plan import Plan
from privgen.gradients.clipped_sums import Rows, Sums, Weighting
from privgen.gradients.spectral_norm import for_parameters
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.part_feedback import feed_back, weighting_of
from privgen.mechanism.ranks import ALONE, Ranks
from privgen.mechanism.release import gaussian
from privgen.training.method import Learner, RecordTask
from privgen.training.state import TrainState, parameters_of

TensorDict = dict[str, Tensor]


class CanaryObserver(Protocol):
    """Canaries in the batch, which are none of the data's records, and who watches them:
    `privgen.training.canary_scores.WatchedStep` and `privgen.training.gradient_canary_scores.GradientStep`."""

    records: tuple[Tensor, ...]

    def sums(self, part: Part, task: RecordTask, weigh: Weighting, own: Sums, *, physical_batch: int | None) -> Sums:
        """What those that are drawn add, weighted like the records whose sums are `own`."""

    def merge_sums(self, part: Part, own: Sums, planted: Sums) -> Sums:
        """Both sums as one."""

    def observe_release(self, noised: Mapping[str, TensorDict]) -> None:
        """Look at what is released, before the parameters change."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawStatistics:
    """Of one draw of records; private, never released, but for `update_norm`.

    Args:
        batch_size: realised. nonfinite: records whose gradient was not finite and counted as zero.
        median_norm: by part, before clipping.
        update_norm: by part, of the noised mean: of what is released, and so free to show.
    """

    batch_size: int
    nonfinite: int
    median_norm: Mapping[str, float]
    update_norm: Mapping[str, float]


def private_step(
    state: TrainState,
    plan: Plan,
    *,
    parts: tuple[Part, ...],
    receipt: Receipt,
    records: tuple[Rows, ...],
    noise: ExactGaussian,
    planted: CanaryObserver | None = None,
    ranks: Ranks = ALONE,
    gathered: bool = False,
) -> DrawStatistics:
    """One private step on one Poisson draw.

    Args:
        parts: the plan's, with the noise of the current phase.
        records: those of the draw, each tensor with them first; there may be none. Of images: (n, C, H, W) in
            [-1, 1] and labels (n,).
        planted: canaries of the same draw, or None.
        ranks: who takes this step together, each with the records that it has drawn.
        gathered: whether rank 0 needs the sums of all records by themselves, as it does for canaries.

    Raises:
        ReceiptError: the receipt was used or is for another event.
    """
    event = receipt.event
    bands = event.bands
    batch_size = event.sampling_rate * plan.dataset_size
    learner = state.learner
    to_release: dict[str, TensorDict] = {}
    sums: dict[str, Sums] = {}
    for part in parts:
        task = learner.record_task(part.name, state.beside)
        weigh = weighting_of(part, event, normalise=task.normalise)
        size = state.physical_batches.get(part.name, learner.settings.physical_batch)
        own = task.sums(records, weigh, physical_batch=size)
        if gathered or event.feedback_ratio is not None:
            own = replace(own, sums=tuple(_at_first(ranks, found) for found in own.sums))
        sums[part.name] = own
        if planted is not None:
            canaries = planted.sums(part, task, weigh, sums[part.name], physical_batch=size)
            sums[part.name] = planted.merge_sums(part, sums[part.name], canaries)
        to_release[part.name] = feed_back(part, state.owed.get(part.name), sums[part.name].sums, batch_size)
    noised = gaussian(
        to_release, parts=parts, bands=bands, receipt=receipt, noise=noise, batch_size=batch_size, ranks=ranks
    )
    if planted is not None:
        planted.observe_release(noised)
    update_norm = {part.name: _update(part, learner, noised[part.name], batch_size) for part in parts}
    return DrawStatistics(
        batch_size=len(records[0]),
        nonfinite=sum(s.nonfinite for s in sums.values()),
        median_norm={n: float(s.norms.median()) if len(s.norms) else 0.0 for n, s in sums.items()},
        update_norm=update_norm,
    )


def _at_first(ranks: Ranks, sums: TensorDict) -> TensorDict:
    """The ranks' sums added up for rank 0, and zeros for the others: whoever adds over ranks has them once.

    The published error is no linear function of a sum, and canaries are seen against the sum of all records.
    """
    if ranks.size == 1:
        return sums
    whole = ranks.added(torch.cat([value.reshape(-1) for value in sums.values()]))
    pieces = (whole if ranks.rank == 0 else torch.zeros_like(whole)).split([v.numel() for v in sums.values()])
    return {name: piece.view(value.shape) for (name, value), piece in zip(sums.items(), pieces, strict=True)}


def _update(part: Part, learner: Learner, noised: TensorDict, batch_size: float) -> float:
    """Post-processing of what was released: the optimiser's step, and what is free beside it; the mean's L2 norm."""
    module = learner.module_of(part.name)
    free = learner.free_gradient(part)
    unit = part.step / batch_size
    means = for_parameters(module, {key: value.double() * unit for key, value in noised.items()})
    for key, parameter in parameters_of(module).items():
        parameter.grad = means[key].to(parameter.dtype) + free.get(key, 0.0)
    learner.optimisers[part.name].step()
    module.zero_grad(set_to_none=True)
    learner.after_update(part.name)
    return math.sqrt(sum(float(mean.double().square().sum()) for mean in means.values()))
