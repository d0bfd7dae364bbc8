"""`CanaryScorer`: how much each canary is felt in what was released, step by step; the scores of a one-run audit.

    score_i = Σ_blocks log(1 − bq + bq · exp(⟨c_i, Y + π_i c_i⟩ − ‖c_i‖²/2))       π_i = bq / (1 + e^−score_i)

c_i is what one draw of canary i adds to a block of b released steps by theorem 3 of docs/privacy.md, in units of the
noise: its clipped gradient at once, and R/K of it in each of the K steps after. Y is the block less what the data's own
records put into it and less what is expected of the canaries, Σ π_j c_j, so that they do not stand in each other's way.
This is the white-box attack of Steinke, Nasr & Jagielski 2023 (arXiv 2305.08846 v1, section 6), with the logarithm of
the likelihood ratio in place of a plain sum.

Guarantees: a score is a function of what was released, of the canaries, and of the other records and their coins; all
of that has one law whatever a canary's own coin says, so that an (ε, δ) of the run is one of the scores.
`CanaryScorer` is
never given the canaries' coins. Scores are made of real records: they stay in `private/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from accountant.events import Event
from accountant.files import write_durably
from accountant.ledger.receipt import Receipt
from accountant.plans.parts import Part
from accountant.plans.plan import Plan
from privgen.gradients.clipped_sums import Beside, Sums, Weighting, padded, private_sums
from privgen.gradients.passes import record_pass
from privgen.mechanism.part_feedback import Owed, feed_back, weighting_of
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.mechanism.sampling import assign_groups
from privgen.training.canaries import SCORES, Canaries, Scores
from privgen.training.method import Learner, RecordTask
from privgen.training.state import TrainState, begin_segment

# Canaries in one pass.
_AT_ONCE = 64
TensorDict = dict[str, Tensor]


@dataclass(kw_only=True)
class _Turn:
    """The canaries whose turn a step was, as one part saw them then.

    Args:
        task: the part's, at the weights of that step. records: the canaries. numbers: what stood beside them,
            for each pass of `_AT_ONCE`. norms: (n,) of their gradients.
    """

    task: RecordTask
    records: tuple[Tensor, ...]
    numbers: list[tuple[Tensor, ...]]
    norms: Tensor


@dataclass(kw_only=True)
class _Block:
    """A block that has not ended.

    Args:
        who: (n,) canaries that it may hold. expected: (n,) π. turns: by part.
        outputs: by part, what was released in it, each step weighed by what a draw adds there. slots: steps so far.
    """

    who: NDArray[np.int64]
    expected: Tensor
    turns: dict[str, _Turn] = field(default_factory=dict)
    outputs: dict[str, TensorDict] = field(default_factory=dict)
    slots: int = 0


@dataclass(kw_only=True)
class CanaryScorer:
    """The scores of m canaries, growing with each step.

    Args:
        records: all of them, each tensor (m, ...). watched: parts in which they can be felt.
        groups: (m,) of the cyclic sampling; 0 at one band. scores: (m,), so far. blocks: that have ended.
    """

    records: tuple[Tensor, ...]
    watched: tuple[str, ...]
    groups: NDArray[np.int64]
    scores: NDArray[np.float64]
    blocks: int = 0
    _event: Event | None = None
    _open: list[_Block] = field(default_factory=list)
    _without: dict[str, Owed] = field(default_factory=dict)

    def step(
        self,
        state: TrainState,
        plan: Plan,
        *,
        parts: tuple[Part, ...],
        receipt: Receipt,
        records: tuple[Tensor, ...],
    ) -> WatchedStep:
        """One private step with these canaries drawn; what `privgen.training.private_step.private_step` takes
        as `planted`.

        Args:
            records: the canaries that are in the batch, each tensor (n, ...).
        """
        event = receipt.event
        if receipt.cycle == 0 or event != self._event:
            # Another segment: nothing is owed. A block that was cut short goes unscored.
            apart = replace(state, owed={})
            begin_segment(apart, plan, event)
            self._event, self._open, self._without = event, [], apart.owed
        bands = event.bands
        who = np.flatnonzero(self.groups == receipt.cycle % bands)
        chance = min(1.0, bands * event.sampling_rate) / (1 + np.exp(-self.scores[who].clip(-50, 50)))
        self._open.append(_Block(who=who, expected=torch.from_numpy(chance).to(self.device)))
        return WatchedStep(
            watch=self,
            # The parameters change before the block ends.
            kept=state.learner if bands == 1 else state.learner.frozen(),
            parts={part.name: part for part in parts if part.name in self.watched},
            event=event,
            batch_size=event.sampling_rate * plan.dataset_size,
            records=records,
        )

    @property
    def device(self) -> torch.device:
        """Where the canaries are."""
        return self.records[0].device

    def save(self, private: Path) -> None:
        """Write the scores to private/canary-scores.safetensors."""
        write_durably(private / SCORES, Scores(values=self.scores, blocks=self.blocks).to_bytes())

    def score(self, block: _Block, event: Event, parts: Mapping[str, Part]) -> None:
        """Take a block that has ended into the scores."""
        felt = sum(
            (_felt(block.turns[name], block, parts[name], event.bands) for name in block.turns),
            torch.zeros(1, dtype=torch.float64),
        )
        rate = min(1.0, event.bands * event.sampling_rate)
        with np.errstate(divide="ignore"):
            self.scores[block.who] += np.logaddexp(np.log1p(-rate), np.log(rate) + felt.double().cpu().numpy())
        self.blocks += 1


@dataclass(kw_only=True)
class WatchedStep:
    """One step: what the canaries are not expected to do is told apart, and what is released is looked at."""

    watch: CanaryScorer
    kept: Learner
    parts: Mapping[str, Part]
    event: Event
    batch_size: float
    records: tuple[Tensor, ...]
    _without: dict[str, TensorDict] = field(default_factory=dict)

    def sums(self, part: Part, task: RecordTask, weigh: Weighting, own: Sums, *, physical_batch: int | None) -> Sums:
        """What the drawn canaries add, as records do."""
        return task.sums(self.records, weigh, physical_batch=physical_batch)

    def merge_sums(self, part: Part, own: Sums, planted: Sums) -> Sums:
        """The data's sums and the canaries' as one."""
        if part.name in self.parts:
            expected = merged(own, self._expected(part))
            owed = self.watch._without.get(part.name)
            self._without[part.name] = feed_back(part, owed, expected.sums, self.batch_size)
        return merged(own, planted)

    def _expected(self, part: Part) -> Sums:
        """Sums over all canaries whose turn it is, each times its chance to be in."""
        block, watch = self.watch._open[-1], self.watch
        rows = torch.from_numpy(block.who).to(watch.device)
        records = tuple(tensor[rows] for tensor in watch.records)
        task = self.kept.record_task(part.name, RecordNumbers(device=watch.device))
        weigh = weighting_of(part, self.event, normalise=task.normalise)
        found, numbers = None, []
        for at in range(0, max(1, len(rows)), _AT_ONCE):
            chunk = slice(at, at + _AT_ONCE)
            chance = _padded_to_pass(block.expected[chunk])
            numbers.append(task.beside(_AT_ONCE) if task.beside is not None else ())
            sums = private_sums(
                task.module,
                task.loss,
                tuple(tensor[chunk] for tensor in records),
                _by_chance(weigh, chance),
                beside=_given(numbers[-1]),
                physical_batch=_AT_ONCE,
            )
            found = sums if found is None else merged(found, sums)
        assert found is not None
        block.turns[part.name] = _Turn(task=task, records=records, numbers=numbers, norms=found.norms)
        return found

    def observe_release(self, noised: Mapping[str, TensorDict]) -> None:
        """Look at one release."""
        bands = self.event.bands
        for block in self.watch._open:
            for name, part in self.parts.items():
                added = part.clip_norm if block.slots == 0 else part.residual_clip_norm / (bands - 1)
                weight = added / (part.noise_multiplier * part.sensitivity(bands)) ** 2
                like = {key: torch.zeros_like(v, dtype=torch.float64) for key, v in noised[name].items()}
                sums = block.outputs.setdefault(name, like)
                for key, value in noised[name].items():
                    sums[key] += (weight * part.step) * (value - self._without[name][key])
            block.slots += 1
        if self.watch._open[0].slots == bands:
            self.watch.score(self.watch._open.pop(0), self.event, self.parts)


def merged(one: Sums, other: Sums) -> Sums:
    """Both batches' sums as one's."""
    sums = tuple({name: a[name] + b[name] for name in a} for a, b in zip(one.sums, other.sums, strict=True))
    return Sums(torch.cat([one.norms, other.norms]), sums, one.nonfinite + other.nonfinite)


def _felt(turn: _Turn, block: _Block, part: Part, bands: int) -> Tensor:
    """(n,) ⟨c_i, Y + π_i c_i⟩ − ‖c_i‖²/2 of one part."""
    along = _along(turn, block.outputs[part.name])
    # Below the total clip norm a gradient adds less; what it adds then is taken to shrink in proportion.
    full = part.clip_norm + (part.residual_clip_norm if bands > 1 else 0.0)
    scale = (turn.norms / full).clamp_max(1.0)
    own = (scale / part.noise_multiplier) ** 2
    return scale * along / turn.norms.clamp_min(torch.finfo(along.dtype).tiny) + (block.expected - 0.5) * own


def _along(turn: _Turn, direction: TensorDict) -> Tensor:
    """(n,) ⟨g_i, direction⟩ of the gradients."""
    found = []
    for index, numbers in enumerate(turn.numbers):
        first = index * _AT_ONCE
        held = min(_AT_ONCE, len(turn.norms) - first)
        records = tuple(padded(rows, first, held, _AT_ONCE) for rows in turn.records)
        found.append(record_pass(turn.task.module, turn.task.loss, records + numbers).inner_products(direction)[:held])
    return torch.cat(found)


def _by_chance(weigh: Weighting, chance: Tensor) -> Weighting:
    """Each record's weights times its chance; asked for no norms too, and for those of a whole pass at once."""
    return lambda norms: tuple(chance[: len(norms)] * w for w in weigh(norms))


def _given(drawn: tuple[Tensor, ...]) -> Beside:
    return lambda size: drawn


def _padded_to_pass(chance: Tensor) -> Tensor:
    """(_AT_ONCE,): zeros where no canary stands."""
    return torch.cat([chance, chance.new_zeros(_AT_ONCE - len(chance))])


def watch_of(
    planted: Canaries, plan: Plan, salt: bytes, private: Path, device: torch.device, *, watched: tuple[str, ...]
) -> CanaryScorer:
    """The watch of a run's canaries, with the scores that its private folder has.

    Args:
        salt: of the group assignment. watched: parts in which they can be felt.

    Raises:
        CheckpointError: the scores cannot be read.
    """
    groups = assign_groups(planted.ids, bands=plan.bands, salt=salt)
    file = private / SCORES
    before = Scores.read(file.read_bytes()) if file.exists() else Scores(values=np.zeros(len(planted)), blocks=0)
    return CanaryScorer(
        records=planted.records(device),
        watched=watched,
        groups=groups,
        scores=before.values.copy(),
        blocks=before.blocks,
    )
