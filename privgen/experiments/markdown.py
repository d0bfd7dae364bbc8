"""Markdown tables from columns of cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_EMPTY = ("", "–")


def markdown_table(columns: Mapping[str, Sequence[str]]) -> str:
    """A table without its empty columns.

    >>> print(markdown_table({"ε": ["10", "1"], "note": ["–", ""]}))
    | ε |
    |---|
    | 10 |
    | 1 |
    """
    shown = {name: cells for name, cells in columns.items() if any(cell not in _EMPTY for cell in cells)}
    lines = ["| " + " | ".join(shown) + " |", "|" + "---|" * len(shown)]
    lines += ["| " + " | ".join(cells) + " |" for cells in zip(*shown.values(), strict=True)]
    return "\n".join(lines)
