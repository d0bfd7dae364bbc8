"""Find a data set by name: --data-dir, torchvision's layout, Debian's package, a download; in this order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from accountant.plans.public_facts import PublicFacts
from privgen.catalogue import DATASETS, OWN, imported, is_own, source_name
from privgen.data import celeba as celeba_files
from privgen.data import idx
from privgen.data.assemble import assemble, data_set
from privgen.data.folder import open_folder
from privgen.data.identity import content_digest, content_ids, image_digest
from privgen.data.left_out import lines_of
from privgen.data.manifest import open_manifest
from privgen.data.npz import open_npz
from privgen.data.propose import AskedFacts, propose
from privgen.data.records import DataSet, ImageData
from privgen.data.source import Opened
from privgen.data.torchvision_sets import open_torchvision
from privgen.errors import DataError

DEFAULT_FOLDER = Path("data")
DEBIAN = Path("/usr/share/datasets/fashion-mnist")

_TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
# Their files are looked for; the others come with a package.
ON_DISK = (*_TORCHVISION, *celeba_files.VARIANTS)
EMBEDDED = ("digits", "mnist-5k")


def load_data(name: str, data_dir: Path | None = None, *, facts: PublicFacts | None = None) -> DataSet:
    """A data set by its name.

    Args:
        name: one of `privgen.catalogue.DATASETS` or OWN, or the path of a folder, an .npz file or a manifest.
        data_dir: where to look first.
        facts: of the plan, which decide what is taken of one's own data. None proposes them from the data, which is for
            looking at them; training has the plan's.

    Raises:
        DataError: unknown, not found (the message says where it was looked for), damaged, or without a record.
    """
    name, data_dir = source_name(name), None if data_dir is None else data_dir.expanduser()
    if not is_own(name):
        return _require_records(name, _published(name, data_dir))
    if facts is None:
        return propose_data(name, data_dir)[1]
    opened, source = _opened(name, data_dir)
    return _require_records(name, data_set(opened, facts, source))


def propose_data(
    name: str, data_dir: Path | None = None, asked: AskedFacts | None = None
) -> tuple[PublicFacts, DataSet]:
    """Public facts for one's own data as they suggest them, and the data by these facts.

    Args:
        asked: what the proposal is to keep.

    Raises:
        DataError: as `load_data`; or the data suggest no single shape.
    """
    name = source_name(name)
    opened, source = _opened(name, None if data_dir is None else data_dir.expanduser())
    facts = propose(opened, asked or AskedFacts(), name)
    return facts, _require_records(name, data_set(opened, facts, source))


def load_records(name: str) -> ImageData:
    """All records of one's own folder or file, none held out, by facts that they suggest: images to be measured.

    Raises:
        DataError: as `propose_data`.
    """
    opened, _ = _opened(source_name(name), None)
    return assemble(opened.train, propose(opened, AskedFacts(), name)).records


def _require_records(name: str, found: DataSet) -> DataSet:
    if not len(found.train.labels):
        reasons = "; ".join(("no record is left to train on", *lines_of(found.left_out)))
        raise DataError(f"{name}: {reasons}. Give more of them, or plan again with facts that fit.")
    return found


def _published(name: str, data_dir: Path | None) -> DataSet:
    if name not in DATASETS:
        raise DataError(f"Unknown data set {name!r}; known are: {', '.join((*DATASETS, *OWN))}.")
    loaded: DataSet = imported(DATASETS[name].loader)(name, data_dir)
    return loaded


_OPENERS: dict[str, Callable[[Path], Opened]] = {
    "npz": open_npz,
    "image-folder": open_folder,
    "manifest": open_manifest,
    "torchvision": lambda path: open_torchvision(path.name, path.parent),
}


def _opened(name: str, data_dir: Path | None) -> tuple[Opened, str]:
    """One's own data, and the name that finds them from any folder."""
    kind, _, text = name.partition(":")
    if not text.strip():
        example = "torchvision:KMNIST" if kind == "torchvision" else f"{kind}:scans"
        raise DataError(f"{kind}: needs a path or a name behind the colon, such as {example}.")
    path = (data_dir or DEFAULT_FOLDER) / text if kind == "torchvision" else Path(text).expanduser()
    return _OPENERS[kind](path), f"{kind}:{path.absolute()}"


def find_dataset_folder(name: str, data_dir: Path | None = None) -> Path | None:
    """The folder in which the files of mnist, fashion-mnist, celeba or celeba-resized are, or None."""
    if name in celeba_files.VARIANTS:
        return next((f for f in _celeba_folders(data_dir) if celeba_files.has_all(f)), None)
    return next((f for f in _idx_folders(name, data_dir) if idx.has_all(f)), None)


def _idx_folders(name: str, data_dir: Path | None) -> list[Path]:
    given = [] if data_dir is None else [data_dir, data_dir / _TORCHVISION[name] / "raw"]
    default = [DEFAULT_FOLDER / _TORCHVISION[name] / "raw"]
    return given + default + ([DEBIAN] if name == "fashion-mnist" else [])


def idx_set(name: str, data_dir: Path | None) -> DataSet:
    """mnist or fashion-mnist, from the four files that they are published in."""
    folder = find_dataset_folder(name, data_dir)
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
            class_names=DATASETS[name].facts.classes,
            # By content: a file with one image less must not rename those behind it.
            ids=content_ids(
                content_digest(image_digest(image), str(label), None)
                for image, label in zip(images, labels, strict=True)
            ),
        )
    return DataSet(name, splits["train"], splits["test"], source=name, keeps_ids=False)


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


def celeba_set(name: str, data_dir: Path | None) -> DataSet:
    """celeba or celeba-resized, from the folder that its owners hand out."""
    folder = find_dataset_folder(name, data_dir)
    if folder is None:
        looked = "; ".join(f"{f} lacks {', '.join(celeba_files.missing(f))}" for f in _celeba_folders(data_dir))
        raise DataError(
            f"{name} was not found ({looked}); it cannot be downloaded without its owners' consent. Unpack "
            "img_align_celeba/, list_attr_celeba.txt and list_eval_partition.txt there, or give --data-dir."
        )
    return celeba_files.celeba(folder, name)
