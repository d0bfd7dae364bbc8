"""A worst-case record, present and absent, through the code that trains: coins, clipping, feedback, guard, noise.

A trial is a separate run of a model with a few numbers. Trials are the rows of one tensor, so that
the real functions (`PoissonSampler.draw`, `private_sums`, the weights and the feedback of
`privgen.training.private_step`,
`release.gaussian` with a receipt) serve many at once; only the published feedback clips over all its numbers and is
called once a trial. Networks are left out: the gradients are given, which is the worst that a network can do.

A score is the logarithm of the likelihood ratio of the two worlds, as the theorems of docs/privacy.md give it. If the
code does something else, the score is worse than it could be and the bound that comes of it still holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from accountant.budget import Budget, Neighbouring
from accountant.composition.segments import Composition
from accountant.events import Event
from accountant.ledger.guard import BudgetGuard
from accountant.plans.parts import Part
from privgen.gradients.clipped_sums import private_sums
from privgen.mechanism.error_feedback import FeedbackMemory, PublishedError
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.part_feedback import feed_back, weighting_of
from privgen.mechanism.release import gaussian
from privgen.mechanism.sampling import Coins, PoissonSampler, assign_groups

Scores = NDArray[np.float64]

# Two numbers a part: a direction that is no axis shows clipping by the norm.
_DIRECTION = torch.tensor([0.6, 0.8])
_CHUNK = 100_000
_ROOM = 1e12  # of a guard that must not stop the audit: what it charges is what is looked at
# Others that push the published error: that none of them is in the first batch has a probability below 1e-9.
_SURE = 20.7


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What is attacked.

    Args:
        event: one step. parts: with the noise of that step. steps: of one run, >= 1.
        batch_size: B = qN, the public divisor (published feedback only).
        neighbouring: adjacency; under replace-one the absent record is another one with the opposite gradient.
        others: further records, with the opposite gradient; the worst case needs none of them.
    """

    event: Event
    parts: tuple[Part, ...]
    steps: int
    batch_size: float = 1.0
    neighbouring: Neighbouring = Neighbouring.ADD_OR_REMOVE_ONE
    others: int = 0

    @property
    def bands(self) -> int:
        """b of the event."""
        return self.event.bands

    @property
    def rate(self) -> float:
        """Probability that our record is drawn when its turn comes: b·q."""
        return min(1.0, self.bands * self.event.sampling_rate)

    @property
    def replaces(self) -> bool:
        """Whether another record takes our record's place in the other world."""
        return self.neighbouring is Neighbouring.REPLACE_ONE


def play(
    setting: Setting, *, trials: int, present: bool, noise: ExactGaussian, coins: Coins | None = None
) -> tuple[Scores, Composition]:
    """Run one world.

    Args:
        trials: independent runs, >= 1. present: whether the record is in the data.
        noise: where noise comes from. coins: of the sampler; None is the cryptographic stream.

    Returns:
        (trials,) scores, and what the guard charged each run.
    """
    one = _paper if setting.event.feedback_ratio is not None else _banded
    sizes = [min(_CHUNK, trials - at) for at in range(0, trials, _CHUNK)]
    played = [one(setting, size, present, noise, coins) for size in sizes]
    charged = {composition for _, composition in played}
    if len(charged) != 1:
        raise AssertionError(f"The guard charged equal runs differently: {charged}")
    return np.concatenate([scores for scores, _ in played]), charged.pop()


def _banded(
    setting: Setting, trials: int, present: bool, noise: ExactGaussian, coins: Coins | None
) -> tuple[Scores, Composition]:
    """Trials of banded feedback, or of none: a block is one chance of the record."""
    sampler, owner, mine = _records(setting, trials, present, coins)
    guard, like = _guard(setting), {"w": torch.zeros(trials, len(_DIRECTION))}
    owed = {part.name: FeedbackMemory(like, setting.bands) for part in setting.parts}
    own = {part.name: _contribution(part, setting.event, 1e6 if present else -1e6) for part in setting.parts}
    other = {part.name: _contribution(part, setting.event, -1e6) for part in setting.parts}
    scores, seen = np.zeros(trials), np.zeros(trials)
    for step in range(setting.steps):
        receipt = guard.admit(setting.event)
        drawn = sampler.draw(setting.event, receipt.cycle)
        counts = [np.bincount(owner[drawn], weights=w[drawn], minlength=trials) for w in (mine, ~mine)]
        to_release = {}
        for part in setting.parts:
            sums = _summed(counts, own[part.name], other[part.name])
            to_release[part.name] = feed_back(part, owed[part.name], sums, setting.batch_size)
        noised = gaussian(
            to_release,
            parts=setting.parts,
            bands=setting.bands,
            receipt=receipt,
            noise=noise,
            batch_size=setting.batch_size,
        )
        slot = step % setting.bands
        seen += sum(_seen(setting, part, slot, noised[part.name]["w"]) for part in setting.parts)
        if slot == setting.bands - 1 or step == setting.steps - 1:
            scores += _block_score(setting, seen, slots=slot + 1)
            seen = np.zeros(trials)
    return scores, _charged(guard)


def _records(
    setting: Setting, trials: int, present: bool, coins: Coins | None
) -> tuple[PoissonSampler, NDArray[np.int64], NDArray[np.bool_]]:
    """A sampler over the records of all trials, whose trial each record is in, and which is ours.

    All are in the first group, so that a block has room for all that a draw adds.
    """
    kept = int(present or setting.replaces)
    owner = np.repeat(np.arange(trials), kept + setting.others)
    mine = np.tile(np.arange(kept + setting.others) < kept, trials)
    salt = bytes(16)
    names = np.arange(max(1, 2 * setting.bands * len(owner) + 1000), dtype=np.uint64)
    ids = np.column_stack([names, names]).view(np.uint8)
    ids = ids[assign_groups(ids, bands=setting.bands, salt=salt) == 0][: len(owner)]
    return PoissonSampler(ids, bands=setting.bands, salt=salt, coins=coins), owner, mine


def _guard(setting: Setting) -> BudgetGuard:
    return BudgetGuard(Budget(epsilon=_ROOM, delta=0.5, neighbouring=setting.neighbouring), block=1)


def _charged(guard: BudgetGuard) -> Composition:
    guard.commit()
    return tuple((segment.event, segment.reserved) for segment in guard.segments)


def _contribution(part: Part, event: Event, length: float) -> tuple[Tensor, ...]:
    """What a record with the gradient `length · _DIRECTION` puts into each of the step's sums."""
    module = nn.Linear(len(_DIRECTION), 1, bias=False)
    record = (length * _DIRECTION)[None]
    found = private_sums(module, lambda x: module(x)[0], (record,), weighting_of(part, event))
    return tuple(sums["weight"][0] for sums in found.sums)  # in grid steps


def _summed(
    counts: Sequence[NDArray[np.integer] | NDArray[np.float64]], own: tuple[Tensor, ...], other: tuple[Tensor, ...]
) -> tuple[dict[str, Tensor], ...]:
    """Sums of all trials: so many of our record, so many of the others."""
    ours, theirs = (torch.from_numpy(count)[:, None] for count in counts)
    return tuple({"w": ours * a + theirs * b} for a, b in zip(own, other, strict=True))  # (trials, 2)


def _expected(part: Part, bands: int, slot: int) -> float:
    """What one draw adds to that slot of its block, by the theorem: a, then r/K in each of K steps."""
    return part.clip_norm if slot == 0 else part.residual_clip_norm / (bands - 1)


def _std(part: Part, bands: int) -> float:
    return part.noise_multiplier * part.sensitivity(bands)


def _projected(part: Part, released: Tensor) -> Scores:
    """(trials,): along the direction that the record moves the outputs in."""
    found: Scores = (released.double() @ _DIRECTION.double()).numpy() * part.step
    return found


def _seen(setting: Setting, part: Part, slot: int, released: Tensor) -> Scores:
    """The outputs along the direction that the record moves them in, less what the others are expected to add."""
    along = _projected(part, released)
    expected = _expected(part, setting.bands, slot)
    return (along + setting.rate * setting.others * expected) * expected / _std(part, setting.bands) ** 2


def _block_score(setting: Setting, seen: Scores, *, slots: int) -> Scores:
    """log((1 − bq) + bq e^(x − h)), less the same of the opposite record under replace-one."""
    half = 0.5 * sum(
        (_expected(part, setting.bands, slot) / _std(part, setting.bands)) ** 2
        for part in setting.parts
        for slot in range(slots)
    )
    score = _mixed(setting.rate, 0.0, seen - half)
    return score - _mixed(setting.rate, 0.0, -seen - half) if setting.replaces else score


def _mixed(q: float, without: Scores | float, drawn: Scores) -> Scores:
    """log((1 − q) e^without + q e^drawn)."""
    if q >= 1:
        return drawn
    return np.logaddexp(math.log1p(-q) + without, math.log(q) + drawn)


def _paper(
    setting: Setting, trials: int, present: bool, noise: ExactGaussian, coins: Coins | None
) -> tuple[Scores, Composition]:
    """Trials of the published feedback on the data set of theorem 4: others push e to −H·u and then fall silent; the
    record's gradient is long enough to turn it round for good, whenever it is first drawn."""
    q = setting.event.sampling_rate
    pushing = max(1, math.ceil(min(_SURE / q, setting.batch_size / q - 1)))
    others = _sampler(pushing, coins)
    ours = _sampler(trials if present or setting.replaces else 0, coins)
    guard, like = _guard(setting), {"w": torch.zeros(len(_DIRECTION))}
    owed = [{part.name: PublishedError(like) for part in setting.parts} for _ in range(trials)]
    outputs = []
    for step in range(setting.steps):
        receipt = guard.admit(setting.event)
        drawn = np.bincount(ours.draw(setting.event, receipt.cycle), minlength=trials)
        pushed = np.array([len(others.draw(setting.event, 0)) if step == 0 else 0 for _ in range(trials)])
        to_release = {}
        for part in setting.parts:
            push = 4 * setting.batch_size * (setting.steps * part.feedback_clip_norm + part.clip_norm)
            own = _contribution(part, setting.event, 2 * push * (pushing + 1) * (1 if present else -1))
            sums = _summed([drawn, pushed], own, _contribution(part, setting.event, -push))
            to_release[part.name] = {"w": _each_fed_back(setting, part, owed, sums)}
        noised = gaussian(
            to_release, parts=setting.parts, bands=1, receipt=receipt, noise=noise, batch_size=setting.batch_size
        )
        outputs.append({part.name: _projected(part, noised[part.name]["w"]) for part in setting.parts})
    return _steering_score(setting, outputs), _charged(guard)


def _sampler(count: int, coins: Coins | None) -> PoissonSampler:
    names = np.arange(count, dtype=np.uint64)
    return PoissonSampler(np.column_stack([names, names]).view(np.uint8), bands=1, salt=bytes(16), coins=coins)


def _each_fed_back(
    setting: Setting, part: Part, owed: list[dict[str, PublishedError]], sums: tuple[dict[str, Tensor], ...]
) -> Tensor:
    """The published feedback of each trial by itself: it clips over all its numbers."""
    clipped, raw = (rows["w"].unbind() for rows in sums)
    released = [
        feed_back(part, own[part.name], ({"w": a}, {"w": g}), setting.batch_size)["w"]
        for own, a, g in zip(owed, clipped, raw, strict=True)
    ]
    return torch.stack(released)  # (trials, 2)


def _steering_score(setting: Setting, outputs: list[dict[str, Scores]]) -> Scores:
    """The logarithm of the likelihood ratio, over all steps at which the record may first have been drawn.

    After its first draw each output is moved by 2·C2·B, and by C1 where it is drawn. The first output, in which the
    others are, is left out.
    """
    q = setting.event.sampling_rate
    first = after = np.zeros(len(next(iter(outputs[0].values()))))
    against: Scores | float = 0.0
    for output in reversed(outputs[1:]):
        drawn = _log_ratio(setting, output, fed=0, own=1)
        after_now = _mixed(q, _log_ratio(setting, output, fed=1, own=0), _log_ratio(setting, output, fed=1, own=1))
        first, after = _mixed(q, first, drawn + after), after_now + after
        if setting.replaces:
            against = against + _mixed(q, 0.0, _log_ratio(setting, output, fed=0, own=-1))
    return _mixed(q, first, after) - against


def _log_ratio(setting: Setting, output: dict[str, Scores], *, fed: int, own: int) -> Scores:
    """log of N(y; moved) / N(y; fed by −C2) for a step moved by fed · 2·C2·B + own · C1 in every part."""
    total: Scores | float = 0.0
    for part in setting.parts:
        back, std = part.feedback_clip_norm * setting.batch_size, _std(part, 1)
        moved = fed * 2 * back + own * part.clip_norm
        total = total + ((output[part.name] + back) * moved - moved**2 / 2) / std**2
    return np.asarray(total)


def seeded_coins(seed: int) -> Coins:
    """Coins for an audit that can be repeated; they protect nobody."""
    generator = np.random.default_rng(seed)
    return lambda count: generator.integers(0, 2**64, count, dtype=np.uint64)
