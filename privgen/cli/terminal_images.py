"""A PNG in the terminal itself, where it is one that can: kitty's protocol, or iTerm's. Elsewhere a path is printed.

kitty: https://sw.kovidgoyal.net/kitty/graphics-protocol/ (also Ghostty); iTerm: https://iterm2.com/documentation-images.html
(also WezTerm). A terminal is known by what it puts into the environment; inside tmux or screen nothing is shown, for
they take the escape sequences for text.
"""

from __future__ import annotations

import os
from base64 import standard_b64encode
from collections.abc import Mapping
from typing import Literal

from rich.console import Console

# The most that kitty takes in one escape sequence.
_CHUNK = 4096


def protocol(environment: Mapping[str, str]) -> Literal["kitty", "iterm"] | None:
    """Which protocol a terminal speaks, or None.

    >>> protocol({"TERM": "xterm-kitty"}), protocol({"TERM_PROGRAM": "iTerm.app"}), protocol({"TERM": "xterm-256color"})
    ('kitty', 'iterm', None)
    """
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if environment.get("TMUX") or term.startswith(("screen", "tmux")):
        return None
    if term in ("xterm-kitty", "xterm-ghostty") or environment.get("KITTY_WINDOW_ID") or program == "ghostty":
        return "kitty"
    return "iterm" if program in ("iTerm.app", "WezTerm") else None


def can_show(console: Console) -> bool:
    """Whether this console is a terminal that shows images."""
    return console.is_terminal and protocol(os.environ) is not None


def shown(png: bytes, environment: Mapping[str, str] | None = None) -> str:
    """The escape sequences that show an image, with a line's end; empty where the terminal cannot.

    Args:
        png: a whole PNG file. environment: the terminal's; os.environ by default.
    """
    kind = protocol(os.environ if environment is None else environment)
    text = standard_b64encode(png).decode()
    if kind == "iterm":
        return f"\x1b]1337;File=inline=1;size={len(png)}:{text}\a\n"
    if kind is None:
        return ""
    chunks = [text[at : at + _CHUNK] for at in range(0, len(text), _CHUNK)]
    parts = []
    for number, chunk in enumerate(chunks):
        first = "f=100,a=T," if number == 0 else ""
        more = 0 if number == len(chunks) - 1 else 1
        parts.append(f"\x1b_G{first}m={more};{chunk}\x1b\\")
    return "".join(parts) + "\n"
