"""`privgen audit`: recompute what a run spent, from its ledger alone. Loads no torch."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from accountant.audit import Audit

EPILOG = """\b
Examples:
  privgen audit runs/fm
  privgen audit runs/fm --format json > audit.json
  privgen audit runs/fm --format markdown --out PRIVACY.md
  privgen audit runs/fm --format html --out report.html
"""


@click.command(epilog=EPILOG)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "json", "markdown", "html"]),
    default="terminal",
    show_default=True,
    help="How to show it; json prints JSON alone.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it there.")
@click.option("--public-key", help="The signer's public key (64 hexadecimal digits, or a .pub file).")
def command(run: Path, form: str, out: Path | None, public_key: str | None) -> None:
    """Recompute what the run in folder RUN spent, and check its ledger, plan and released files.

    Exit status 0 when the verdict is passed or incomplete, 1 when it is failed.
    """
    from accountant.audit import audit_run
    from accountant.signing import load_public_key

    audit = audit_run(run, public_key=load_public_key(public_key) if public_key else None)
    _deliver(_render(audit, run, form, colour=out is None and sys.stdout.isatty()), out)
    if audit.verdict == "failed":
        _fail(audit)


def _render(audit: Audit, run: Path, form: str, *, colour: bool) -> str:
    if form == "json":
        return as_json(audit.to_json())
    if form == "markdown":
        from privgen.report.markdown import render_markdown

        return render_markdown(audit)
    if form == "html":
        from privgen.report.write import html_report

        return html_report(audit, run)
    from privgen.report.terminal import render_audit

    return render_audit(audit, colour=colour)


def as_json(value: object) -> str:
    """JSON for a script, one line end at its end."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _deliver(text: str, out: Path | None) -> None:
    # A lone surrogate, which a ledger can hold, is no UTF-8; its escape is JSON, and harmless elsewhere.
    data = text.encode("utf-8", "backslashreplace")
    if out is None:
        click.echo(data, nl=False, color=True)
        return
    from accountant.files import write_durably

    write_durably(out, data)


def _fail(audit: Audit) -> None:
    from privgen.cli.console import err_console
    from privgen.report.text import plain

    broken = next(check for check in audit.checks if check.status == "failed")
    line = f"Error: the audit failed: {plain(broken.name)}: {plain(broken.detail)}"
    err_console.print(line, style="bold red", markup=False, soft_wrap=True)
    sys.exit(1)
