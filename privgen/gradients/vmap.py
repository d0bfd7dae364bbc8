"""Per-record gradients of any module by torch.func: vmap of grad. Slow: every parameter's are made at once.

>>> import torch
>>> net = torch.nn.Linear(2, 1)
>>> found = gradients_by_torch_func(net, lambda v: net(v)[0], (torch.tensor([[1.0, 2.0], [3.0, 4.0]]),))
>>> found["weight"].flatten(1).tolist()
[[1.0, 2.0], [3.0, 4.0]]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from privgen.errors import ConfigError, UnsupportedLayer
from privgen.gradients.spectral_norm import (
    freeze_power_iteration,
    is_spectral,
    parametrization_of,
    parametrized_attributes,
    spectral_map,
)

Loss = Callable[..., Tensor]


class _LossOf(nn.Module):
    """A loss as a module, so that `functional_call` can exchange the parameters of the module that it calls."""

    def __init__(self, module: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.module = module
        self._loss = loss

    def forward(self, *record: Tensor) -> Tensor:
        return self._loss(*record)


def gradients_by_torch_func(module: nn.Module, loss: Loss, records: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """(records, *shape) for each trainable parameter by name; for a spectral-normalised one of the normalised weight.

    Args:
        module: whose parameters. loss: (*record) → scalar, made by calling `module` or its parts.
        records: tensors with the records first, at least one record.

    Raises:
        ConfigError: the loss is no scalar. UnsupportedLayer: torch.func cannot run it.
    """
    trained = {id(p): name for name, p in module.named_parameters() if p.requires_grad}
    normalised = _normalised(module)
    values = {
        name: normalised[name][1] if name in normalised else p.detach()
        for name, p in module.named_parameters()
        if p.requires_grad
    }
    # Every place of a parameter, once: torch's own way with shared ones leaves the exchanged values behind where a
    # module has two names.
    places = {
        ".".join(filter(None, ("module", owner, own))): trained[id(p)]
        for owner, layer in module.named_modules()
        for own, p in layer.named_parameters(recurse=False)
        if id(p) in trained and trained[id(p)] not in normalised
    }
    whole = _LossOf(module, loss)

    def of_one(given: dict[str, Tensor], *record: Tensor) -> Tensor:
        placed = {place: given[name] for place, name in places.items()}
        with _replaced({chain: given[name] for name, (chain, _) in normalised.items()}):
            found: Tensor = functional_call(whole, placed, record, tie_weights=False)
        if found.dim():
            raise ConfigError(f"Expected one loss a record, a scalar, got shape {tuple(found.shape)} for one record.")
        return found

    over_records = vmap(grad(of_one), in_dims=(None, *[0] * len(records)))
    try:
        with freeze_power_iteration(module):
            return dict(over_records(values, *records))
    except RuntimeError as error:
        raise UnsupportedLayer(
            f"torch.func cannot take per-record gradients of this module ({str(error).splitlines()[0]}); use layers "
            "without in-place changes, .item() or branches on values."
        ) from error


def _normalised(module: nn.Module) -> dict[str, tuple[nn.Module, Tensor]]:
    """By name of the parameter behind it: each spectral normalisation, and the normalised weight."""
    found: dict[str, tuple[nn.Module, Tensor]] = {}
    for name, layer in module.named_modules():
        for attribute in parametrized_attributes(layer):
            if is_spectral(layer, attribute):
                full = f"{name + '.' if name else ''}parametrizations.{attribute}.original"
                found[full] = (parametrization_of(layer, attribute), spectral_map(layer, attribute).effective)
    return found


@contextmanager
def _replaced(values: dict[nn.Module, Tensor]) -> Iterator[None]:
    """Within this, each of these modules gives the value that is set beside it."""
    try:
        for part, value in values.items():
            part.forward = lambda value=value: value
        yield
    finally:
        for part in values:
            del part.forward
