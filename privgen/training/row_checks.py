"""The row check of every private part, at the weights as they are: at a session's start and at every reservation.

Where it fails for the size of pass that is asked for, another whose check holds is taken from then on, or one record at
a time. It sees synthetic records only, so when and how it ran may be told; its verdict is in private/row-checks.jsonl.
"""

from __future__ import annotations

from typing import Any

import torch

from accountant.plans.parts import Part
from privgen.errors import ConfigError
from privgen.gradients.kernels import flushes_subnormals
from privgen.gradients.row_check import check_rows, safe_physical_batch
from privgen.training.state import TrainState


def check_parts(state: TrainState, parts: tuple[Part, ...], *, first: bool, seed: int) -> dict[str, Any]:
    """Look at each part, and set the size of its passes.

    Args:
        parts: those of the current phase. seed: of the synthetic records. first: whether this is the session's first
            look, which tries all kinds of neighbours.

    Returns:
        What was found, for the private log.

    Raises:
        UnsupportedLayer: a record's gradient depends on others even where it passes alone.
    """
    learner = state.learner
    require_deterministic(learner.device)
    found: dict[str, Any] = {}
    like = learner.like()
    for part in parts:
        task = learner.record_task(part.name, state.beside)
        size = state.physical_batches.get(part.name, learner.settings.physical_batch)
        check = None
        if not first:
            check = check_rows(
                task.module, task.loss, like, physical_batch=size, beside=task.beside, whole=False, seed=seed
            )
        if check is None or not check.holds:
            size, check = safe_physical_batch(task.module, task.loss, like, physical_batch=size, beside=task.beside)
            state.physical_batches[part.name] = size
        found[part.name] = {
            "physical_batch": state.physical_batches[part.name],
            "verdict": "each row is its record's own" if check.holds else check.fault,
        }
    return found


def require_deterministic(device: torch.device) -> None:
    """Have a GPU compute the same bits each time, and choose no kernel by trying; see that all threads round alike.

    Raises:
        ConfigError: a thread takes subnormal numbers for zero.
    """
    if flushes_subnormals():
        raise ConfigError(
            "Some thread of this process takes subnormal numbers for zero, so that a record's gradient would depend on "
            "which thread computes it; leave torch.set_flush_denormal off."
        )
    if device.type == "cuda":
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
