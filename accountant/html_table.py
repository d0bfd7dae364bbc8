"""A titled table of two columns as HTML, for notebooks; every value is escaped.

>>> "<td" in html_table("<plan>", [("ε", "3 & 4")]), "3 & 4" in html_table("<plan>", [("ε", "3 & 4")])
(True, False)
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

_LEFT = 'style="text-align:left"'


def html_table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """The table; a notebook's own style gives it its colours, light or dark.

    Args:
        title: its caption. rows: name and value.
    """
    lines = (
        f'<tr><th scope="row" {_LEFT}>{escape(name)}</th><td {_LEFT}>{escape(value)}</td></tr>' for name, value in rows
    )
    return f"<table><caption {_LEFT}>{escape(title)}</caption>{''.join(lines)}</table>"
