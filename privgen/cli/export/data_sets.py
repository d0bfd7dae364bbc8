"""Images as a data set in the forms that others read: an image folder, npz, parquet, WebDataset, a Hub folder.

Each has a card: README.md in a folder, NAME.md beside a file. Everything is written whole or not at all.

| form | what is written | read by |
|---|---|---|
| imagefolder | CLASS/000000.png | `load_dataset("imagefolder", data_dir=…)`, torchvision's ImageFolder, privgen |
| npz | one file, arrays images, labels and class_names | numpy, privgen |
| parquet | one file, columns image and label | `load_dataset("parquet", data_files=…)`, pandas |
| webdataset | train-00000.tar, …: 000000.png and 000000.cls | webdataset, `load_dataset("webdataset", …)` |
| hf | data/train-00000-of-00001.parquet | `load_dataset(FOLDER)`; ready for the Hub |
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accountant.files import write_durably
from privgen.data.export import png_bytes, write_folder, write_npz
from privgen.data.folder import CARD
from privgen.errors import DataError

# Images in one tar of WebDataset, and in one row group of parquet.
_A_SHARD, _A_GROUP = 10_000, 1_000
Card = Callable[[dict[str, Any]], str]


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledSet:
    """Images to be written.

    Args:
        images: (n, H, W, C) uint8. labels: (n,) from 0. class_names: of the labels.
        card: the card's text, given the metadata of a form.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    card: Card


def write_data_set(form: str, made: LabelledSet, out: Path) -> None:
    """Write images in one of `FORMS`.

    Args:
        out: the file, for npz and parquet; otherwise the folder, which must not exist.

    Raises:
        FileExistsError: a folder stands there. DataError: pyarrow is needed and not here. OSError: no room.
    """
    FORMS[form](made, out)


def _imagefolder(made: LabelledSet, out: Path) -> None:
    card = made.card({}).encode()
    write_folder(made.images, made.labels, made.class_names, out)
    write_durably(out / CARD, card)


def _npz(made: LabelledSet, out: Path) -> None:
    write_durably(out.with_suffix(".md"), made.card({}).encode())
    write_npz(made.images, made.labels, out, class_names=made.class_names)


def _parquet(made: LabelledSet, out: Path) -> None:
    data = parquet_bytes(made)
    write_durably(out.with_suffix(".md"), made.card({}).encode())
    write_durably(out, data)


def _webdataset(made: LabelledSet, out: Path) -> None:
    with _new_folder(out) as folder:
        for shard, first in enumerate(range(0, len(made.labels), _A_SHARD)):
            with tarfile.open(folder / f"train-{shard:05d}.tar", "w") as tar:
                for index in range(first, min(first + _A_SHARD, len(made.labels))):
                    _add(tar, f"{index:06d}.png", png_bytes(made.images[index]))
                    _add(tar, f"{index:06d}.cls", str(made.labels[index]).encode())
        (folder / "classes.json").write_text(json.dumps(list(made.class_names), ensure_ascii=False), encoding="utf-8")
        (folder / CARD).write_text(made.card({}), encoding="utf-8")


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def _hub(made: LabelledSet, out: Path) -> None:
    data = parquet_bytes(made)
    names = {str(number): name for number, name in enumerate(made.class_names)}
    features = [
        {"name": "image", "dtype": "image"},
        {"name": "label", "dtype": {"class_label": {"names": names}}},
    ]
    splits = [{"name": "train", "num_examples": len(made.labels), "num_bytes": len(data)}]
    metadata = {
        "dataset_info": {"features": features, "splits": splits},
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}],
    }
    with _new_folder(out) as folder:
        (folder / "data").mkdir()
        (folder / "data" / "train-00000-of-00001.parquet").write_bytes(data)
        (folder / CARD).write_text(made.card(metadata), encoding="utf-8")


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder under another name, which gets its own when everything is in it."""
    if out.exists():
        raise FileExistsError(17, "Exists already", str(out))
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def parquet_bytes(made: LabelledSet) -> bytes:
    """Columns image (PNG bytes and a name) and label, with the features that `datasets` reads from the schema.

    Raises:
        DataError: pyarrow is not here.
    """
    try:
        import pyarrow
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        raise DataError("To write parquet: pip install 'privgen[parquet]', or give --format imagefolder.") from error
    features = {
        "image": {"_type": "Image"},
        "label": {"names": list(made.class_names), "_type": "ClassLabel"},
    }
    about = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    schema = pyarrow.schema([("image", image), ("label", pyarrow.int64())], metadata=about)
    buffer = io.BytesIO()
    with ParquetWriter(buffer, schema) as writer:
        for first in range(0, len(made.labels), _A_GROUP):
            rows = range(first, min(first + _A_GROUP, len(made.labels)))
            images = [{"bytes": png_bytes(made.images[row]), "path": f"{row:06d}.png"} for row in rows]
            labels = made.labels[rows.start : rows.stop].tolist()
            writer.write_table(pyarrow.table({"image": images, "label": labels}, schema=schema))
    return buffer.getvalue()


FORMS: dict[str, Callable[[LabelledSet, Path], None]] = {
    "imagefolder": _imagefolder,
    "npz": _npz,
    "parquet": _parquet,
    "webdataset": _webdataset,
    "hf": _hub,
}
