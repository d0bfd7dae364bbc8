"""A report as one HTML file that opens offline: no script, no request, everything of the ledger escaped.

The file's own policy forbids whatever it does not hold itself: the one style sheet by its digest, and images that
are written into it.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from importlib.resources import files
from string import Template

from privgen.report.content import Block, Code, Paragraph, Report, Section, Table
from privgen.report.figures import Figure

_MARK = {"passed": "✓", "incomplete": "…", "failed": "✗"}
_RESULT = {"passed": "is-passed", "FAILED": "is-failed", "not checked": "is-not-checked"}
_WIDE = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleGrid:
    """Released samples: the bytes of a PNG file, and what a screen reader says of it."""

    png: bytes
    alt: str


def render_html(report: Report, *, figures: tuple[Figure, ...] = (), samples: SampleGrid | None = None) -> str:
    """A report as a whole HTML document.

    Args:
        report: what it says. figures: of `figures_of`. samples: a grid that is known to be the released one.
    """
    style = _resource("report.css")
    drawn = {"spend": _curves(figures), "assumptions": _samples(samples)}
    return Template(_resource("report.html")).substitute(
        policy=_policy(style),
        title=_text(report.title),
        style=style,
        tone=report.tone,
        mark=_MARK[report.tone],
        headline=_text(report.headline),
        summary=_text(report.summary),
        figures=_large(report.figures),
        sections="\n".join(text for s in report.sections for text in _around(s, figures, drawn) if text),
        footer=_text(f"Computed by privgen {version('privgen')}. This file holds all that it shows and runs nothing."),
    )


def _resource(name: str) -> str:
    return files("privgen.report").joinpath(name).read_text(encoding="utf-8")


def _policy(style: str) -> str:
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{allowed}'; img-src data:; base-uri 'none'; form-action 'none'"


def _text(text: str) -> str:
    return escape(text, quote=True)


def _large(pairs: tuple[tuple[str, str], ...]) -> str:
    entries = (f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in pairs)
    return f"<dl>{''.join(entries)}</dl>" if pairs else ""


def _around(section: Section, figures: tuple[Figure, ...], drawn: dict[str, str]) -> list[str]:
    """A section, with the curves after the spend and the samples before the assumptions."""
    extra = drawn.get(section.key, "")
    own = _section(section, figures)
    return [extra, own] if section.key == "assumptions" else [own, extra]


def _section(section: Section, figures: tuple[Figure, ...]) -> str:
    own = [_figure(figure) for figure in figures if figure.section == section.key]
    return _headed(section.key, section.title, [*own, *(_block(block) for block in section.blocks)])


def _headed(key: str, title: str, blocks: list[str]) -> str:
    body = "\n".join(blocks)
    return f'<section aria-labelledby="{key}">\n<h2 id="{key}">{_text(title)}</h2>\n{body}\n</section>'


def _curves(figures: tuple[Figure, ...]) -> str:
    own = [_figure(figure) for figure in figures if figure.section == "curves"]
    if not own:
        return ""
    return _headed("curves", "How it was spent", ['<div class="figures">', *own, "</div>"])


def _figure(figure: Figure) -> str:
    numbers = f"<details><summary>The numbers</summary>{_table(figure.numbers)}</details>"
    return f"<figure>\n{figure.svg}\n<figcaption>{_text(figure.caption)}</figcaption>\n{numbers}\n</figure>"


def _samples(samples: SampleGrid | None) -> str:
    if samples is None:
        return ""
    data = base64.b64encode(samples.png).decode()
    image = f'<img src="data:image/png;base64,{data}" alt="{_text(samples.alt)}">'
    caption = "<figcaption>Images from the released generator; the file's digest is the ledger's.</figcaption>"
    return _headed("samples", "Samples", [f'<figure class="samples">{image}{caption}</figure>'])


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{_text(block.text)}</p>"
    if isinstance(block, Code):
        return f"<pre><code>{_text(block.text)}</code></pre>"
    return _table(block)


def _table(table: Table) -> str:
    kind = "pairs" if len(table.head) == 2 else "wide" if len(table.head) >= _WIDE else "plain"
    # "item" and "value" say nothing to who sees the table; a screen reader reads them.
    hidden = ' class="unseen"' if table.head == ("item", "value") else ""
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in table.head)
    body = "\n".join(_row(row) for row in table.rows)
    caption = _text(table.caption)
    # A region that scrolls must be reachable by keyboard.
    region = f'role="region" aria-label="{caption}" tabindex="0"' if kind == "wide" else ""
    return (
        f'<div class="scroll" {region}><table class="{kind}"><caption><span class="unseen">{caption}</span></caption>'
        f"<thead{hidden}><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _row(row: tuple[str, ...]) -> str:
    first, *others = row
    # A narrow screen may break a file's name at its dots.
    name = _text(first).replace(".", ".<wbr>")
    return f'<tr><th scope="row">{name}</th>{"".join(_cell(text) for text in others)}</tr>'


def _cell(text: str) -> str:
    result = _RESULT.get(text)
    return f'<td class="result {result}">{_text(text)}</td>' if result else f"<td>{_text(text)}</td>"
