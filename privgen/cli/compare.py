"""`privgen compare`: runs side by side. Loads no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from privgen.experiments.comparison import ComparedRun

EPILOG = """\b
Examples:
  privgen compare runs/fm runs/dp-gan
  privgen compare runs/fm runs/dp-gan runs/dp-merf --format html --out comparison.html
  privgen compare runs/* --format markdown --out comparison.md
"""


@click.command(epilog=EPILOG)
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="RUN RUN ...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "markdown", "html", "json"]),
    default="terminal",
    show_default=True,
    help="How to show it; json prints JSON alone.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write it there; the sample grids go beside it as NAME.png, and into HTML itself.",
)
def command(runs: tuple[Path, ...], form: str, out: Path | None) -> None:
    """Put runs side by side: ε certified and claimed, every measure of their evaluations, seconds, and sample grids.

    Every run is audited anew. Runs of different data sets or δ are said not to be comparable.
    """
    from accountant.files import write_durably
    from privgen.experiments.comparison import compared
    from privgen.report.side_by_side import side_by_side

    found = compared(runs)
    picture = side_by_side([(run.name, run.samples) for run in found if run.samples is not None])
    beside = None if out is None or picture is None or form == "html" else out.with_suffix(".png")
    data = _rendered(found, form, picture, beside).encode("utf-8", "backslashreplace")
    if out is None:
        # A terminal's text in the terminal's letters; what a script or a browser reads is UTF-8 everywhere.
        click.echo(data.decode() if form == "terminal" else data, nl=False, color=True)
        return
    write_durably(out, data)
    if beside is not None and picture is not None:
        write_durably(beside, picture)


def _rendered(runs: Sequence[ComparedRun], form: str, picture: bytes | None, beside: Path | None) -> str:
    from privgen.cli.console import in_colour
    from privgen.experiments.comparison import comparison_json, comparison_report

    if form == "json":
        return json.dumps(comparison_json(runs), indent=2, ensure_ascii=False) + "\n"
    report = comparison_report(runs)
    if form == "markdown":
        from privgen.report.markdown import render_markdown

        shown = "" if beside is None else f"\n![Images of each run, one column a class]({beside.name})\n"
        return render_markdown(report) + shown
    if form == "html":
        from privgen.report.html import SampleGrid, render_html

        alt = f"Grids of images that each run's generator made: {', '.join(run.name for run in runs)}"
        caption = "Images from each run's generator, one column a class; each file's digest is its ledger's."
        samples = None if picture is None else SampleGrid(png=picture, alt=alt, caption=caption)
        return render_html(report, samples=samples, kind="privgen comparison")
    from privgen.report.terminal import render_report

    return render_report(report, colour=in_colour())
