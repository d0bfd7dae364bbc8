"""A report as one HTML file that opens offline: no script, no request, everything of the ledger escaped.

The file's content security policy allows only what the file holds: its one style sheet, by digest, and images as
data. The layout is in `privgen/report/templates`.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib.metadata import version

from privgen.report.document import HOLDS, Report
from privgen.report.figures import Figure
from privgen.report.rendering import render, source

MARK = {"passed": "✓", HOLDS: "✓", "incomplete": "…", "failed": "✗"}
_RESULT = {
    "passed": "is-passed",
    "FAILED": "is-failed",
    "not checked": "is-not-checked",
    "WITHOUT PRIVACY": "is-failed",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleGrid:
    """Released samples: the bytes of a PNG file, their description for a screen reader, and what stands below."""

    png: bytes
    alt: str
    caption: str = "Images from the released generator; the file's digest is the ledger's."

    @property
    def address(self) -> str:
        """The image as a data URL."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


def render_html(
    report: Report,
    *,
    figures: tuple[Figure, ...] = (),
    samples: SampleGrid | None = None,
    kind: str = "privgen privacy audit",
) -> str:
    """A report as a whole HTML document.

    Args:
        report: its text. figures: by `figures_of`. samples: a grid that is known to be the released one, shown before
            the section of assumptions. kind: of document, above the title.
    """
    style = source("report.css")
    page = render(
        "report.html",
        policy=policy_of(style),
        style=style,
        report=report,
        kind=kind,
        mark=MARK[report.tone],
        figures=figures,
        samples=samples,
        result=_RESULT,
        footer=f"Computed by privgen {version('privgen')}. This file needs no other and runs no code.",
    )
    # A plain string: text added to Markup would be escaped.
    return str(page)


def policy_of(style: str) -> str:
    """The content security policy of a page that holds this style sheet and nothing that runs."""
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{allowed}'; img-src data:; base-uri 'none'; form-action 'none'"
