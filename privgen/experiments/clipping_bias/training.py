"""`train`: one trial, through the guard, the sampler, the clipping and the release that `privgen train` uses.

    receipt = guard.admit(event) → Poisson draw → clipped sums → feedback → release.gaussian(…, receipt) → optimiser

Noise and coins come from the trial's seed, so that it can be repeated. Such noise protects nobody, but the data are
public; the ε of a trial is that of the same training with noise that nobody can guess.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from accountant.ledger.guard import BudgetGuard
from privgen.experiments.clipping_bias.probe import Place, place_of, probe
from privgen.experiments.clipping_bias.results import CurvePoint, Probe, TrialResult, rounded
from privgen.experiments.clipping_bias.settings import DELTA, Mechanism, Trial, mechanism
from privgen.experiments.clipping_bias.tasks import Records, Task, part_of, task_of
from privgen.gradients.clipped_sums import Sums, Weighting
from privgen.mechanism.error_feedback import FeedbackMemory, PublishedError, banded_weights
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.part_feedback import feed_back, weighting_of
from privgen.mechanism.release import gaussian
from privgen.mechanism.sampling import PoissonSampler
from privgen.training.state import parameters_of

TensorDict = dict[str, Tensor]

_CURVE = 10  # evaluations in a training
_PROBES = (0.05, 0.25, 0.5, 0.75, 1.0)  # where the bias is measured, as a share of the training
_PROBED = {"mlp": 1000, "cnn": 1000, "critic": 128}  # records that stand for all there


@dataclass(kw_only=True)
class _Run:
    """What changes while a trial trains.

    Args:
        owed: of the feedback, or None. late: where clipped-away parts are paid in unequal parts, or noise is
            correlated, what the last K steps still put into each later one, newest first. past: with
            correlated noise the
            last K updates. places: where gradients were taken, newest first. before: the weights one step ago.
    """

    task: Task
    made: Mechanism
    owed: FeedbackMemory | PublishedError | None
    late: deque[list[TensorDict]]
    past: deque[TensorDict]
    places: deque[Place]
    before: TensorDict = field(default_factory=dict)


def train(trial: Trial, data: Records, *, tick: Callable[[], None] = lambda: None) -> TrialResult:
    """Train once and measure the result.

    Args:
        data: public. tick: called after each step.

    Returns:
        accuracy (of classifiers) and loss at the end, their curve, the probes, the certified budget, z, CPU seconds.

    Raises:
        BudgetExhausted: never, because the noise was solved for this number of steps.
    """
    begun = time.process_time()
    made = mechanism(trial, part=part_of(trial), dataset_size=len(data.labels))
    run = _begin(trial, made, data)
    guard = BudgetGuard(made.budget)
    sampler = _sampler(trial, data)
    noise = ExactGaussian.insecure_fixed_seed(trial.seed)
    everything = (data.images, data.labels)
    probed = _stand_ins(data, _PROBED[trial.task])
    marks = {max(trial.bands, round(share * trial.iterations)) for share in _PROBES}
    every = max(1, trial.iterations // _CURVE)
    curve: list[CurvePoint] = []
    probes: list[Probe] = []
    for step in range(1, trial.iterations + 1):
        receipt = guard.admit(made.event, at_most=trial.iterations - step + 1)
        drawn = torch.from_numpy(sampler.draw(receipt.event, receipt.cycle))
        near = any(0 <= mark - step < trial.bands for mark in marks)
        sums = _sums_at(run, trial, *(t[drawn] for t in everything), keep=near)
        if step in marks:
            error = run.owed if isinstance(run.owed, PublishedError) else None
            found = probe(run.task, trial, made, places=list(run.places), records=probed, error=error)
            probes.append({"step": step, **rounded(found)})
        paid = _paid(run, trial, sums)
        (noised,) = gaussian(
            {made.part.name: paid},
            parts=(made.released,),
            bands=trial.bands,
            receipt=receipt,
            noise=noise,
            batch_size=trial.batch_size,
        ).values()
        sums_again = {name: value.double() * made.part.step for name, value in noised.items()}
        _update(run, _unmixed(run, trial, sums_again), trial.batch_size)
        if step % every == 0 or step == trial.iterations:
            curve.append({"step": step, **rounded(run.task.scores())})
        tick()
    return {
        **curve[-1],
        "curve": curve,
        "probes": probes,
        "noise_multiplier": made.event.noise_multiplier,
        "noise_std": made.noise_of_mean(trial),
        "certified": made.budget.epsilon,
        "claimed": made.claimed,
        "delta": DELTA,
        "cpu_seconds": round(time.process_time() - begun, 1),
    }


def _sampler(trial: Trial, data: Records) -> PoissonSampler:
    """Groups and coins by the trial's seed."""
    generator = np.random.default_rng(trial.seed)
    return PoissonSampler(
        data.ids,
        bands=trial.bands,
        salt=generator.bytes(16),
        coins=lambda count: generator.integers(0, 2**64, count, dtype=np.uint64),
    )


def _stand_ins(data: Records, count: int) -> tuple[Tensor, Tensor]:
    """`count` records, the same in every trial, on which the bias is measured in place of all."""
    rows = np.random.default_rng(0).choice(len(data.labels), min(count, len(data.labels)), replace=False)
    return data.images[np.sort(rows)], data.labels[np.sort(rows)]


def _begin(trial: Trial, made: Mechanism, data: Records) -> _Run:
    task = task_of(trial, data)
    like = parameters_of(task.module)
    owed: FeedbackMemory | PublishedError | None = None
    if made.event.feedback_ratio is not None:
        owed = PublishedError(like)
    elif trial.feedback == "banded" and trial.decay == 1.0:
        owed = FeedbackMemory(like, trial.bands)
    late = deque[list[TensorDict]](maxlen=max(1, trial.bands - 1))
    past = deque[TensorDict](maxlen=max(1, trial.bands - 1))
    return _Run(task=task, made=made, owed=owed, late=late, past=past, places=deque(maxlen=trial.bands))


def _sums_at(run: _Run, trial: Trial, images: Tensor, labels: Tensor, *, keep: bool) -> Sums:
    """The draw's sums, at the weights or, with a lookahead, where the last update would lead."""
    task, weights = run.task, parameters_of(run.task.module)
    here = {name: p.detach().clone() for name, p in weights.items()} if trial.lookahead else {}
    if run.before:
        _set(weights, {n: p + trial.lookahead * (p - run.before[n]) for n, p in here.items()})
    if keep:
        run.places.appendleft(place_of(task))
    sums = task.record_task().sums((images, labels), _weighting(run, trial), physical_batch=None)
    if trial.lookahead:
        _set(weights, here)
    run.before = here
    return sums


@torch.no_grad()
def _set(weights: dict[str, Tensor], values: TensorDict) -> None:
    for name, p in weights.items():
        p.copy_(values[name])


def _weighting(run: _Run, trial: Trial) -> Weighting:
    """A record's weights; one for each later step where it is paid, or mixed in, in unequal parts."""
    part = run.made.part
    own = weighting_of(part, run.made.event)
    if trial.feedback == "correlated":
        return lambda norms: tuple(c * own(norms)[0] for c in trial.mixing)
    if trial.decay == 1.0:
        return own

    def unequal(norms: Tensor) -> tuple[Tensor, ...]:
        kept, owed = banded_weights(
            norms, clip_norm=part.clip_norm, residual_clip_norm=part.residual_clip_norm, bands=2, grid_step=part.step
        )
        return (kept, *(w * owed for w in trial.payments))

    return unequal


def _paid(run: _Run, trial: Trial, sums: Sums) -> TensorDict:
    """What is released before noise, int64 in grid steps."""
    if trial.feedback != "correlated" and trial.decay == 1.0:
        return feed_back(run.made.part, run.owed, sums.sums, trial.batch_size)
    now, *later = sums.sums
    total = dict(now)
    for k, one in enumerate(run.late):
        total = {name: value + one[k][name] for name, value in total.items()}
    run.late.appendleft(later)
    return {name: value.to(torch.int64) for name, value in total.items()}


def _plus(now: TensorDict, weights: tuple[float, ...], earlier: deque[TensorDict]) -> TensorDict:
    """now + Σ_k weights_k · earlier_k, as many as there are."""
    total = dict(now)
    for weight, one in zip(weights, earlier, strict=False):
        total = {name: value + weight * one[name] for name, value in total.items()}
    return total


def _unmixed(run: _Run, trial: Trial, noised: TensorDict) -> TensorDict:
    """Post-processing of what was released: with correlated noise, the step's own sum again."""
    if trial.feedback != "correlated":
        return noised
    own = _plus(noised, tuple(-c for c in trial.mixing[1:]), run.past)
    run.past.appendleft(own)
    return own


def _update(run: _Run, noised: TensorDict, batch_size: int) -> None:
    for name, p in parameters_of(run.task.module).items():
        p.grad = (noised[name] / batch_size).to(p.dtype)
    run.task.optimiser.step()
    run.task.optimiser.zero_grad(set_to_none=True)
    run.task.between()
