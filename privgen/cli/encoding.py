"""Streams and what they can hold. A command never fails because stdout cannot hold a letter.

Where a stream is not UTF-8, ε is written "epsilon", and what has no such name as an escape. JSON, which a script reads,
has JSON's own escapes there.
"""

from __future__ import annotations

import codecs
import json
import sys
from typing import TextIO

import click

_ERRORS = "privgen"
_SPELT = {
    "ε": "epsilon", "δ": "delta", "σ": "sigma", "ρ": "rho", "α": "alpha", "η": "eta", "ξ": "xi", "Δ": "Delta",
    "≤": "<=", "≥": ">=", "≠": "!=", "×": "x", "÷": "/", "·": "*", "±": "+-", "−": "-", "–": "-", "—": "-", "→": "->",
    "…": "...", "√": "sqrt", "Σ": "sum", "⌈": "ceil(", "⌉": ")", "⌊": "floor(", "⌋": ")", "²": "^2", "∞": "inf",
    "✓": "+", "✗": "x", "’": "'", "“": '"', "”": '"', "\N{NO-BREAK SPACE}": " ",
}  # fmt: skip


def _spell(error: UnicodeError) -> tuple[str, int]:
    """A codec's error handler: what cannot be written is spelt out."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    spelt = (_SPELT.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in text)
    return "".join(spelt), error.end


codecs.register_error(_ERRORS, _spell)


def keep_writable(*streams: TextIO) -> None:
    """Have streams spell out what they cannot hold."""
    for stream in streams:
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=_ERRORS)


def echo_json(value: object) -> None:
    """JSON alone on stdout, readable where the stream is UTF-8, and valid everywhere."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    unicode = codecs.lookup(encoding).name.startswith("utf")
    click.echo(json.dumps(value, indent=2, ensure_ascii=not unicode, allow_nan=False))
