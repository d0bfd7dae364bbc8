"""The two consoles: results go to stdout; progress, warnings and errors go to stderr."""

from __future__ import annotations

from rich.console import Console

console = Console(highlight=False)
err_console = Console(stderr=True, highlight=False)


def warn(text: str) -> None:
    """One yellow line on stderr."""
    err_console.print(f"Warning: {text}", style="yellow", markup=False, soft_wrap=True)
