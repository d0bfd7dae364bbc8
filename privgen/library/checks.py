"""What is looked at before a library run begins, so that nothing is spent on what cannot work."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from accountant.errors import LedgerError
from accountant.ledger.register import SpendRegister
from accountant.plans.plan import Plan
from privgen.errors import ConfigError, RunError, UnsupportedLayer
from privgen.gradients.clipped_sums import private_sums
from privgen.gradients.graph_checks import fast_layers
from privgen.library.model_method import KINDS, ModelMethod, Numbers
from privgen.library.records import LibraryRecords
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.training.run_folder import RunFolder
from privgen.training.spent_records import in_words, spent_before


def require_model(model: Any) -> None:
    """Raise ConfigError or UnsupportedLayer unless every record can have a gradient of its own."""
    if not isinstance(model, nn.Module) or not any(p.requires_grad for p in model.parameters()):
        raise ConfigError(f"Expected a torch.nn.Module with a trainable parameter, got {type(model).__name__}.")
    if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
        raise ConfigError(f"{type(model).__name__} mixes the records of a batch; give the model inside it (.module).")
    compiled = [m for m in model.modules() if hasattr(m, "_orig_mod") or m._compiled_call_impl is not None]
    if compiled:
        raise ConfigError(
            f"{type(compiled[0]).__name__} is compiled, and what torch.compile makes of a model shows no hook what a "
            "layer reads; give the model as it was before torch.compile (or .compile())."
        )
    if len({p.device for p in model.parameters()}) > 1:
        raise ConfigError("The model's parameters are on several devices; expected one.")
    fast_layers(model)
    dropping = [
        name or type(layer).__name__ for name, layer in model.named_modules() if layer.training and _drops(layer)
    ]
    if dropping:
        raise UnsupportedLayer(
            f"Dropout ({', '.join(dropping[:3])}{', …' if len(dropping) > 3 else ''}) draws for all records of a pass "
            "from one generator, so that a record's gradient depends on its place. Noise regularises already: call "
            "model.eval(), or multiply by masks from numbers= in the loss."
        )


def _drops(layer: nn.Module) -> bool:
    """Whether a layer that is in training leaves out numbers by chance."""
    if isinstance(layer, nn.modules.dropout._DropoutNd):
        return layer.p > 0
    return isinstance(layer, nn.MultiheadAttention | nn.RNNBase) and layer.dropout > 0


def require_folder(folder: RunFolder, *, resume: bool) -> None:
    """Raise RunError unless the folder is free, or holds a run that is to go on."""
    if resume:
        RunFolder.existing(folder.path)
    elif folder.private.exists() and any(folder.private.iterdir()):
        raise RunError(
            f"{folder.path} holds a run. Give resume=True to go on with it, or another out=: a new run on the same "
            "records is charged beside it."
        )


def require_numbers(numbers: Numbers) -> Numbers:
    """The numbers that are asked for.

    Raises:
        ConfigError: of an unknown kind, or of no shape.
    """
    for name, asked in numbers.items():
        fits = isinstance(asked, tuple) and len(asked) == 2 and asked[0] in KINDS and isinstance(asked[1], tuple)
        if not fits or not all(isinstance(side, int) and side >= 0 for side in asked[1]):
            raise ConfigError(f"Expected numbers[{name!r}]={asked!r} to be (one of {', '.join(KINDS)}, a shape).")
    return dict(numbers)


def warn_of_earlier_runs(plan: Plan, data: LibraryRecords) -> None:
    """Warn of what this machine knows to have been spent on these records before, as `privgen train` does."""
    try:
        found = spent_before(plan, data.contents(), register=SpendRegister())
    except (OSError, LedgerError) as error:
        warnings.warn(f"What was spent before on these records is not known: {error}", stacklevel=3)
        return
    if found is not None:
        remedy = "privgen account new NAME, then PrivateTraining(..., account=) with its file"
        warnings.warn(in_words(found, plan=plan, records=len(data), remedy=remedy), stacklevel=3)


def try_loss(method: ModelMethod, data: LibraryRecords) -> None:
    """One pass of made-up records, all zero, through model and loss.

    Raises:
        ConfigError: the loss is no scalar, or in half precision. UnsupportedLayer: torch cannot vectorise it.
    """
    device = next(method.model.parameters()).device
    loss = method.loss

    def none(norms: Tensor) -> tuple[Tensor, ...]:
        return (torch.zeros_like(norms),)

    private_sums(
        method.model, loss.of(method.model), data.like(device), none,
        beside=loss.beside(RecordNumbers(device=device)), physical_batch=None,
    )  # fmt: skip
