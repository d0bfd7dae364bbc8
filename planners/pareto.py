"""Joint search: expected batch and steps together, under a limit of compute, each with the noise that it needs.

For each batch B and number of steps T the least noise multiplier z that keeps (ε, δ) is solved for. What is gained
is measured by a proxy, what is paid by compute:

    signal to noise of a step    s = C · B / (z · Δ)            C the total clip norm: a unanimous batch against the
                                                                noise of one coordinate
    proxy                        s · √T                         signal adds up as T, independent noise as √T
    compute                      seconds T · (fixed + per_record · B), or records T · B

The proxy is the inverse of what bounds the excess risk of noisy SGD (Bassily, Smith & Thakurta 2014, arXiv 1405.7085)
and what De et al. 2022 (arXiv 2204.13650) find to predict accuracy at a fixed number of steps. It saturates: past
some compute z grows as fast as √T · B does, and more buys nothing. It knows nothing of what a network needs, so batch,
signal to noise and steps are all shown.

    >>> found = joint_search(epsilon=10.0, delta=1e-6, dataset_size=60000, bands=4, max_iterations=1000)
    >>> found.recommended in found.front
    True
    >>> all(a.proxy < b.proxy for a, b in zip(found.front, found.front[1:]))
    True
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from accountant.budget import Neighbouring
from accountant.errors import InvalidValue
from planners.calibrate import solve_noise_multiplier
from planners.errors import ImpossiblePlan

# A GAN needs steps whatever the noise: gen2real on Fashion-MNIST still rose after 600 (docs/results/first-run.md).
FEWEST_STEPS = 600
_SMALLEST_BATCH, _LARGEST_SHARE = 64, 0.1
_MOST_STEPS = 20000
_STEP_CHOICES, _BATCH_CHOICES = 5, 7
# Of the best proxy: what is so close to it is not worth more compute.
_ENOUGH = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class StepCost:
    """Seconds of a private step: fixed + per_record · B, both >= 0."""

    fixed: float
    per_record: float

    def __post_init__(self) -> None:
        if not (self.fixed >= 0 and self.per_record >= 0 and self.fixed + self.per_record > 0):
            raise InvalidValue(f"Expected the cost of a step to be >= 0 and not nothing, got {self}.")

    def of(self, batch_size: float) -> float:
        """Seconds of one step of this expected batch."""
        return self.fixed + self.per_record * batch_size


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One way to spend the budget.

    Args:
        batch_size: expected, B. iterations: T. noise_multiplier: z, solved for.
        signal_to_noise: of a step. proxy: signal_to_noise · √T. compute: seconds, or records where no cost is known.
    """

    batch_size: int
    iterations: int
    noise_multiplier: float
    signal_to_noise: float
    proxy: float
    compute: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What was found.

    Args:
        front: the choices that no other beats in both proxy and compute, by rising compute.
        recommended: one of them. reason: one sentence. unit: of compute, "seconds" or "records".
    """

    front: tuple[Choice, ...]
    recommended: Choice
    reason: str
    unit: str


def joint_search(
    *,
    epsilon: float,
    delta: float,
    dataset_size: int,
    bands: int = 1,
    feedback_ratio: float = 0.0,
    neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE,
    max_iterations: int | None = None,
    seconds: float | None = None,
    cost: StepCost | None = None,
) -> Search:
    """Search expected batch × steps × noise under a limit of compute.

    Args:
        epsilon: > 0. delta: in (0, 1). dataset_size: N. bands, feedback_ratio, neighbouring: as in the solvers.
        max_iterations: at most so many steps. seconds: at most so much time; needs `cost`, the measured one.

    Raises:
        InvalidValue: a value is out of range, or no limit is given.
        ImpossiblePlan: not even a few steps fit; the message says what would.
    """
    if max_iterations is None and seconds is None:
        raise InvalidValue("Give a limit of compute: --max-iterations 2000 or --time-budget 30m.")
    if seconds is not None and cost is None:
        raise InvalidValue("A time budget needs the measured cost of a step.")
    choices: list[Choice] = []
    for least in (FEWEST_STEPS, bands):
        # Fewer steps than a network needs are looked at only where the limit allows no more.
        for batch in [] if choices else _batches(dataset_size, bands):
            for steps in _steps(batch, least, max_iterations, seconds, cost, bands):
                found = _choice(
                    batch, steps, epsilon=epsilon, delta=delta, dataset_size=dataset_size, bands=bands,
                    feedback_ratio=feedback_ratio, neighbouring=neighbouring, cost=cost,
                )  # fmt: skip
                if found is not None:
                    choices.append(found)
    if not choices:
        raise ImpossiblePlan(_nothing_fits(seconds, cost, dataset_size, bands, epsilon))
    front = pareto_front(choices)
    best = max(front, key=lambda c: c.proxy)
    recommended = next(c for c in front if c.proxy >= _ENOUGH * best.proxy)
    unit = "records" if cost is None else "seconds"
    return Search(front=front, recommended=recommended, reason=_reason(recommended, best, unit), unit=unit)


def pareto_front(choices: list[Choice]) -> tuple[Choice, ...]:
    """Those that no other choice beats in both proxy and compute, by rising compute."""
    front: list[Choice] = []
    for choice in sorted(choices, key=lambda c: (c.compute, -c.proxy)):
        if not front or choice.proxy > front[-1].proxy:
            front.append(choice)
    return tuple(front)


def _batches(dataset_size: int, bands: int) -> list[int]:
    most = max(1, min(int(dataset_size * _LARGEST_SHARE), dataset_size // bands))
    least = min(_SMALLEST_BATCH, most)
    doublings = int(math.log2(most / least))
    return [least * 2**i for i in range(min(_BATCH_CHOICES, doublings + 1))]


def _steps(
    batch: int, least: int, max_iterations: int | None, seconds: float | None, cost: StepCost | None, bands: int
) -> list[int]:
    """Numbers of steps within the limits, evenly spread on a logarithmic scale, in whole blocks."""
    most = _MOST_STEPS if max_iterations is None else max_iterations
    if seconds is not None and cost is not None:
        most = min(most, int(seconds / cost.of(batch)))
    most -= most % bands
    if most < least:
        return []
    ratio = (most / least) ** (1 / (_STEP_CHOICES - 1))
    spread = {max(bands, round(least * ratio**i) // bands * bands) for i in range(_STEP_CHOICES)}
    return sorted(spread | {most})


def _choice(
    batch: int,
    steps: int,
    *,
    epsilon: float,
    delta: float,
    dataset_size: int,
    bands: int,
    feedback_ratio: float,
    neighbouring: Neighbouring,
    cost: StepCost | None,
) -> Choice | None:
    try:
        z = solve_noise_multiplier(
            epsilon=epsilon, delta=delta, sampling_rate=batch / dataset_size, iterations=steps,
            bands=bands, feedback_ratio=feedback_ratio, neighbouring=neighbouring, tolerance=0.01,
        )  # fmt: skip
    except ImpossiblePlan:
        return None
    # The total clip norm 1 in equal parts C1 = 1/b, R = 1 − 1/b gives Δ = 1/√b.
    signal = batch * math.sqrt(bands) / z
    compute = float(steps * batch) if cost is None else steps * cost.of(batch)
    return Choice(
        batch_size=batch,
        iterations=steps,
        noise_multiplier=z,
        signal_to_noise=signal,
        proxy=signal * math.sqrt(steps),
        compute=compute,
    )


def _reason(chosen: Choice, best: Choice, unit: str) -> str:
    if chosen.iterations < FEWEST_STEPS:
        return f"the limit allows fewer than {FEWEST_STEPS} steps, which is too few to expect much"
    if chosen == best:
        return "the best signal to noise that the limit allows"
    share, saved = chosen.proxy / best.proxy, 1 - chosen.compute / best.compute
    return f"{share:.0%} of the best signal to noise within the limit, for {saved:.0%} less {unit}"


def _nothing_fits(seconds: float | None, cost: StepCost | None, dataset_size: int, bands: int, epsilon: float) -> str:
    if seconds is not None and cost is not None:
        least = bands * cost.of(_batches(dataset_size, bands)[0])
        return f"Not one block of {bands} steps fits {seconds:.3g} s; the least takes {least:.3g} s: give more time."
    return f"No plan keeps ε = {epsilon:g} within the limit; raise ε or δ, or allow fewer steps."
