"""`manifest:FILE`: a table of images, CSV or parquet, with columns path, label[, id][, person].

Paths are from the table's own folder. Without a column `label` every record is of one class. An `id` is the record's
identity, unique; without it, it is the path with the label and the person.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from privgen.data.identity import content_digest, require_unique
from privgen.data.left_out import LeftOut
from privgen.data.source import UNLABELLED, FileSource, Opened
from privgen.errors import DataError

_COLUMNS = ("path", "label", "id", "person")
Row = dict[str, str]


def open_manifest(path: Path) -> Opened:
    """The records that a table names.

    Raises:
        DataError: it cannot be read, has no column path, or an id stands twice.
    """
    columns, rows = _parquet(path) if path.suffix.lower() in (".parquet", ".pq") else _csv(path)
    if "path" not in columns:
        raise DataError(f"{path} has the columns {', '.join(columns) or 'none'}; expected path, label[, id][, person].")
    needed = [name for name in _COLUMNS if name in columns]
    kept, left_out = [], []
    for number, row in rows:
        missing = [name for name in needed if not row.get(name)]
        if missing:
            left_out.append(LeftOut(f"row {number}", f"a row without {' and '.join(missing)}"))
        else:
            kept.append(row)
    keys = _keys(path, kept, columns)
    return Opened(
        "manifest",
        FileSource(
            root=path.parent,
            files=[path.parent / row["path"] for row in kept],
            labels=[row.get("label", UNLABELLED) for row in kept],
            keys=keys,
            keeps_ids="id" in columns,
            persons=[row["person"] for row in kept] if "person" in columns else None,
            left_out=tuple(left_out),
        ),
    )


def _keys(path: Path, rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    if "id" in columns:
        ids = [row["id"] for row in rows]
        require_unique(ids, str(path))
        return [f"id/{one}" for one in ids]
    before: dict[str, int] = {}
    keys = []
    for row in rows:
        # A path with two labels is two records; equal rows are told apart by how many came before.
        label, person = row.get("label", UNLABELLED), row.get("person")
        key = content_digest(row["path"].encode(), label, person).hex()
        keys.append(f"row/{key}/{before.get(key, 0)}")
        before[key] = before.get(key, 0) + 1
    return keys


def _csv(path: Path) -> tuple[list[str], list[tuple[int, Row]]]:
    """The columns, and the rows with the line on which each ends."""
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True, strict=True)
            columns = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            return columns, [(reader.line_num, _stripped(row)) for row in reader]
    except (OSError, csv.Error) as error:
        raise DataError(f"Cannot read {path} ({error}); expected a CSV file in UTF-8 with a header.") from error


def _stripped(row: dict[str | None, str | None]) -> Row:
    return {name: value.strip() for name, value in row.items() if isinstance(name, str) and isinstance(value, str)}


def _parquet(path: Path) -> tuple[list[str], list[tuple[int, Row]]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import read_table
    except ImportError as error:
        raise DataError(f"To read {path}: pip install 'privgen[parquet]', or save the table as CSV.") from error
    try:
        table = read_table(path)
    except (OSError, ArrowException) as error:
        raise DataError(f"Cannot read {path} ({error}); expected a parquet file.") from error
    names = [name for name in _COLUMNS if name in table.column_names]
    values = [["" if value is None else str(value) for value in table.column(name).to_pylist()] for name in names]
    rows = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
    return table.column_names, list(enumerate(rows))
