"""A report as Markdown: a model card's privacy section.

Everything is escaped: no text from the ledger can end a table, begin a heading or a link, or become HTML.

>>> cell("a|b `c` <script> [x](y)")
'a&#124;b &#96;c&#96; &lt;script&gt; &#91;x&#93;(y)'
"""

from __future__ import annotations

from privgen.report.document import Block, Code, Paragraph, Report, Section

# As entities, on which all Markdown dialects agree; a backslash before | or < is not an escape in some of them.
_ENTITIES = {ord(c): f"&#{ord(c)};" for c in "\\`*_[]|~#!@"} | {
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
}


def render_markdown(report: Report) -> str:
    """A report as Markdown that begins with a second-level heading; verdict first."""
    parts = [_top(report), *(_section(section) for section in report.sections)]
    return "\n\n".join(parts) + "\n"


def cell(text: str) -> str:
    """Text that Markdown shows literally, on one line, inside a table too."""
    escaped = " ".join(text.split()).translate(_ENTITIES)
    # GitHub would make links of these.
    return escaped.replace("://", "&#58;//").replace("www.", "www&#46;")


def _top(report: Report) -> str:
    return f"## {cell(report.title)}\n\n**{cell(report.headline)}.** {cell(report.summary)}"


def _section(section: Section) -> str:
    return "\n\n".join([f"### {cell(section.title)}", *(_block(block) for block in section.blocks)])


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return cell(block.text)
    if isinstance(block, Code):
        return f"```{block.language}\n{block.text}\n```"
    rows = [block.head, tuple("---" for _ in block.head), *block.rows]
    return "\n".join(f"| {' | '.join(_in_table(text) for text in row)} |" for row in rows)


def _in_table(text: str) -> str:
    return text if text == "---" else cell(text)
