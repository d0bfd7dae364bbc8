"""One pass of records through a module: a loss of one record, vectorised; what each layer saw; the gradients of all.

The loss is a function of *one* record: it is run once, under `torch.func.vmap`, on tensors that show it one record and
hide that there are others. So it cannot compute over the batch, read a record's position or depend on how many there
are. Each layer's input and the gradient at its output are caught on the way, records first; the layers' gradients
follow from products of them (`privgen.gradients.layers`; Goodfellow 2015, arXiv 1510.01799). While a layer is called
others stand in for its parameters, so that a gradient which still reaches one tells of another use of it; such
a module,
and layers of other kinds, go to `privgen.gradients.vmap`.

    >>> net = torch.nn.Linear(2, 1)
    >>> made = record_pass(net, lambda x: net(x)[0], (torch.tensor([[1.0, 2.0], [3.0, 4.0]]),))
    >>> [g.name for g in made.gradients], [round(norm, 6) for norm in made.norms().tolist()]
    (['weight', 'bias'], [2.44949, 5.09902])

Guarantees: mixing is impossible for what is written in torch operations. What a loss remembers in Python between its
calls is outside this (docs/privacy.md, "Taken on trust"); `privgen.gradients.row_check` sees the plain cases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import _functorch
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge
from torch.func import vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from privgen.errors import ConfigError, PrivgenError, UnsupportedLayer
from privgen.gradients.attention import dense_attention
from privgen.gradients.graph_checks import FastLayers, fast_layers, remember_other_use
from privgen.gradients.layers import gradients_of, trained_parameters
from privgen.gradients.own_parameters import Copies
from privgen.gradients.spectral_norm import freeze_power_iteration
from privgen.gradients.vmap import gradients_by_torch_func
from privgen.gradients.written import PassGradients, RecordGradients, VectorGradient, Workspace

# (*record) → scalar; each tensor without a batch dimension.
RecordLoss = Callable[..., Tensor]
# A module that has a parameter, under which key, the parameter, and its stand-in.
Owned = tuple[nn.Module, str, nn.Parameter, Tensor]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a layer: what it read, records first, in which version; the place of its output in the graph, and
    which dimension the records are there.

    The edge and not the tensor: an in-place activation behind the layer would replace the tensor's gradient by
    the one behind the activation.
    """

    rows: Tensor
    version: int
    output: GradientEdge
    dim: int


class _Unbatched(Exception):
    """A layer saw something that is the same for all records, or that is vectorised once more inside the loss."""


def _of_all_records(x: Tensor) -> tuple[Tensor, int]:
    """What stands behind a tensor that shows one record, and the dimension of its records."""
    dim = _functorch.maybe_get_bdim(x) if _functorch.is_batchedtensor(x) else -1
    if dim < 0:
        raise _Unbatched
    behind: Tensor = _functorch.get_unwrapped(x)
    if _functorch.is_functorch_wrapped_tensor(behind):
        raise _Unbatched
    return behind, dim


def record_pass(
    module: nn.Module, loss: RecordLoss, records: tuple[Tensor, ...], workspace: Workspace | None = None
) -> PassGradients:
    """Every record's gradient of the module's trainable parameters.

    Args:
        module: float32 or float64. loss: (*record) → scalar, made by calling `module` or its parts; a record's
            tensors come without a batch dimension: `x[None]` is what a layer for images wants.
        records: tensors with the records first, all of one length, at least 1.
        workspace: of earlier passes, or None for a new one.

    Raises:
        ConfigError: half precision, a loss that is no scalar, an input that was changed in place.
        UnsupportedLayer: no per-record gradient exists, or torch cannot vectorise the loss.
    """
    # torch's fused attention on a CPU has no rule for vmap, and would run record by record.
    with sdpa_kernel(SDPBackend.MATH):
        return _passed(module, loss, records, workspace)


def _passed(
    module: nn.Module, loss: RecordLoss, records: tuple[Tensor, ...], workspace: Workspace | None
) -> PassGradients:
    count = len(records[0])
    space = Workspace(records[0].device) if workspace is None else workspace
    found = fast_layers(module)
    if found is not None:
        fast = _fast_gradients(module, found, loss, records)
        if fast is not None:
            return PassGradients(count, fast, space)
        remember_other_use(found)
        fast_layers(module)  # says why this is slow, once
    slow = gradients_by_torch_func(module, loss, records)
    written: list[RecordGradients] = [VectorGradient(name, rows.float()) for name, rows in slow.items()]
    return PassGradients(count, written, space)


def _fast_gradients(
    module: nn.Module, found: FastLayers, loss: RecordLoss, records: tuple[Tensor, ...]
) -> list[RecordGradients] | None:
    """The gradients by what each layer read and the gradient at its output; None where that would miss something."""
    layers, copies = found.layers, Copies(found.own, len(records[0]))
    calls: dict[str, list[Call]] = {name: [] for name in layers}
    try:
        with freeze_power_iteration(module), dense_attention(module), _catching(layers, calls):
            losses = losses_of(copies.within(loss), records)
    except _Unbatched:
        return None
    if not any(calls.values()) and not _leads_to(losses, {id(copy) for copy in copies.of_records}):
        raise ConfigError("The loss calls none of the module's layers.")
    if _leads_to(
        losses, copies.parameters | {id(p) for layer in layers.values() for _, p in trained_parameters(layer)}
    ):
        return None
    _require_unchanged(calls)
    wanted: list[Any] = [call.output for seen in calls.values() for call in seen]
    wanted += copies.of_records
    gradients = iter(torch.autograd.grad(losses.sum(), wanted, allow_unused=True))
    caught = {
        name: [
            (call.rows, g.detach().movedim(call.dim, 0)) for call in calls[name] if (g := next(gradients)) is not None
        ]
        for name in layers
    }
    of_own: list[RecordGradients] = [
        VectorGradient(name, g.detach().float())
        for name, g in zip(copies.names, gradients, strict=True)
        if g is not None
    ]
    return gradients_of(layers, caught) + of_own


def _require_unchanged(calls: Mapping[str, list[Call]]) -> None:
    for name, seen in calls.items():
        for call in seen:
            if call.rows._version != call.version:
                raise ConfigError(
                    f"The input of layer {name} was changed in place after the layer read it, so its gradient is "
                    "lost; use the form that makes a new tensor (relu instead of relu_)."
                )


def losses_of(loss: RecordLoss, records: tuple[Tensor, ...]) -> Tensor:
    """(records,) the loss of each record, vectorised.

    Raises:
        ConfigError: it is no scalar. UnsupportedLayer: torch cannot vectorise it.
    """
    try:
        with torch.enable_grad():
            losses = vmap(loss)(*records)
    except (PrivgenError, _Unbatched):
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        raise UnsupportedLayer(
            f"A loss is a function of one record, whose tensors have no batch dimension, and torch could not run it "
            f"so ({str(error).splitlines()[0]}). Give layers for images x[None], hand random numbers in as tensors "
            "(no dropout), and leave out in-place changes of buffers, .item() and branches on values."
        ) from error
    if not isinstance(losses, Tensor) or losses.shape != (len(records[0]),):
        shape = tuple(losses.shape[1:]) if isinstance(losses, Tensor) else type(losses).__name__
        raise ConfigError(f"Expected one loss a record, a scalar, got shape {shape} for one record.")
    return losses


@contextmanager
def _catching(layers: Mapping[str, nn.Module], calls: dict[str, list[Call]]) -> Iterator[None]:
    """Within this, each layer's calls are written down, and stand-ins take its parameters' place while it is called."""
    owned = {name: list(_own(layer)) for name, layer in layers.items()}
    handles = []
    for name, layer in layers.items():
        catcher = _Catcher(owned[name], calls[name], name)
        # First of all hooks behind the layer: another one may put something else in the place of what it made.
        handles.append(layer.register_forward_pre_hook(catcher.before))
        handles.append(layer.register_forward_hook(catcher.after, prepend=True, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for owner, key, parameter, _ in chain.from_iterable(owned.values()):
            owner._parameters[key] = parameter


def _own(layer: nn.Module) -> Iterator[Owned]:
    """Where a layer's parameters stand, those behind a normalisation too, and a stand-in for each.

    The stand-ins make the layer's output a part of the graph; a gradient is asked of no one of them.
    """
    for owner in layer.modules():
        for key, parameter in owner._parameters.items():
            if parameter is not None:
                yield owner, key, parameter, parameter.detach().requires_grad_()


@dataclass(slots=True)
class _Catcher:
    """The hooks of one layer."""

    owned: list[Owned]
    calls: list[Call]
    name: str

    def before(self, *_: Any) -> None:
        """Stand-ins take the parameters' place."""
        for owner, key, _parameter, stand_in in self.owned:
            owner._parameters[key] = stand_in  # type: ignore[assignment]

    def after(self, _: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Tensor) -> None:
        """Parameters are themselves again; catch what was read and made."""
        for owner, key, parameter, _stand_in in self.owned:
            owner._parameters[key] = parameter
        dtype = self.owned[0][2].dtype
        if output.dtype != dtype or torch.is_autocast_enabled(output.device.type):
            raise ConfigError(
                f"Layer {self.name} computed in {output.dtype} with parameters in {dtype}: private gradients are "
                "taken in the parameters' precision. Leave autocast off."
            )
        behind, dim = _of_all_records((*inputs, *named.values())[0])
        read = behind.detach().movedim(dim, 0)
        made, dim = _of_all_records(output)
        self.calls.append(Call(read, read._version, get_gradient_edge(made), dim))


def _leads_to(losses: Tensor, tensors: set[int]) -> bool:
    """Whether the graph of the losses leads to one of these: of a parameter, a use of it besides its layer's call."""
    waiting: list[Node | None] = [losses.grad_fn]
    seen: set[Node | None] = {None}
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if node is not None and id(getattr(node, "variable", None)) in tensors:
            return True
        waiting += [following for following, _ in node.next_functions] if node is not None else []
    return False
