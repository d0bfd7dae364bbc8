"""Per-record gradients of any module by torch.func: vmap of grad. Slow, and every gradient is written out.

>>> import torch
>>> net = torch.nn.Linear(2, 1)
>>> found = gradients_by_torch_func(net, lambda v: net(v)[:, 0], (torch.tensor([[1.0, 2.0], [3.0, 4.0]]),))
>>> found["weight"].flatten(1).tolist()
[[1.0, 2.0], [3.0, 4.0]]
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from privgen.errors import ConfigError, UnsupportedLayer

Loss = Callable[..., Tensor]


class _LossOf(nn.Module):
    """A loss as a module, so that `functional_call` can exchange the parameters of the module that it calls."""

    def __init__(self, module: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.module = module
        self._loss = loss

    def forward(self, *batch: Tensor) -> Tensor:
        return self._loss(*batch)


def gradients_by_torch_func(module: nn.Module, loss: Loss, chunk: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """(records, *shape) for each trainable parameter by name.

    Each record goes through alone, so that nothing of the others can be in its gradient.

    Args:
        module: whose parameters. loss: (*chunk) → one loss a record, made by calling `module` or its parts.
        chunk: tensors with the records first, at least one record.

    Raises:
        ConfigError: the loss is not one value a record. UnsupportedLayer: torch.func cannot run it.
    """
    trained = {id(p): name for name, p in module.named_parameters() if p.requires_grad}
    parameters = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    # Every place of a parameter, once: torch's own way with shared ones leaves the exchanged values behind where a
    # module has two names.
    places = {
        ".".join(filter(None, ("module", owner, own))): trained[id(p)]
        for owner, layer in module.named_modules()
        for own, p in layer.named_parameters(recurse=False)
        if id(p) in trained
    }
    whole = _LossOf(module, loss)

    def of_one(values: dict[str, Tensor], *record: Tensor) -> Tensor:
        placed = {place: values[name] for place, name in places.items()}
        losses = functional_call(whole, placed, tuple(tensor[None] for tensor in record), tie_weights=False)
        require_losses(losses, 1)
        return losses[0]

    over_records = vmap(grad(of_one), in_dims=(None, *[0] * len(chunk)), randomness="different")
    try:
        return dict(over_records(parameters, *chunk))
    except RuntimeError as error:
        raise UnsupportedLayer(
            f"torch.func cannot take per-record gradients of this module ({str(error).splitlines()[0]}); use layers "
            "without in-place changes, .item() or branches on values."
        ) from error


def require_losses(losses: Tensor, records: int) -> None:
    """Raise ConfigError unless there is one loss a record."""
    if losses.shape != (records,):
        raise ConfigError(f"Expected one loss a record, ({records},), got {tuple(losses.shape)}.")
