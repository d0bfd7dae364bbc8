"""Which trials the clipping-bias experiment trains, and in which order.

| stage | what is trained | why |
|---|---|---|
| tune | DP-SGD over clip norms × learning rates, with a seed of its own | its best of both is found first |
| match | each feedback at that clip norm, three learning rates; fresh seeds at the best | equal tuning for all |
| vary | R/C1, unequal parts, gradients taken ahead: fresh seeds; no momentum: as match | where banded pays the most |
| clips | each at three times and a third of that clip norm with the same η·C, fresh seeds | the best C1 of each |
| correlate | as match, with correlated noise over the same bands instead of feedback | the next best use of bands |
| critic | each feedback on a GAN's critic | bias and norms there |

Learning rates are given as the step η·C, where C is the total clip norm: if most records are clipped, nothing else
matters. The best rate has the highest accuracy on held-out records with the tuning seed, whose trials are in no table.
If it is the lowest or highest of the three, the search goes on in that direction, at most twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NotRequired, TypedDict

from privgen.experiments.clipping_bias.results import TrialResult
from privgen.experiments.clipping_bias.settings import Trial

TUNING_SEED = 1000
STAGES = ("tune", "match", "vary", "clips", "correlate", "critic")

# Trains a trial, or returns its result if it was trained before; the stage is only recorded.
Trainer = Callable[[str, Trial], TrialResult]


class FeedbackSettings(TypedDict):
    """Settings of a `Trial` that make a feedback."""

    feedback: str
    bands: NotRequired[int]
    feedback_ratio: NotRequired[float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """What to train.

    Args:
        dataset: by name. task: mlp or cnn. epsilons: each > 0. bands: each > 1. seeds: how many fresh ones.
        iterations: T. batch_size: B.
        clips: total clip norms to tune DP-SGD over, ascending. steps: η·C, ascending.
        stages: which of STAGES.
        certified_ratio, claimed_ratio: ρ of the published feedback: one that is affordable if the budget is its
            certified ε, and the published one (C2 = C1 on the scale of sums) if the budget is its claimed ε.
    """

    dataset: str = "fashion-mnist"
    task: str = "mlp"
    epsilons: tuple[float, ...] = (10.0, 3.0, 1.0)
    bands: tuple[int, ...] = (2, 4, 8, 16)
    seeds: int = 3
    iterations: int = 2000
    batch_size: int = 256
    clips: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)
    steps: tuple[float, ...] = (0.05, 0.1, 0.2)
    stages: tuple[str, ...] = STAGES
    certified_ratio: float = 0.006
    claimed_ratio: float = 2.0

    def methods(self) -> tuple[FeedbackSettings, ...]:
        """What each feedback changes in a trial."""
        return (
            {"feedback": "none"},
            *(FeedbackSettings(feedback="banded", bands=b) for b in self.bands),
            {"feedback": "paper", "feedback_ratio": self.certified_ratio},
            {"feedback": "paper-claimed", "feedback_ratio": self.claimed_ratio},
        )

    def base(self, epsilon: float, *, clip: float, step: float) -> Trial:
        """DP-SGD with this clip norm and step, and the tuning seed."""
        return Trial(
            task=self.task,
            feedback="none",
            epsilon=epsilon,
            total_clip=clip,
            learning_rate=_tidy(step / clip),
            iterations=self.iterations,
            batch_size=self.batch_size,
            seed=TUNING_SEED,
        )


def explore(grid: Grid, train: Trainer) -> None:
    """Train everything: the main comparison at each ε first, then the details."""
    best = {epsilon: _tuned(grid, epsilon, train) for epsilon in grid.epsilons} if _classifies(grid) else {}
    matched = {}
    if "match" in grid.stages:
        for epsilon, trial in best.items():
            matched[epsilon] = [_matched("match", grid, replace(trial, **m), train) for m in grid.methods()]
    if "vary" in grid.stages:
        for epsilon in best:
            for trial in matched.get(epsilon, ()):
                for variant in variants(trial):
                    # Without momentum the best rates differ; with it a small change does not move them.
                    follow = _fresh if variant.momentum == trial.momentum else _matched
                    follow("vary", grid, variant, train)
    if "clips" in grid.stages:
        for epsilon in best:
            for factor in (3.0, 1 / 3):
                for trial in matched.get(epsilon, ()):
                    _fresh("clips", grid, rescaled(trial, factor), train)
    if "correlate" in grid.stages:
        for trial in best.values():
            for b in grid.bands:
                _matched("correlate", grid, replace(trial, feedback="correlated", bands=b), train)
    if "critic" in grid.stages:
        for trial in critics(grid):
            _fresh("critic", grid, trial, train)


def _classifies(grid: Grid) -> bool:
    return set(grid.stages) != {"critic"}


def _tuned(grid: Grid, epsilon: float, train: Trainer) -> Trial:
    """DP-SGD at its best clip norm and learning rate."""
    tried = [grid.base(epsilon, clip=clip, step=step) for clip in grid.clips for step in grid.steps]
    return max(tried, key=lambda trial: train("tune", trial)["accuracy"])


def _matched(stage: str, grid: Grid, trial: Trial, train: Trainer) -> Trial:
    """The trial at its own best learning rate, after training it there with fresh seeds."""
    best = climbed(trial, lambda one: train(stage, one)["accuracy"])
    _fresh(stage, grid, best, train)
    return best


def climbed(trial: Trial, score: Callable[[Trial], float]) -> Trial:
    """The best of half, once and twice the learning rate, and further out if the best is at an end."""
    scores = {k: score(_faster(trial, k)) for k in (-1, 0, 1)}
    for _ in range(2):
        best = max(scores, key=lambda k: scores[k])
        beyond = best - 1 if best == min(scores) else best + 1
        if beyond in scores:
            break
        scores[beyond] = score(_faster(trial, beyond))
    return _faster(trial, max(scores, key=lambda k: scores[k]))


def _faster(trial: Trial, doublings: int) -> Trial:
    return replace(trial, learning_rate=_tidy(trial.learning_rate * 2.0**doublings))


def rescaled(trial: Trial, factor: float) -> Trial:
    """Another total clip norm, the same step η·C."""
    return replace(
        trial,
        total_clip=_tidy(trial.total_clip * factor),
        learning_rate=_tidy(trial.learning_rate / factor),
    )


def variants(trial: Trial) -> Iterator[Trial]:
    """Changes that may improve banded feedback, one at a time; and no momentum, also for DP-SGD."""
    if trial.feedback == "none" or trial.bands == 4:
        yield replace(trial, momentum=0.0, learning_rate=_tidy(trial.learning_rate / (1 - trial.momentum)))
    if trial.bands in (4, 8):
        yield replace(trial, now=0.5)
        yield replace(trial, decay=0.7)
        # A share of 1/b arrives at once, and the rest b/2 steps late on average.
        yield replace(trial, lookahead=(trial.bands - 1) / 2)


def critics(grid: Grid) -> Iterator[Trial]:
    """Each feedback on a GAN's critic, by Adam: a quarter of the batch and a tenth of the steps, which are slower."""
    for m in grid.methods():
        yield Trial(
            task="critic",
            epsilon=max(grid.epsilons),
            total_clip=1.0,
            learning_rate=3e-4,
            momentum=0.5,
            iterations=max(1, grid.iterations // 10),
            batch_size=max(1, grid.batch_size // 4),
            **m,
        )


def _fresh(stage: str, grid: Grid, trial: Trial, train: Trainer) -> None:
    for seed in range(grid.seeds):
        train(stage, replace(trial, seed=seed))


def _tidy(value: float) -> float:
    return float(f"{value:.6g}")
