"""Parameters that a module of somebody's own holds itself, such as a class token: each record gets a copy of its own.

What a record's gradient of its copy is, is its gradient of the parameter. All other layers keep their fast way.

    >>> import torch
    >>> class Scaled(torch.nn.Module):
    ...     def __init__(self) -> None:
    ...         super().__init__()
    ...         self.scale = torch.nn.Parameter(torch.ones(2))
    >>> net, x = Scaled(), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> copies = Copies({"": net}, records=2)
    >>> losses = torch.func.vmap(copies.within(lambda v: (net.scale * v).sum()))(x)
    >>> torch.autograd.grad(losses.sum(), copies.of_records)[0].tolist()
    [[1.0, 2.0], [3.0, 4.0]]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch._C import _functorch
from torch.nn.utils import parametrize


def own_parameters(layer: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Attribute and parameter of what a module of no library's holds itself and trains."""
    if not type(layer).__module__.startswith("torch.") and not parametrize.is_parametrized(layer):
        for key, parameter in layer.named_parameters(recurse=False):
            if parameter.requires_grad:
                yield key, parameter


class Copies:
    """A copy of each such parameter for every record of a pass.

    Args:
        layers: modules that hold them, by name. records: rows of the pass.

    Attributes:
        names: the parameters', one each. of_records: the copies, (records, *shape) each, in the same order.
    """

    def __init__(self, layers: Mapping[str, nn.Module], records: int) -> None:
        self._places: list[tuple[nn.Module, str, nn.Parameter]] = []
        found: dict[int, tuple[str, Tensor]] = {}
        for name, layer in layers.items():
            for key, parameter in own_parameters(layer):
                self._places.append((layer, key, parameter))
                if id(parameter) not in found:
                    copies = parameter.detach().expand(records, *parameter.shape).clone().requires_grad_()
                    found[id(parameter)] = (f"{name}.{key}" if name else key, copies)
        self._copies = {key: copies for key, (_, copies) in found.items()}
        self.names = [name for name, _ in found.values()]
        self.of_records = [copies for _, copies in found.values()]

    @property
    def parameters(self) -> set[int]:
        """Identities of the parameters that are copied."""
        return set(self._copies)

    def within(self, loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The loss with the copies in the parameters' places; to be called under vmap."""
        if not self._places:
            return loss

        def placed(*record: Tensor) -> Tensor:
            level = _functorch.maybe_current_level()
            assert level is not None  # it is called under vmap
            shown: dict[int, Any] = {
                key: _functorch._add_batch_dim(copies, 0, level) for key, copies in self._copies.items()
            }
            try:
                for layer, key, parameter in self._places:
                    layer._parameters[key] = shown[id(parameter)]
                return loss(*record)
            finally:
                for layer, key, parameter in self._places:
                    layer._parameters[key] = parameter

        return placed
