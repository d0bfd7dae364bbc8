"""`Watch`: how much each canary is felt in what was released, step by step; the scores of a one-run audit.

    score_i = Σ_blocks log(1 − bq + bq · exp(⟨c_i, Y + π_i c_i⟩ − ‖c_i‖²/2))       π_i = bq / (1 + e^−score_i)

c_i is what one draw of canary i adds to a block of b released steps by theorem 3 of docs/privacy.md, in units of the
noise: its clipped gradient at once, and R/K of it in each of the K steps after. Y is the block less what the data's own
records put into it and less what is expected of the canaries, Σ π_j c_j, so that they do not stand in each other's way.
This is the white-box attack of Steinke, Nasr & Jagielski 2023 (arXiv 2305.08846 v1, section 6), with the logarithm of
the likelihood ratio in place of a plain sum.

Guarantees: a score is a function of what was released, of the canaries, and of the other records and their coins; all
of that has one law whatever a canary's own coin says, so that an (ε, δ) of the run is one of the scores. `Watch` is
never given the canaries' coins. Scores are made of real records: they stay in `private/`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from accountant.events import BandedGaussian, Event
from accountant.files import write_durably
from accountant.ledger.guard import Receipt
from accountant.plans.plan import Part, Plan
from privgen.config import TrainConfig
from privgen.gradients.clipped_sums import Sums, private_sums
from privgen.mechanism.error_feedback import OwedError, PaperError
from privgen.mechanism.noise import system_generator
from privgen.mechanism.sampling import assign_groups
from privgen.training.canaries import SCORES, Canaries, Scores

# Private names on purpose: what is watched must be what training runs.
from privgen.training.private_step import _RECORD_LOSSES, _fed_back, _weighting
from privgen.training.state import TrainState, begin_segment, parameters_of, trained_by

# The reconstruction's gradient depends on latent vectors that nobody outside the step knows.
_WATCHED = ("critic", "classifier")
# Canaries in one pass.
_AT_ONCE = 64
TensorDict = dict[str, Tensor]


@dataclass(kw_only=True)
class _Turn:
    """The canaries whose turn a step was, as one part saw them then.

    Args:
        module: whose parameters. loss, batch, rows: as `private_sums` takes them. norms: (n,) of their gradients.
    """

    module: nn.Module
    loss: Callable[..., Tensor]
    batch: tuple[Tensor, ...]
    rows: int
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
class Watch:
    """The scores of m canaries, growing with each step.

    Args:
        images: (m, C, H, W) in [−1, 1]. labels: (m,). groups: (m,) of the cyclic sampling; 0 at one band.
        scores: (m,), so far. blocks: that have ended.
    """

    images: Tensor
    labels: Tensor
    groups: NDArray[np.int64]
    scores: NDArray[np.float64]
    blocks: int = 0
    _event: Event | None = None
    _open: list[_Block] = field(default_factory=list)
    _without: dict[str, OwedError | PaperError] = field(default_factory=dict)

    def step(
        self,
        state: TrainState,
        plan: Plan,
        config: TrainConfig,
        *,
        parts: tuple[Part, ...],
        receipt: Receipt,
        images: Tensor,
        labels: Tensor,
    ) -> WatchedStep:
        """One private step with these canaries drawn; what `privgen.training.private_step.private_step` takes
        as `planted`.

        Args:
            images, labels: of the canaries that are in the batch; (n, C, H, W) and (n,).
        """
        event = receipt.event
        if receipt.cycle == 0 or event != self._event:
            # Another segment: nothing is owed. A block that was cut short goes unscored.
            apart = replace(state, owed={})
            begin_segment(apart, plan, event)
            self._event, self._open, self._without = event, [], apart.owed
        bands = _bands(event)
        who = np.flatnonzero(self.groups == receipt.cycle % bands)
        chance = min(1.0, bands * event.sampling_rate) / (1 + np.exp(-self.scores[who].clip(-50, 50)))
        self._open.append(_Block(who=who, expected=torch.from_numpy(chance).float().to(self.images.device)))
        # The parameters change before the block ends.
        kept = state if bands == 1 else replace(state, networks=copy.deepcopy(state.networks))
        return WatchedStep(
            watch=self,
            kept=replace(kept, latents=system_generator(self.images.device)),
            config=config,
            parts={part.name: part for part in parts if part.name in _WATCHED},
            event=event,
            batch_size=event.sampling_rate * plan.dataset_size,
            images=images,
            labels=labels,
        )

    def save(self, private: Path) -> None:
        """Write the scores to private/canary-scores.safetensors."""
        write_durably(private / SCORES, Scores(values=self.scores, blocks=self.blocks).to_bytes())

    def score(self, block: _Block, event: Event, parts: Mapping[str, Part]) -> None:
        """Take a block that has ended into the scores."""
        felt = sum(
            (_felt(block.turns[name], block, parts[name], _bands(event)) for name in block.turns), torch.zeros(1)
        )
        rate = min(1.0, _bands(event) * event.sampling_rate)
        with np.errstate(divide="ignore"):
            self.scores[block.who] += np.logaddexp(np.log1p(-rate), np.log(rate) + felt.double().cpu().numpy())
        self.blocks += 1


@dataclass(kw_only=True)
class WatchedStep:
    """One step: what the canaries are not expected to do is told apart, and what is released is looked at."""

    watch: Watch
    kept: TrainState
    config: TrainConfig
    parts: Mapping[str, Part]
    event: Event
    batch_size: float
    images: Tensor
    labels: Tensor
    _without: dict[str, TensorDict] = field(default_factory=dict)

    def beside(self, part: Part, own: Sums, planted: Sums) -> Sums:
        """The data's sums and the canaries' as one."""
        if part.name in self.parts:
            expected = _added(own, self._expected(part))
            owed = self.watch._without.get(part.name)
            self._without[part.name] = _fed_back(part, owed, expected, self.batch_size)
        return _added(own, planted)

    def _expected(self, part: Part) -> Sums:
        """Sums over all canaries whose turn it is, each times its chance to be in."""
        block, watch = self.watch._open[-1], self.watch
        rows = torch.from_numpy(block.who).to(watch.images.device)
        loss, batch, blocks = _RECORD_LOSSES[part.name](self.kept, self.config, watch.images[rows], watch.labels[rows])
        module = trained_by(part.name, self.kept.networks)
        weigh = _weighting(part, self.event)
        found = None
        for at in range(0, max(1, len(rows)), _AT_ONCE):
            chunk = slice(at, at + _AT_ONCE)
            chance = block.expected[chunk]
            sums = private_sums(
                module,
                loss,
                tuple(tensor[chunk] for tensor in batch),
                # Asked for no norms too, and for those of the whole chunk at once.
                lambda norms, chance=chance: tuple(chance[: len(norms)] * w for w in weigh(norms)),
                rows_per_record=blocks,
                physical_batch=_AT_ONCE,
            )
            found = sums if found is None else _added(found, sums)
        block.turns[part.name] = _Turn(module=module, loss=loss, batch=batch, rows=blocks, norms=found.norms)
        return found

    def see(self, noised: Mapping[str, TensorDict]) -> None:
        """Look at one release."""
        bands = _bands(self.event)
        for block in self.watch._open:
            for name, part in self.parts.items():
                added = part.clip_norm if block.slots == 0 else part.residual_clip_norm / (bands - 1)
                weight = added / (part.noise_multiplier * part.sensitivity(bands)) ** 2
                sums = block.outputs.setdefault(name, {key: torch.zeros_like(v) for key, v in noised[name].items()})
                for key, value in noised[name].items():
                    sums[key] += weight * (value - self._without[name][key])
            block.slots += 1
        if self.watch._open[0].slots == bands:
            self.watch.score(self.watch._open.pop(0), self.event, self.parts)


def _bands(event: Event) -> int:
    return event.bands if isinstance(event, BandedGaussian) else 1


def _added(one: Sums, other: Sums) -> Sums:
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
    """(n,) ⟨g_i, direction⟩ of the gradients: the derivative of Σ w_i g_i · direction in each w_i."""
    parameters = parameters_of(turn.module)
    found = []
    for at in range(0, len(turn.norms), _AT_ONCE):
        batch = tuple(tensor[at : at + _AT_ONCE] for tensor in turn.batch)
        weights = torch.ones(len(batch[0]), device=batch[0].device, requires_grad=True)
        with torch.enable_grad():
            total = (weights * turn.loss(*batch)).sum()
            summed = torch.autograd.grad(total, list(parameters.values()), create_graph=True, allow_unused=True)
            along = sum((g * direction[n]).sum() for n, g in zip(parameters, summed, strict=True) if g is not None)
            found.append(torch.autograd.grad(along, weights)[0].detach())
    return torch.cat(found) if found else turn.norms


def watch_of(planted: Canaries, plan: Plan, salt: bytes, private: Path, device: torch.device) -> Watch:
    """The watch of a run's canaries, with the scores that its private folder has.

    Args:
        salt: of the group assignment.

    Raises:
        CheckpointError: the scores cannot be read.
    """
    groups = assign_groups(planted.ids, bands=plan.bands, salt=salt)
    file = private / SCORES
    before = Scores.read(file.read_bytes()) if file.exists() else Scores(values=np.zeros(len(planted)), blocks=0)
    images = torch.from_numpy(planted.images).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
    labels = torch.from_numpy(planted.labels).to(device)
    return Watch(images=images, labels=labels, groups=groups, scores=before.values.copy(), blocks=before.blocks)
