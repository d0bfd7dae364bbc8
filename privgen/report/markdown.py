"""A report as Markdown: a model card's privacy section.

Everything is escaped so that no text of the ledger can end a table, begin a heading or a link, or become HTML.

>>> cell("a|b `c` <script> [x](y)")
'a&#124;b &#96;c&#96; &lt;script&gt; &#91;x&#93;(y)'
"""

from __future__ import annotations

from privgen.report.content import Block, Code, Paragraph, Report, Section

# As entities, because Markdown's dialects agree on those; a backslash before | or < is not an escape in all of them.
_ENTITIES = {ord(c): f"&#{ord(c)};" for c in "\\`*_[]|~#!@"} | {
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
}


def render_markdown(report: Report) -> str:
    """A report as Markdown, from a second-level heading on; verdict first."""
    parts = [_top(report), *(_section(section) for section in report.sections)]
    return "\n\n".join(parts) + "\n"


def cell(text: str) -> str:
    """Text that means itself in Markdown, on one line, also within a table."""
    escaped = " ".join(text.split()).translate(_ENTITIES)
    # What GitHub would turn into a link by itself.
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
