"""`Report`: a report as sections of paragraphs, tables and code, which every format renders in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

# The tone of a verdict that passed where its ε is no reason for praise.
HOLDS = "holds"


@dataclass(frozen=True, kw_only=True, slots=True)
class Paragraph:
    """One paragraph of text."""

    form: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Code:
    """Lines to copy. Of a ledger they hold numbers only, never text."""

    form: ClassVar[str] = "code"
    language: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table whose first column names its rows.

    Args:
        caption: what it shows. head: column headings. rows: of cells, one cell for each heading.
        headed: whether a terminal shows the headings too, because the cells do not say themselves what they are.
    """

    form: ClassVar[str] = "table"
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    headed: bool = False


Block = Paragraph | Code | Table


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A headed part of the report.

    Args:
        key: a short, stable word, used for anchors and to place figures. title: the heading.
    """

    key: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The whole report: verdict first.

    Args:
        title: of the whole report.
        tone: "passed", "holds" (passed, but ε promises little), "incomplete" or "failed": how good the news is.
        headline: the verdict in a few words. summary: in a sentence or two.
        figures: the key figures, shown large, as (name, value).
    """

    title: str
    tone: str
    headline: str
    summary: str
    figures: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
