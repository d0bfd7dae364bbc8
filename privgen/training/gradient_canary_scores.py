"""`GradientCanaryScorer`: how much each gradient canary is felt in what was released, block by block.

    score_i = Σ_blocks log(1 − bq + bq · exp(⟨c_i, Y⟩ − ‖c_i‖²/2))

c_i is what a draw of canary i adds to a block of b released steps, in units of the noise, known exactly: its own
direction at norm C1, and R/K of it in each of the K steps after, in every part. Y is the block less what the data's own
records put into it. Canaries share no coordinate, so Y along c_i is c_i or nothing, and noise: the score is the
logarithm of the likelihood ratio of the two coins, the best that there is.

Guarantees: as `privgen.training.canary_scores`, whose protocol this is: the coins are never seen here.
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
from privgen.gradients.clipped_sums import Sums, Weighting
from privgen.mechanism.part_feedback import Owed, feed_back
from privgen.training.canaries import SCORES, Scores
from privgen.training.canary_scores import merged
from privgen.training.gradient_canaries import Directions, GradientCanaries
from privgen.training.method import RecordTask
from privgen.training.state import TrainState, begin_segment

TensorDict = dict[str, Tensor]


@dataclass(kw_only=True)
class _Block:
    """A block that has not ended: who may be in it, what was felt of all canaries by part, and steps so far."""

    who: NDArray[np.int64]
    felt: dict[str, NDArray[np.float64]]
    slots: int = 0


@dataclass(kw_only=True)
class GradientCanaryScorer:
    """The scores of m gradient canaries, growing with each step.

    Args:
        planted: the canaries; their coins are not read. groups, scores, blocks: as for `CanaryScorer`.
        device: where the sums are. by_part: scores of what each part alone releases: a fault in one of them is
            plainest there.
    """

    planted: GradientCanaries
    groups: NDArray[np.int64]
    scores: NDArray[np.float64]
    device: torch.device
    blocks: int = 0
    by_part: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    _event: Event | None = None
    _open: list[_Block] = field(default_factory=list)
    _without: dict[str, Owed] = field(default_factory=dict)
    _directions: dict[str, Directions] = field(default_factory=dict)

    @property
    def records(self) -> tuple[Tensor, ...]:
        """Their numbers: what is drawn of them."""
        return (torch.arange(len(self.planted), device=self.device),)

    def step(
        self,
        state: TrainState,
        plan: Plan,
        *,
        parts: tuple[Part, ...],
        receipt: Receipt,
        records: tuple[Tensor, ...],
    ) -> GradientStep:
        """One private step with these canaries drawn.

        Args:
            records: the numbers of the canaries that are in the batch, (n,).
        """
        event = receipt.event
        if receipt.cycle == 0 or event != self._event:
            # Another segment: nothing is owed. A block that was cut short goes unscored.
            apart = replace(state, owed={})
            begin_segment(apart, plan, event)
            self._event, self._open, self._without = event, [], apart.owed
        who = np.flatnonzero(self.groups == receipt.cycle % event.bands)
        self._open.append(_Block(who=who, felt={}))
        return GradientStep(
            watch=self,
            parts={part.name: part for part in parts},
            event=event,
            batch_size=event.sampling_rate * plan.dataset_size,
            records=records,
        )

    def directions(self, part: str, like: Mapping[str, Tensor]) -> Directions:
        """Of a part, made once."""
        if part not in self._directions:
            shapes = {name: tuple(value.shape) for name, value in like.items()}
            self._directions[part] = self.planted.directions(part, shapes)
        return self._directions[part]

    def save(self, private: Path) -> None:
        """Write the scores to private/canary-scores.safetensors."""
        write_durably(private / SCORES, Scores(values=self.scores, blocks=self.blocks, by_part=self.by_part).to_bytes())

    def score(self, block: _Block, event: Event, parts: Mapping[str, Part]) -> None:
        """Take a block that has ended into the scores."""
        rate = min(1.0, event.bands * event.sampling_rate)
        felt = {name: block.felt[name][block.who] - 0.5 / part.noise_multiplier**2 for name, part in parts.items()}
        self.scores[block.who] += _draw_ratio(rate, sum(felt.values(), np.zeros(len(block.who))))
        for name, alone in felt.items():
            self.by_part.setdefault(name, np.zeros(len(self.planted)))[block.who] += _draw_ratio(rate, alone)
        self.blocks += 1


@dataclass(kw_only=True)
class GradientStep:
    """One step: what the drawn canaries add, and how much of each is in what is released."""

    watch: GradientCanaryScorer
    parts: Mapping[str, Part]
    event: Event
    batch_size: float
    records: tuple[Tensor, ...]
    _without: dict[str, TensorDict] = field(default_factory=dict)

    def sums(self, part: Part, task: RecordTask, weigh: Weighting, own: Sums, *, physical_batch: int | None) -> Sums:
        """What the drawn canaries add to each of a part's sums, in grid steps."""
        found = self.watch.directions(part.name, own.sums[0])
        norm = torch.tensor([part.clip_norm + part.residual_clip_norm], dtype=torch.float64)
        drawn = np.zeros(len(self.watch.planted) + 1)
        drawn[self.records[0].cpu().numpy()] = 1.0
        # The last place is nobody's: an owner of -1 finds it.
        signs = found.signs * drawn[found.owner]
        sums = tuple(
            _in_shape(signs * np.trunc(float(weights[0]) * float(norm) / np.sqrt(found.width)), like)
            for weights, like in zip(weigh(norm), own.sums, strict=True)
        )
        return Sums(norm.repeat(len(self.records[0])).to(own.norms), sums, 0)

    def merge_sums(self, part: Part, own: Sums, planted: Sums) -> Sums:
        """The data's sums and the canaries' as one; what the data's alone would release is kept."""
        self._without[part.name] = feed_back(part, self.watch._without.get(part.name), own.sums, self.batch_size)
        return merged(own, planted)

    def observe_release(self, noised: Mapping[str, TensorDict]) -> None:
        """Look at one release."""
        bands = self.event.bands
        for name, part in self.parts.items():
            along = self._along(part, noised[name])
            for block in self.watch._open:
                added = part.clip_norm if block.slots == 0 else part.residual_clip_norm / (bands - 1)
                felt = block.felt.setdefault(name, np.zeros(len(along)))
                felt += along * (added / (part.noise_multiplier * part.sensitivity(bands)) ** 2)
        for block in self.watch._open:
            block.slots += 1
        if self.watch._open[0].slots == bands:
            self.watch.score(self.watch._open.pop(0), self.event, self.parts)

    def _along(self, part: Part, released: TensorDict) -> NDArray[np.float64]:
        """(m,) the release without the data's own, along each canary's unit vector."""
        found = self.watch.directions(part.name, released)
        rest = np.concatenate(
            [(value - self._without[part.name][key]).double().cpu().numpy().ravel() for key, value in released.items()]
        )
        held = found.owner >= 0
        sums = np.bincount(found.owner[held], weights=(found.signs * rest)[held], minlength=len(self.watch.planted))
        scaled: NDArray[np.float64] = sums * (part.step / np.sqrt(found.width))
        return scaled


def _draw_ratio(rate: float, felt: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(1 − bq + bq·e^felt)."""
    with np.errstate(divide="ignore"):
        ratio: NDArray[np.float64] = np.logaddexp(np.log1p(-rate), np.log(rate) + felt)
    return ratio


def _in_shape(numbers: NDArray[np.float64], like: Mapping[str, Tensor]) -> TensorDict:
    pieces = torch.from_numpy(numbers).split([value.numel() for value in like.values()])
    return {name: piece.view(value.shape).to(value) for (name, value), piece in zip(like.items(), pieces, strict=True)}
