"""privgen: train a private image generator, or any model of your own, and know what it cost in privacy.

from privgen import load_generator
images = load_generator("runs/fm")(16, seed=0)     # uint8 (16, H, W, C)

from privgen import PrivateTraining                # docs/library.md
for report in PrivateTraining(model, optimizer, dataset, loss=loss, out="runs/mine", epsilon=3.0, delta=1e-5, ...):
    ...

from privgen import floored_gaussian
noise = floored_gaussian((3, 4), std=2.0**20)       # int64, exactly floor(N(0, std²))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from privgen.generate import load_generator
    from privgen.library.batchnorm import replace_batchnorm
    from privgen.library.private_training import PrivateTraining
    from privgen.mechanism.floored_gaussian import floored_gaussian

__all__ = ["PrivateTraining", "floored_gaussian", "load_generator", "replace_batchnorm"]

_PLACES = {
    "PrivateTraining": "privgen.library.private_training",
    "floored_gaussian": "privgen.mechanism.floored_gaussian",
    "load_generator": "privgen.generate",
    "replace_batchnorm": "privgen.library.batchnorm",
}


def __getattr__(name: str) -> Any:
    """Load torch only when what needs it is asked for: `privgen plan` and `privgen audit` do without it."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    """What is offered, without what this module needs itself."""
    return sorted(__all__)
