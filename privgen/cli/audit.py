"""`privgen audit`: recompute what a run spent, from its ledger alone. Loads no torch."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

EPILOG = """\b
Examples:
  privgen audit runs/fm
  privgen audit runs/fm --format json > audit.json
"""


@click.command(epilog=EPILOG)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "json"]),
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
    from privgen.report.terminal import render_audit

    audit = audit_run(run, public_key=load_public_key(public_key) if public_key else None)
    if form == "json":
        text = json.dumps(audit.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    else:
        text = render_audit(audit, colour=out is None and sys.stdout.isatty())
    if out is None:
        click.echo(text, nl=False, color=True)
    else:
        from accountant.files import write_durably

        write_durably(out, text.encode())
    if audit.verdict == "failed":
        broken = next(check for check in audit.checks if check.status == "failed")
        from privgen.cli.console import err_console

        err_console.print(
            f"Error: the audit failed: {broken.name}: {broken.detail}",
            style="bold red",
            markup=False,
            soft_wrap=True,
        )
        sys.exit(1)
