"""`privgen label`: a run's privacy on one card, for people and as JSON. Loads no torch."""

from __future__ import annotations

import sys
from pathlib import Path

import click

EPILOG = """\b
Examples:
  privgen label runs/fm --out label.html
  privgen label runs/fm --public-key officer.key.pub --out label.html
  privgen label runs/fm --format json > label.json
"""


@click.command(epilog=EPILOG)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format", "form", type=click.Choice(["html", "json"]), default="html", show_default=True, help="A card, or data."
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it there.")
@click.option("--public-key", help="The signer's public key (64 hexadecimal digits, or a .pub file).")
@click.option(
    "--anchor",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file that remembers how far the run is (privgen train --anchor).",
)
def command(run: Path, form: str, out: Path | None, public_key: str | None, anchor: Path | None) -> None:
    """The privacy label of the run in folder RUN: unit, adjacency, (ε, δ), what is covered, what any attack can reach.

    It is an audit on one card, recomputed from the ledger; docs/for-officers.md explains each line. Exit status 1 where
    the audit failed; the card then says so, and nothing else.
    """
    from accountant.audit.audit import audit_run
    from accountant.ledger.signing import load_public_key
    from privgen.cli.audit_claim import as_json
    from privgen.cli.audit_run import deliver
    from privgen.cli.console import err_console
    from privgen.report.label import label_of, render_label

    audit = audit_run(run, public_key=load_public_key(public_key) if public_key else None, anchor=anchor)
    label = label_of(audit)
    deliver(as_json(label.json) if form == "json" else render_label(label), form, out)
    if audit.verdict == "failed":
        err_console.print("Error: the audit failed; see privgen audit.", style="bold red", markup=False)
        sys.exit(1)
