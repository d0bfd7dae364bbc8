"""`--device`: a torch device by its name, or one error that says why it cannot be used here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import torch

_KINDS = ("cpu", "cuda", "mps", "xpu")


def device_of(name: str) -> torch.device:
    """The device, on which a tensor was made to see that it works.

    Raises:
        click.BadParameter: torch does not know it, or this machine does not have it.
    """
    import torch

    kind = name.partition(":")[0]
    try:
        device = torch.device(name)
    except (RuntimeError, ValueError):
        kind = "?"
    if kind not in _KINDS:
        text = f"{name!r} is no device to work on; expected cpu, cuda, cuda:1, mps or xpu."
        raise click.BadParameter(text, param_hint="--device")
    try:
        torch.empty(0, device=device)
    except Exception as error:  # each backend has errors of its own, some of a hundred lines
        why = str(error).strip().partition("\n")[0].partition(". ")[0][:120]
        text = f"{name} is not available on this machine ({why})."
        raise click.BadParameter(text, param_hint="--device") from error
    return device
