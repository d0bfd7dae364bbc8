"""Arguments of `PrivateTraining` beside the first ones, and where each goes: to the plan, the settings, or the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch

from accountant.budget import Neighbouring
from accountant.ledger.account import Account
from accountant.plans.parts import Feedback
from planners.schedule import PhaseShape
from privgen.errors import ConfigError
from privgen.training.insecure import seeded
from privgen.training.session import Options


class PlanArguments(TypedDict, total=False):
    """What is planned for, as `planners.plan` takes it; steps are its iterations."""

    epsilon: float
    delta: float
    batch_size: float
    steps: int
    dataset_size: int
    sampling_rate: float
    noise_multiplier: float
    feedback: Feedback | str
    bands: int
    clip_norm: float
    residual_ratio: float
    feedback_ratio: float
    phases: Sequence[PhaseShape]
    spare_blocks: int
    accountant: str
    neighbouring: Neighbouring | str


class SettingArguments(TypedDict, total=False):
    """As `privgen.library.model_method.ModelSettings` has them."""

    ema: float | None
    normalise: float | None
    checkpoint_every: int
    keep_checkpoints: int
    physical_batch: int | None


class RunArguments(TypedDict, total=False):
    """As `privgen train` has them."""

    signing_key: Path | str | None
    account: Account | Path | str | None
    anchor: Path | str | None
    accept_loss: bool
    extend: bool
    canaries: int
    insecure_fixed_seed: int | None
    rank_timeout: float


class Further(PlanArguments, SettingArguments, RunArguments, total=False):
    """All of them."""


def split(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Those of the plan, of the settings and of the run.

    Raises:
        ConfigError: one is unknown.
    """
    kinds = (PlanArguments.__annotations__, SettingArguments.__annotations__, RunArguments.__annotations__)
    known = [name for kind in kinds for name in kind]
    if unknown := sorted(set(given) - set(known)):
        raise ConfigError(f"PrivateTraining has no argument {', '.join(unknown)}; it has {', '.join(known)}.")
    planned, settings, options = ({name: given[name] for name in kind if name in given} for kind in kinds)
    return planned, settings, options


def run_options(given: Mapping[str, Any], device: torch.device, *, rank: int) -> Options:
    """The options of a run.

    Args:
        rank: of this process among those that train together.

    Raises:
        ConfigError: canaries are asked for.
    """
    if given.get("canaries"):
        raise ConfigError(f"Expected canaries={given['canaries']} to be 0: made-up records are known for images alone.")
    account, seed = given.get("account"), given.get("insecure_fixed_seed")
    return Options(
        device=device,
        signing_key=_path(given.get("signing_key")),
        account=Account(account) if isinstance(account, str | Path) else account,
        anchor=_path(given.get("anchor")),
        accept_loss=given.get("accept_loss", False),
        extend=given.get("extend", False),
        **({} if seed is None else seeded(seed, rank=rank)),
    )


def _path(given: Path | str | None) -> Path | None:
    return None if given is None else Path(given)
