"""`privgen doctor`: is this machine fit to train on? Exit status 1, with a remedy, where a command would fail."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from privgen.cli.encoding import echo_json

if TYPE_CHECKING:
    from privgen.cli.health import Finding

EPILOG = """\b
Examples:
  privgen doctor
  privgen doctor --device cuda --out /data/runs
  privgen doctor --format json
"""

SCHEMA = "privgen.doctor/1"
_MARKS = {"ok": ("✓", "green"), "note": ("·", "yellow"), "broken": ("✗", "bold red")}


@click.command(epilog=EPILOG)
@click.option("--device", default="cpu", show_default=True, help="The device to look at: cpu, cuda, cuda:1, ...")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Where runs are to be written: its disk is looked at.",
)
@click.option("--preset", help="Size of the networks whose rows are checked, as for privgen train.")
@click.option("--format", "form", type=click.Choice(["terminal", "json"]), default="terminal", show_default=True)
def command(device: str, out: Path, preset: str | None, form: str) -> None:
    """Look at this machine: versions, device, threads, the row check, disk, entropy, data.

    No record is read and nothing is changed. Exit status 1 where something would break, each with a remedy.
    """
    from privgen.cli.console import err_console
    from privgen.cli.health import look, looks

    with err_console.status("Looking; the row check takes some seconds ..."):
        found = [finding for one in looks(device, out, preset) for finding in look(one)]
    broken = any(finding.status == "broken" for finding in found)
    if form == "json":
        verdict = "broken" if broken else "ready"
        echo_json({"schema": SCHEMA, "verdict": verdict, "findings": [asdict(finding) for finding in found]})
    else:
        _show(found)
    if broken:
        sys.exit(1)


def _show(found: list[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    from privgen.cli.console import console

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for column in ("", "name", "what"):
        table.add_column(column, overflow="fold", no_wrap=column != "what")
    for one in found:
        mark, style = _MARKS[one.status]
        what = Text(one.detail)
        if one.remedy:
            what.append(f"\n→ {one.remedy}", style="bold")
        table.add_row(Text(mark, style=style), Text(one.name), what)
    console.print(table)
    broken = [one.name for one in found if one.status == "broken"]
    verdict = f"Would break: {', '.join(broken)}." if broken else "Ready."
    console.print(verdict, style="bold red" if broken else "bold green", markup=False)
