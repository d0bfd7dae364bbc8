"""privgen: train a private image generator, and know what it cost in privacy.

from privgen import load_generator
images = load_generator("runs/fm")(16, seed=0)     # uint8 (16, H, W, C)

from privgen import floored_gaussian
noise = floored_gaussian((3, 4), std=2.0**20)       # int64, exactly floor(N(0, std²))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from privgen.generate import load_generator
    from privgen.mechanism.floored_gaussian import floored_gaussian

__all__ = ["floored_gaussian", "load_generator"]


def __getattr__(name: str) -> Any:
    """Load torch only when the generator is asked for: `privgen plan` and `privgen audit` do without it."""
    if name == "load_generator":
        from privgen.generate import load_generator

        return load_generator
    if name == "floored_gaussian":
        from privgen.mechanism.floored_gaussian import floored_gaussian

        return floored_gaussian
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What is offered, without what this module needs itself."""
    return sorted(__all__)
