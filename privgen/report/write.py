"""Reports as files: `write_reports` puts report.md and report.html next to what a run released.

Cost: the audit's PRV composition (0.1 to 4 s) and sixteen more of them for the curves; see
`accountant.audit.epsilon_curves`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from accountant.audit.audit import Audit, audit_run, release_of
from accountant.audit.release_files import released_file
from accountant.files import write_durably
from privgen.report.content import report_of
from privgen.report.document import Paragraph, Report, Section
from privgen.report.figures import figures_of
from privgen.report.html import SampleGrid, render_html
from privgen.report.markdown import render_markdown
from privgen.report.text import plain

_PNG = b"\x89PNG\r\n\x1a\n"
_LARGEST_GRID = 8_000_000
_MOST_NAMES = 20


def write_reports(run_folder: Path) -> tuple[Path, Path]:
    """Audit a run and write release/report.md and release/report.html, each whole or not at all.

    Args:
        run_folder: runs/NAME, after its halt.

    Returns:
        The two files' paths.

    Raises:
        LedgerError: there is no ledger. OSError: a file cannot be written; an older file is left untouched.
    """
    audit = audit_run(run_folder)
    release = release_of(run_folder)
    markdown, html = release / "report.md", release / "report.html"
    write_durably(markdown, render_markdown(report_with_warnings(audit, run_folder)).encode())
    write_durably(html, html_report(audit, run_folder).encode())
    return markdown, html


def report_with_warnings(audit: Audit, run_folder: Path) -> Report:
    """The audit's report, and what the training watch saw, of released values alone, where the folder is at hand."""
    report = report_of(audit)
    seen = _warnings(run_folder)
    if not seen:
        return report
    blocks = tuple(Paragraph(text=plain(f"{text[0].upper()}{text[1:]}")) for text in seen if text)
    return replace(report, sections=(*report.sections, Section(key="watch", title="Seen in training", blocks=blocks)))


def _warnings(run_folder: Path) -> tuple[str, ...]:
    """What `privgen.training.run_folder` keeps of the training watch, each line once; nothing where it is not here."""
    try:
        lines = (run_folder / "private" / "warnings.jsonl").read_text(encoding="utf-8").splitlines()
        return tuple(dict.fromkeys(str(json.loads(line)["text"]) for line in lines))
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def html_report(audit: Audit, run_folder: Path) -> str:
    """The HTML report, with its figures, and with the sample grid if it is the released one."""
    return render_html(
        report_with_warnings(audit, run_folder), figures=figures_of(audit), samples=sample_grid(audit, run_folder)
    )


def sample_grid(audit: Audit, run_folder: Path) -> SampleGrid | None:
    """The released samples.png, or None if it is missing or does not have the digest that the ledger states."""
    if audit.state is None:
        return None
    png = released_file(audit.state, release_of(run_folder), "samples.png")
    if png is None or not png.startswith(_PNG) or len(png) > _LARGEST_GRID:
        return None
    names = _class_names(audit, run_folder)
    columns = f", one column for each of {len(names)} classes: {_listed(names)}" if names else ""
    return SampleGrid(png=png, alt=f"Grid of images that the released generator made{columns}")


def _class_names(audit: Audit, run_folder: Path) -> list[str]:
    if audit.state is None:
        return []
    data = released_file(audit.state, release_of(run_folder), "generator.json")
    try:
        names = json.loads(data or b"{}").get("class_names", [])
    except (ValueError, AttributeError):
        return []
    return [plain(name) for name in names] if isinstance(names, list) else []


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_MOST_NAMES]) + ("" if len(names) <= _MOST_NAMES else ", …")
