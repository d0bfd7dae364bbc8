"""Evaluation between the steps of a library run: of what would be released, and on public records.

An evaluation changes nothing of the training. What it says of held-out *private* records is a release that nothing
charges, early stopping by it included; so who asks for one is told.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from privgen.errors import ConfigError

Evaluation = Callable[[nn.Module], Any]


def require_evaluation(evaluate: Evaluation | None, every: int) -> tuple[Evaluation | None, int]:
    """Both, with the warning where there is one.

    Raises:
        ConfigError: it cannot be called, or at no step.
    """
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise ConfigError(f"Expected evaluate_every={every!r} to be a number of steps >= 1.")
    if evaluate is None:
        return None, every
    if not callable(evaluate):
        raise ConfigError(f"Expected evaluate= to be a function of the model, got {type(evaluate).__name__}.")
    warnings.warn(
        "evaluate= is for public records. What it says of held-out private ones is charged nowhere: no ε covers it, "
        "nor what is decided by it.",
        stacklevel=3,
    )
    return evaluate, every


def evaluated(module: nn.Module, evaluate: Evaluation) -> Any:
    """What an evaluation says of a module, every layer of which is in its own mode again afterwards."""
    modes = [(layer, layer.training) for layer in module.modules()]
    try:
        with torch.no_grad():
            return evaluate(module.eval())
    finally:
        for layer, mode in modes:
            layer.training = mode
