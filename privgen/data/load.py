"""Find a data set by name: --data-dir, torchvision's layout, Debian's package, a download; in this order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from privgen.data import celeba as celeba_files
from privgen.data import idx
from privgen.data.embedded import digits, mnist_5k
from privgen.data.files import image_folder, npz
from privgen.data.records import DataSet, ImageData, identities
from privgen.errors import DataError

KNOWN = ("digits", "mnist-5k", "mnist", "fashion-mnist", *celeba_files.VARIANTS, "image-folder:PATH", "npz:PATH")
DEFAULT_FOLDER = Path("data")
DEBIAN = Path("/usr/share/datasets/fashion-mnist")

_TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
_CLASSES = {
    "mnist": tuple(str(digit) for digit in range(10)),
    "fashion-mnist": (
        "T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
}  # fmt: skip


def load_data(name: str, data_dir: Path | None = None) -> DataSet:
    """A data set by its name.

    Args:
        name: one of KNOWN. data_dir: where to look first.

    Raises:
        DataError: unknown, not found (the message says where it was looked for), or damaged.
    """
    kind, colon, path = name.partition(":")
    if colon and kind in ("npz", "image-folder"):
        return npz(Path(path)) if kind == "npz" else image_folder(Path(path))
    loaders: dict[str, Callable[[], DataSet]] = {
        "digits": digits,
        "mnist-5k": mnist_5k,
        "mnist": lambda: _idx_set("mnist", data_dir),
        "fashion-mnist": lambda: _idx_set("fashion-mnist", data_dir),
        **{variant: partial(_celeba, variant, data_dir) for variant in celeba_files.VARIANTS},
    }
    if name not in loaders:
        raise DataError(f"Unknown data set {name!r}; known are: {', '.join(KNOWN)}.")
    return loaders[name]()


def whereabouts(name: str, data_dir: Path | None = None) -> Path | None:
    """The folder in which the files of mnist, fashion-mnist, celeba or celeba-resized are, or None."""
    if name in celeba_files.VARIANTS:
        return next((f for f in _celeba_folders(data_dir) if celeba_files.has_all(f)), None)
    return next((f for f in _idx_folders(name, data_dir) if idx.has_all(f)), None)


def _idx_folders(name: str, data_dir: Path | None) -> list[Path]:
    given = [] if data_dir is None else [data_dir, data_dir / _TORCHVISION[name] / "raw"]
    default = [DEFAULT_FOLDER / _TORCHVISION[name] / "raw"]
    return given + default + ([DEBIAN] if name == "fashion-mnist" else [])


def _idx_set(name: str, data_dir: Path | None) -> DataSet:
    folder = whereabouts(name, data_dir)
    if folder is None:
        folder = _download(name, data_dir)
    splits = {}
    for split in ("train", "test"):
        images, labels = idx.read_split(folder, split)
        splits[split] = ImageData(
            name=name,
            split=split,
            images=images,
            labels=labels,
            class_names=_CLASSES[name],
            ids=identities(f"{name}/{split}/{row}" for row in range(len(images))),
        )
    return DataSet(name, splits["train"], splits["test"])


def _download(name: str, data_dir: Path | None) -> Path:
    from torchvision import datasets

    root = data_dir or DEFAULT_FOLDER
    try:
        getattr(datasets, _TORCHVISION[name])(str(root), download=True)
    except (OSError, RuntimeError) as error:
        looked = ", ".join(str(folder) for folder in _idx_folders(name, data_dir))
        remedy = "apt install dataset-fashion-mnist, or " if name == "fashion-mnist" else ""
        raise DataError(
            f"{name} was not found: looked in --data-dir ({data_dir or 'not given'}), in torchvision's layout and "
            f"Debian's package ({looked}), and the download failed ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:120]}). Remedy: {remedy}put the four IDX files into a folder and "
            "name it by --data-dir."
        ) from error
    return root / _TORCHVISION[name] / "raw"


def _celeba_folders(data_dir: Path | None) -> list[Path]:
    roots = [DEFAULT_FOLDER] if data_dir is None else [data_dir, DEFAULT_FOLDER]
    return [folder for root in roots for folder in (root, root / "celeba")]


def _celeba(name: str, data_dir: Path | None) -> DataSet:
    folder = whereabouts(name, data_dir)
    if folder is None:
        looked = "; ".join(f"{f} lacks {', '.join(celeba_files.missing(f))}" for f in _celeba_folders(data_dir))
        raise DataError(
            f"{name} was not found ({looked}); it cannot be downloaded without its owners' consent. Unpack "
            "img_align_celeba/, list_attr_celeba.txt and list_eval_partition.txt there, or give --data-dir."
        )
    return celeba_files.celeba(folder, name)
