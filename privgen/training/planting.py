"""Canaries of a run, of either kind: planted before the genesis, read again by a resume, watched in every step."""

from __future__ import annotations

import numpy as np
import torch

from accountant.audit.checks import CANARIES
from accountant.files import write_durably
from accountant.ledger.state import CanaryRecord
from accountant.plans.parts import Feedback
from accountant.plans.plan import Plan
from privgen.errors import CheckpointError, RunError
from privgen.mechanism.sampling import assign_groups
from privgen.training.canaries import SCORES, Canaries, Scores
from privgen.training.canary_scores import CanaryScorer, watch_of
from privgen.training.gradient_canaries import GRADIENT, Planted, draw_gradient_canaries, read_planted
from privgen.training.gradient_canary_scores import GradientCanaryScorer
from privgen.training.method import Learner, Method
from privgen.training.records import TrainingRecords
from privgen.training.run_folder import RunFolder
from privgen.training.state import parameters_of

Watch = CanaryScorer | GradientCanaryScorer


def require_watchable(plan: Plan, method: Method, learner: Learner, *, canaries: int, kind: str) -> None:
    """Raise RunError where so many canaries of this kind would show nothing in a run of this method and plan."""
    if not canaries:
        return
    if kind != GRADIENT:
        if not method.watched:
            raise RunError(
                f"Method {method.name} feels no canaries in what it releases; omit --canaries, or give "
                "--canary-kind gradient."
            )
        return
    if plan.feedback is Feedback.PAPER:
        raise RunError(
            "Gradient canaries have no known part in what the published feedback still owes; plan --feedback banded "
            "or none, or plant --canary-kind image."
        )
    for part in plan.parts:
        numbers = sum(p.numel() for p in parameters_of(learner.module_of(part.name)).values())
        if numbers < canaries:
            raise RunError(f"The part {part.name} has {numbers} numbers; plant at most so many gradient canaries.")


def plant(folder: RunFolder, data: TrainingRecords, count: int, kind: str) -> Planted | None:
    """Draw canaries and write them to the private folder, before the genesis names their digest."""
    if not count:
        return None
    planted = draw_gradient_canaries(count) if kind == GRADIENT else data.canaries(count)
    write_durably(folder.private / CANARIES, planted.to_bytes())
    return planted


def in_genesis(planted: Planted) -> dict[str, object]:
    """What the ledger says of them."""
    named: dict[str, object] = {"count": len(planted), "digest": planted.digest}
    return named if isinstance(planted, Canaries) else {**named, "kind": GRADIENT}


def planted_before(folder: RunFolder, named: CanaryRecord | None) -> Planted | None:
    """The canaries that a run was begun with.

    Raises:
        CheckpointError: they are missing, damaged, or not those that the ledger names.
    """
    if named is None:
        return None
    try:
        planted = read_planted((folder.private / CANARIES).read_bytes())
    except OSError as error:
        raise CheckpointError(f"Cannot read {folder.private / CANARIES} ({error}); restore it.") from error
    if planted.digest != named.digest:
        raise CheckpointError(f"{folder.private / CANARIES} is not the file that the ledger names; restore it.")
    return planted


def watch_for(
    planted: Planted, plan: Plan, folder: RunFolder, *, salt: bytes, device: torch.device, watched: tuple[str, ...]
) -> Watch:
    """Who watches them, with the scores that the private folder has.

    Raises:
        CheckpointError: the scores cannot be read.
    """
    if isinstance(planted, Canaries):
        return watch_of(planted, plan, salt, folder.private, device, watched=watched)
    file = folder.private / SCORES
    before = Scores.read(file.read_bytes()) if file.exists() else Scores(values=np.zeros(len(planted)), blocks=0)
    return GradientCanaryScorer(
        planted=planted,
        groups=assign_groups(planted.ids, bands=plan.bands, salt=salt),
        scores=before.values.copy(),
        blocks=before.blocks,
        by_part={name: values.copy() for name, values in before.by_part.items()},
        device=device,
    )
