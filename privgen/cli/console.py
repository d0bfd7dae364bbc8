"""The two consoles: results go to stdout; progress, warnings and errors go to stderr."""

from __future__ import annotations

import os

from rich.console import Console

# Where nobody's window bounds a line, tables are not cut: a script, a file or a pager takes what comes.
_WIDE = 240


def _console(*, stderr: bool) -> Console:
    made = Console(stderr=stderr, highlight=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _WIDE
    return made


console = _console(stderr=False)
err_console = _console(stderr=True)


def in_colour() -> bool:
    """Whether stdout is a terminal that shows colours and NO_COLOR does not forbid them."""
    return console.is_terminal and not console.no_color and console.color_system is not None


def warn(text: str) -> None:
    """One yellow line on stderr."""
    err_console.print(f"Warning: {text}", style="yellow", markup=False, soft_wrap=True)
