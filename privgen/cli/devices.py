"""`--device`: a torch device by its name, or one error that says why it cannot be used here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import torch


def device_of(name: str) -> torch.device:
    """The device, on which a tensor was made to see that it works.

    Raises:
        click.BadParameter: torch does not know it, or this machine does not have it.
    """
    import torch

    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        text = f"{name} is not available on this machine ({error})."
        raise click.BadParameter(text, param_hint="--device") from error
    return device
