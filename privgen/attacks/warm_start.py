"""`audit_warm_start`: a worst-case record in and out of the statistics that a warm start releases, class by class.

For each release the method's own `Statistics.sums` reads two small data sets that differ in one record, its pixels all
white, in one class: what that moves the sums by is held against what the noise is for. Then the run's own release code
noises both many times, and scores, the logarithm of the likelihood ratio, bound ε from below. Where a number was noised
less than it should have been, some trials in advance show it, and it counts for more: counts released exactly, or a
class that was forgotten, give the record away at once.

Releases come one after another, each on the mixture that the one before has made. With the steps' scores added
(`privgen.attacks.worlds`) the same trials are of the whole run: statistics and steps composed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from accountant.budget import Budget, Neighbouring
from accountant.composition.certified import certify
from accountant.composition.segments import Composition
from accountant.events import Event
from accountant.ledger.guard import BudgetGuard
from accountant.plans.parts import Part
from accountant.plans.plan import Plan
from accountant.plans.warm_start import WarmRelease
from privgen.attacks.bound import lower_bound
from privgen.attacks.mechanism import WIDE_DELTA, Finding, own_setting
from privgen.attacks.worlds import play
from privgen.catalogue import method_named
from privgen.data.records import ImageData, identities
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.release import gaussian
from privgen.mechanism.sampling import Coins
from privgen.training.method import RecordFacts, Statistics

Scores = NDArray[np.float64]
Sums = Mapping[str, Tensor]

TRIALS = 300
# Enough classes that one can be forgotten, and images as small as all methods take.
_CLASSES, _SIDE, _OTHERS = ("0", "1"), 16, 1000
# Trials that look for numbers with too little noise, what counts as too little, and the least that is divided by.
_PILOT, _TOO_LITTLE, _LEAST = 48, 0.5, 1e-3
_ROOM = 1e12
# Numbers that are noised at a time.
_AT_ONCE = 5_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class _Told:
    """What one release tells of a record: the scores of both worlds, how far it moved the sums, and the event."""

    present: Scores
    absent: Scores
    moved: float
    event: Event


def audit_warm_start(
    plan: Plan, *, trials: int | None = None, confidence: float, noise: ExactGaussian, coins: Coins | None = None
) -> tuple[Finding, ...]:
    """Attack a plan's warm start, and it and the steps together; nothing for a plan without one.

    Args:
        trials: runs of each world, or None for 300. confidence: of each bound, in (0, 1). noise, coins: randomness.
    """
    if plan.warm_start is None:
        return ()
    begun, count = time.perf_counter(), trials or TRIALS
    told = [_class(plan, number, count, noise) for number in range(len(_CLASSES))]
    seconds = time.perf_counter() - begun
    by_class = [
        finding
        for name, releases in zip(_CLASSES, told, strict=True)
        for finding in _findings(
            plan, f"statistics, the record in class {name}", releases, _charged(releases), confidence, seconds
        )
    ]
    return (*by_class, *_whole(plan, told[0], count, confidence, noise, coins))


def _charged(releases: list[_Told]) -> Composition:
    return tuple((one.event, 1) for one in releases)


def _class(plan: Plan, number: int, trials: int, noise: ExactGaussian) -> list[_Told]:
    """All releases in turn, our record in one class."""
    statistics = _statistics(plan)
    with_ours, without = _neighbours(number, plan.neighbouring)
    assert plan.warm_start is not None  # the caller has seen to it
    found = []
    for place, release in enumerate(plan.warm_start.releases()):
        part = Part(name=release.kind, clip_norm=release.sensitivity, noise_multiplier=release.noise_multiplier)
        ours, base = (statistics.sums(release, data, grid_step=part.step) for data in (with_ours, without))
        worlds = _World(part, release, plan, noise, statistics.counted_twice, base, ours)
        present, absent = worlds.scores(trials)
        found.append(_Told(present=present, absent=absent, moved=worlds.moved, event=release.event))
        one = {name: value[0] for name, value in worlds.released(base, 1).items()}
        statistics.update(place, one, grid_step=part.step)
    return found


class _World:
    """One release in both worlds."""

    def __init__(
        self,
        part: Part,
        release: WarmRelease,
        plan: Plan,
        noise: ExactGaussian,
        counted_twice: frozenset[str],
        base: Sums,
        ours: Sums,
    ) -> None:
        self._part, self._event, self._noise, self._twice = part, release.event, noise, counted_twice
        self._guard = BudgetGuard(Budget(epsilon=_ROOM, delta=0.5, neighbouring=plan.neighbouring), block=1)
        self._base, self._ours = base, ours
        self._apart = {name: (ours[name] - base[name]).double() for name in base}
        # A number that stands for two counts twice, and its noise has σ/√2.
        square = sum(float(a.square().sum()) * (2 if name in counted_twice else 1) for name, a in self._apart.items())
        # Under replace-one two records of the sensitivity's length may stand against each other.
        allowed = release.sensitivity * (2 if plan.neighbouring is Neighbouring.REPLACE_ONE else 1)
        self.moved = float(np.sqrt(square)) * part.step / allowed

    def released(self, sums: Sums, trials: int) -> dict[str, Tensor]:
        """So many releases of these sums, (trials, ...) each, by the run's own release code."""
        rows = {name: value.expand(trials, *value.shape).contiguous() for name, value in sums.items()}
        receipt = self._guard.admit(self._event)
        return gaussian(
            {self._part.name: rows}, parts=(self._part,), bands=1, receipt=receipt, noise=self._noise,
            counted_twice=self._twice,
        )[self._part.name]  # fmt: skip

    def scores(self, trials: int) -> tuple[Scores, Scores]:
        """Of both worlds."""
        weights = self._weights(self.released(self._base, _PILOT))
        size = max(1, _AT_ONCE // sum(value.numel() for value in self._base.values()))
        sizes = [min(size, trials - at) for at in range(0, trials, size)]
        present, absent = (
            np.concatenate([self._score(self.released(sums, one), weights) for one in sizes])
            for sums in (self._ours, self._base)
        )
        return present, absent

    def _weights(self, pilot: Sums) -> dict[str, Tensor]:
        """What each number counts: the difference over the variance that it should have, or has if that is far less."""
        found = {}
        for name, apart in self._apart.items():
            right = float(self._part.noise_on_grid(1)) / (2**0.5 if name in self._twice else 1.0)
            seen = pilot[name].double().std(0)
            used = torch.where(seen < _TOO_LITTLE * right, seen.clamp_min(_LEAST * right), right)
            found[name] = apart / used.square()
        return found

    def _score(self, rows: Sums, weights: Mapping[str, Tensor]) -> Scores:
        """(trials,)"""
        along = [
            ((value - self._base[name]).flatten(1).double() @ weights[name].flatten()) for name, value in rows.items()
        ]
        found: Scores = torch.stack(along).sum(0).numpy()
        return found


def _statistics(plan: Plan) -> Statistics:
    """The method's own, of small images of two classes."""
    method = method_named(plan.method)
    facts = RecordFacts(shape=(1, _SIDE, _SIDE), class_names=_CLASSES)
    latents = torch.Generator().manual_seed(0)
    learner = method.begin(plan, facts, method.planned_settings(plan), latents=latents)
    assert learner.statistics is not None  # the plan has a warm start
    return learner.statistics


def _neighbours(number: int, neighbouring: Neighbouring) -> tuple[ImageData, ImageData]:
    """Bright and dark records, and a white one of a class with them or not; under replace-one a black one of another.

    Brightness is the direction that the records differ in, so it stands out of the noise where so many can make it, and
    ours moves whatever is measured along it as far as anything can.
    """
    generator = np.random.default_rng(number)
    images = generator.integers(0, 64, (_OTHERS + 1, _SIDE, _SIDE, 1), dtype=np.uint8)
    labels = np.arange(_OTHERS + 1) % len(_CLASSES)
    images[generator.random(_OTHERS + 1) < 0.5] += 192
    images[-1], labels[-1] = 255, number
    whole = _records(images, labels)
    if neighbouring is not Neighbouring.REPLACE_ONE:
        return whole, _records(images[:-1], labels[:-1])
    other, other_labels = images.copy(), labels.copy()
    other[-1], other_labels[-1] = 0, (number + 1) % len(_CLASSES)
    return whole, _records(other, other_labels)


def _records(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> ImageData:
    ids = identities(f"attack/{row}" for row in range(len(labels)))
    return ImageData(name="attack", split="train", images=images, labels=labels, class_names=_CLASSES, ids=ids)


def _whole(
    plan: Plan, told: list[_Told], trials: int, confidence: float, noise: ExactGaussian, coins: Coins | None
) -> Iterator[Finding]:
    """Statistics and steps together: what both tell of one record, added up."""
    begun = time.perf_counter()
    setting = own_setting(plan, trials)
    present, charged = play(setting, trials=trials, present=True, noise=noise, coins=coins)
    absent, _ = play(setting, trials=trials, present=False, noise=noise, coins=coins)
    steps = _Told(present=present, absent=absent, moved=0.0, event=setting.event)
    what = f"the whole run: {len(told)} releases of statistics and its steps"
    seconds = time.perf_counter() - begun
    yield from _findings(plan, what, [*told, steps], (*_charged(told), *charged), confidence, seconds)


def _findings(
    plan: Plan, what: str, told: list[_Told], charged: Composition, confidence: float, seconds: float
) -> Iterator[Finding]:
    present, absent = sum(one.present for one in told), sum(one.absent for one in told)
    moved = max(one.moved for one in told)
    for at in sorted({plan.delta, WIDE_DELTA}):
        yield Finding(
            what=what,
            event=told[-1].event,
            steps=sum(count for _, count in charged),
            lower=lower_bound(np.asarray(present), np.asarray(absent), delta=at, confidence=confidence),
            certified=certify(charged, delta=at, neighbouring=plan.neighbouring).epsilon,
            claimed=None,
            seconds=seconds,
            moved=moved,
        )
