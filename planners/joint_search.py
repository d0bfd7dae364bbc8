"""Joint search: expected batch, steps and bands together, under a limit of compute, each with the noise it needs.

For each batch B, number of steps T and number of bands b the least noise multiplier z that keeps (ε, δ) is solved for.
What is gained is measured by a proxy, what is paid by compute:

    signal to noise of a step    s = C · B / (z · Δ)            C = C1 + R the total clip norm: a unanimous batch
                                                                against the noise of one coordinate
    proxy                        s · √T / (1 + w · D)           signal adds up as T, independent noise as √T; D is the
                                                                mean delay of banded feedback, w = DELAY_WEIGHT
    compute                      seconds T · (fixed + per_record · B), or records T · B

The proxy is the inverse of what bounds the excess risk of noisy SGD (Bassily, Smith & Thakurta 2014, arXiv 1405.7085)
and what De et al. 2022 (arXiv 2204.13650) find to predict accuracy at a fixed number of steps. It saturates: past
some compute z grows as fast as √T · B does, and more buys nothing. It knows nothing of what a network needs, so batch,
signal to noise, steps, noise saved and delay are all shown. In phases s is the root of its mean square over the steps.

    >>> found = joint_search(epsilon=10.0, delta=1e-6, dataset_size=60000, bands=4, max_iterations=1000)
    >>> found.recommended in found.front
    True
    >>> all(a.proxy < b.proxy for a, b in zip(found.front, found.front[1:]))
    True
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from accountant.budget import Budget, Neighbouring
from accountant.composition.segments import Composition
from accountant.errors import InvalidValue
from accountant.scalars import plain
from planners.delay import mean_delay, noise_saved, relative_sensitivity, weight_of_delay
from planners.errors import ImpossiblePlan
from planners.schedule import WHOLE, PhaseShape
from planners.solving.by_rdp import rough_crossing
from planners.solving.cost import EventFamily
from planners.solving.solutions import LARGEST_NOISE_MULTIPLIER, SMALLEST_NOISE_MULTIPLIER

# A GAN needs steps whatever the noise: gen2real on Fashion-MNIST still rose after 600 (docs/results/first-run.md).
FEWEST_STEPS = 600
# Numbers of bands that a search tries, and of R/C1 so much of the b − 1 that has the least noise.
BANDS = (1, 2, 4, 8, 16)
RESIDUALS = (1.0, 0.5, 0.25)
_SMALLEST_BATCH, _LARGEST_SHARE = 64, 0.1
_MOST_STEPS = 20000
_STEP_CHOICES, _BATCH_CHOICES = 5, 7
_FEWEST_BLOCKS = 8
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
        bands: b. residual_ratio: R/C1. noise_saved: share of the noise that DP-SGD of the same total clip norm would
            add, at the same B and T. delay: D, in steps.
        signal_to_noise: of a step. proxy: signal_to_noise · √T / (1 + w·D).
        compute: seconds, or records where no cost is known.
    """

    batch_size: int
    iterations: int
    noise_multiplier: float
    bands: int = 1
    residual_ratio: float = 0.0
    noise_saved: float = 0.0
    delay: float = 0.0
    signal_to_noise: float
    proxy: float
    compute: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What was found.

    Args:
        front: the choices that no other beats in both proxy and compute, by rising compute.
        recommended: one of them. reason: one sentence. unit: of compute, "seconds" or "records".
        alternatives: every number of bands and R/C1 that was tried at the recommended batch and steps.
    """

    front: tuple[Choice, ...]
    recommended: Choice
    reason: str
    unit: str
    alternatives: tuple[Choice, ...] = ()


def _each(bands: int | Sequence[int]) -> tuple[int, ...]:
    """Every number of bands that is to be tried, once, rising."""
    several = bands if isinstance(bands, Sequence) else (bands,)
    return tuple(sorted({plain(one) for one in several}))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    """What a search is told, but for its limits."""

    budget: Budget
    dataset_size: int
    bands: tuple[int, ...]
    residual_ratio: float | None
    feedback_ratio: float
    phases: tuple[PhaseShape, ...]
    before: Composition
    cost: StepCost | None

    def compute(self, batch: int, steps: int) -> float:
        """Seconds of so many steps, or records where no cost is known."""
        shares = [(phase.share, phase.rate * batch) for phase in self.phases]
        if self.cost is None:
            return steps * math.fsum(share * size for share, size in shares)
        return steps * math.fsum(share * self.cost.of(size) for share, size in shares)

    @property
    def signal(self) -> float:
        """What phases make of the signal to noise of a step: the root of the mean square of rate ÷ noise."""
        return math.sqrt(math.fsum(phase.share * (phase.rate / phase.noise) ** 2 for phase in self.phases))


def joint_search(
    *,
    epsilon: float,
    delta: float,
    dataset_size: int,
    bands: int | Sequence[int] = 1,
    residual_ratio: float | None = None,
    feedback_ratio: float = 0.0,
    phases: Sequence[PhaseShape] = WHOLE,
    before: Composition = (),
    neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE,
    max_iterations: int | None = None,
    seconds: float | None = None,
    cost: StepCost | None = None,
) -> Search:
    """Search expected batch × steps × noise, and bands × R/C1, under a limit of compute.

    Args:
        epsilon: > 0. delta: in (0, 1). dataset_size: N. feedback_ratio, phases, before,
            neighbouring: as in the solvers.
        bands: b of banded feedback, or several to choose from, such as BANDS.
        residual_ratio: R/C1, or None to choose from RESIDUALS of b − 1.
        max_iterations: at most so many steps. seconds: at most so much time; needs `cost`, the measured one.

    Raises:
        InvalidValue: a value is out of range, or no limit is given.
        ImpossiblePlan: not even a few steps fit; the message says what would.
    """
    if max_iterations is None and seconds is None:
        raise InvalidValue("Give a limit of compute: --max-iterations 2000 or --time-budget 30m.")
    if seconds is not None and cost is None:
        raise InvalidValue("A time budget needs the measured cost of a step.")
    request = _Request(
        budget=Budget(epsilon=epsilon, delta=delta, neighbouring=neighbouring),
        dataset_size=dataset_size,
        bands=_each(bands),
        residual_ratio=residual_ratio,
        feedback_ratio=feedback_ratio,
        phases=tuple(phases),
        before=before,
        cost=cost,
    )
    choices: list[Choice] = []
    for least in (FEWEST_STEPS, request.bands[0]):
        # Fewer steps than a network needs are looked at only where the limit allows no more.
        if not choices:
            choices = list(_choices(request, least, max_iterations, seconds))
    if not choices:
        raise ImpossiblePlan(_nothing_fits(request, seconds))
    front = pareto_front(choices)
    best = max(front, key=lambda c: c.proxy)
    recommended = next(c for c in front if c.proxy >= _ENOUGH * best.proxy)
    same = (recommended.batch_size, recommended.iterations)
    return Search(
        front=front,
        recommended=recommended,
        reason=_reason(recommended, best, "records" if cost is None else "seconds"),
        unit="records" if cost is None else "seconds",
        alternatives=tuple(c for c in choices if (c.batch_size, c.iterations) == same),
    )


def pareto_front(choices: list[Choice]) -> tuple[Choice, ...]:
    """Those that no other choice beats in both proxy and compute, by rising compute."""
    front: list[Choice] = []
    for choice in sorted(choices, key=lambda c: (c.compute, -c.proxy)):
        if not front or choice.proxy > front[-1].proxy:
            front.append(choice)
    return tuple(front)


def _batches(request: _Request) -> list[int]:
    most = max(1, min(int(request.dataset_size * _LARGEST_SHARE), request.dataset_size // request.bands[0]))
    least = min(_SMALLEST_BATCH, most)
    doublings = int(math.log2(most / least))
    return [least * 2**i for i in range(min(_BATCH_CHOICES, doublings + 1))]


def _steps(request: _Request, batch: int, least: int, max_iterations: int | None, seconds: float | None) -> list[int]:
    """Numbers of steps within the limits, evenly spread on a logarithmic scale, in blocks of every b that fits."""
    most = _MOST_STEPS if max_iterations is None else max_iterations
    if seconds is not None:
        most = min(most, int(seconds / request.compute(batch, 1)))
    # A run of few blocks loses more to whole blocks than bands save.
    fitting = [b for b in request.bands if _FEWEST_BLOCKS * b <= most]
    whole = math.lcm(*fitting) if fitting and math.lcm(*fitting) <= most else request.bands[0]
    most -= most % whole
    if most < least:
        return []
    ratio = (most / least) ** (1 / (_STEP_CHOICES - 1))
    spread = {max(whole, round(least * ratio**i) // whole * whole) for i in range(_STEP_CHOICES)}
    return sorted({steps for steps in spread if steps >= least} | {most})


def _choices(request: _Request, least: int, max_iterations: int | None, seconds: float | None) -> Iterator[Choice]:
    """All that the limits allow; a neighbour's noise is where the next search begins."""
    guess: dict[int, float] = {}
    for batch in _batches(request):
        for steps in _steps(request, batch, least, max_iterations, seconds):
            plain = _noise(request, batch, steps, 1, guess)
            for bands in request.bands:
                z = plain if bands == 1 else _noise(request, batch, steps, bands, guess)
                if z is not None:
                    yield from _divided(request, batch, steps, bands, z, plain)


def _noise(request: _Request, batch: int, steps: int, bands: int, guess: dict[int, float]) -> float | None:
    """z, or None where b·q would be no probability or no noise keeps the budget."""
    family = EventFamily(
        bands=bands, feedback_ratio=request.feedback_ratio, phases=request.phases, before=request.before
    )
    q = batch / request.dataset_size
    if q > family.largest_rate or steps % bands:
        return None

    def candidate(z: float) -> Composition:
        return family.composition(sampling_rate=q, noise_multiplier=z, iterations=steps)

    found = rough_crossing(
        candidate,
        request.budget,
        safest=LARGEST_NOISE_MULTIPLIER,
        riskiest=SMALLEST_NOISE_MULTIPLIER,
        start=guess.get(bands, 1.0),
    )
    if found is not None:
        guess[bands] = found
    return found


def _divided(request: _Request, batch: int, steps: int, bands: int, z: float, plain: float | None) -> Iterator[Choice]:
    """One choice for each R/C1; the noise multiplier does not depend on it."""
    whole = Choice(
        batch_size=batch,
        iterations=steps,
        bands=bands,
        noise_multiplier=z,
        signal_to_noise=batch * request.signal / z,
        proxy=math.nan,
        compute=request.compute(batch, steps),
    )
    given = request.residual_ratio
    ratios = [0.0] if bands == 1 else [share * (bands - 1) for share in RESIDUALS] if given is None else [given]
    for ratio in ratios:
        signal = whole.signal_to_noise / relative_sensitivity(bands, ratio)
        delay = mean_delay(bands, ratio)
        yield replace(
            whole,
            residual_ratio=ratio,
            delay=delay,
            noise_saved=0.0 if plain is None else noise_saved(plain / z, bands=bands, residual_ratio=ratio),
            signal_to_noise=signal,
            proxy=signal * math.sqrt(steps) * weight_of_delay(delay),
        )


def _reason(chosen: Choice, best: Choice, unit: str) -> str:
    if chosen.iterations < FEWEST_STEPS:
        return f"the limit allows fewer than {FEWEST_STEPS} steps, which is too few to expect much"
    if chosen == best:
        return "the best signal to noise that the limit allows"
    share, saved = chosen.proxy / best.proxy, 1 - chosen.compute / best.compute
    return f"{share:.0%} of the best signal to noise within the limit, for {saved:.0%} less {unit}"


def _nothing_fits(request: _Request, seconds: float | None) -> str:
    bands, cost, epsilon = request.bands[0], request.cost, request.budget.epsilon
    if seconds is not None and cost is not None:
        least = bands * cost.of(_batches(request)[0])
        unit = "step" if bands == 1 else f"block of {bands} steps"
        return f"Not one {unit} fits {seconds:.3g} s; the least takes {least:.3g} s: give more time."
    return f"No plan keeps ε = {epsilon:g} within the limit; raise ε or δ, or allow fewer steps."
