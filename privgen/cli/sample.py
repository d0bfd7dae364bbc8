"""`privgen sample`: make images with a trained generator. Costs no privacy."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from privgen.catalogue import DATA_SET_FORMS
from privgen.cli.configuration import ConfiguredCommand

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from privgen.cli.export.guarded import GuardedRelease

EPILOG = """\b
Examples:
  privgen sample runs/fm -n 100 --out samples.png
  privgen sample runs/fm -n 60000 --out generated.npz --seed 1
  privgen sample runs/fm -n 500 --labels Bag,Sandal --out some/
  privgen sample runs/fm -n 60000 --format hf --out fashion-synthetic
"""

SEED = click.IntRange(0, 2**62)
_LARGEST_GRID = 400
_NAMES_SHOWN = 12
_FILES = ("npz", "parquet")  # forms that are one file
_MANY = 100_000  # images before it is asked whether they fit into memory
# Endings that somebody means as a file, of a kind that is not made.
_OTHER_FILES = {".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".npy", ".pt", ".zip", ".csv"}


@click.command(cls=ConfiguredCommand, epilog=EPILOG)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-n", "count", type=click.IntRange(min=1), default=100, show_default=True, help="How many images.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="NAME.png: a grid. NAME.npz: arrays images and labels. Otherwise a folder of PNGs, one subfolder a class.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(DATA_SET_FORMS),
    help="Write a data set with a card that says what is promised: npz and parquet a file, the others a folder; hf is "
    "ready for the Hugging Face Hub.",
)
@click.option("--labels", help="Classes to cycle through, by name or number: Bag,Sandal or 0,1,8.  [default: all]")
@click.option(
    "--seed",
    type=SEED,
    help="The same seed gives the same images: the first 100 of 60000 are those of -n 100.  [default: a fresh one]",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, ...")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads for torch.")
def command(
    run: Path,
    count: int,
    out: Path,
    form: str | None,
    labels: str | None,
    seed: int | None,
    device: str,
    threads: int | None,
) -> None:
    """Make images with the generator of RUN (runs/NAME, or its release folder).

    Sampling is post-processing: it costs no privacy, however many images are made.
    """
    import numpy as np
    import torch
    from rich.progress import Progress

    from privgen.cli.console import console, err_console, warn
    from privgen.cli.devices import device_of
    from privgen.cli.export.guarded import guarded_release
    from privgen.cli.terminal_images import can_show, shown
    from privgen.data.export import write_folder, write_grid, write_npz
    from privgen.generate import load_generator

    _require_place(out, form)
    release = guarded_release(run) if form is not None else None
    if threads is not None:
        torch.set_num_threads(threads)
    generator = load_generator(run)
    generator.to(device_of(device))
    wanted = _labels(labels, generator.class_names)
    grid = form is None and out.suffix == ".png"
    if grid and count > _LARGEST_GRID:
        warn(f"A grid shows {_LARGEST_GRID} images; making that many. For more give --out NAME.npz or a folder.")
        count = _LARGEST_GRID
    if count >= _MANY:
        _require_room(count, generator(1, [wanted[0]], seed).shape[1:])
    chosen = np.asarray(wanted, dtype=np.int64)[np.arange(count) % len(wanted)]
    with Progress(console=err_console, transient=True) as progress:
        task = progress.add_task("sampling", total=count)
        images = generator(count, chosen, seed, on_batch=lambda made: progress.update(task, completed=made))
    if release is not None and form is not None:
        _write_data_set(form, release, images, chosen, generator.class_names, seed, out)
    elif grid:
        write_grid(images, out, columns=max(1, min(len(wanted) if len(wanted) > 1 else 10, 20)))
    elif out.suffix == ".npz":
        write_npz(images, chosen, out, class_names=generator.class_names)
    else:
        write_folder(images, chosen, generator.class_names, out)
    if grid and can_show(console):
        console.file.write(shown(out.read_bytes()))
    console.print(f"{count} images in {out}", markup=False, soft_wrap=True)


def _write_data_set(
    form: str,
    release: GuardedRelease,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    class_names: tuple[str, ...],
    seed: int | None,
    out: Path,
) -> None:
    from privgen.cli.export.data_set_card import data_set_card
    from privgen.cli.export.data_sets import LabelledSet, write_data_set

    def card(metadata: Mapping[str, Any]) -> str:
        return data_set_card(
            release, name=out.stem, count=len(labels), class_names=class_names, seed=seed, metadata=metadata
        )

    write_data_set(form, LabelledSet(images=images, labels=labels, class_names=class_names, card=card), out)


def _require_place(out: Path, form: str | None) -> None:
    """Before anything is made: a file may replace a file, whole; a folder is never written into."""
    if form in _FILES and out.suffix != f".{form}":
        raise click.BadParameter(f"--format {form} is one file; give NAME.{form}", param_hint="--out")
    if form is not None and form not in _FILES and out.suffix in (".png", *(f".{one}" for one in _FILES)):
        raise click.BadParameter(f"--format {form} is a folder; give its name", param_hint="--out")
    if out.suffix.lower() in _OTHER_FILES:
        raise click.BadParameter(
            f"{out.suffix} is not made; give NAME.png, NAME.npz or the name of a folder", param_hint="--out"
        )
    if (form or out.suffix[1:]) not in ("png", *_FILES) and out.exists():
        raise FileExistsError(17, "Exists already", str(out))
    if not out.parent.is_dir():
        raise FileNotFoundError(2, "No such folder", str(out.parent))


def _require_room(count: int, shape: tuple[int, ...]) -> None:
    """All images are made in memory; more than it holds is said at once and not after an hour."""
    if not hasattr(os, "sysconf"):
        return
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    needed = 2 * count * math.prod(shape)  # once in parts and once together
    if needed > memory:
        raise click.BadParameter(
            f"{count} images of {'×'.join(map(str, shape))} take {needed / 1e9:.0f} GB and this machine has "
            f"{memory / 1e9:.0f}; make them in parts, each by a --seed of its own",
            param_hint="-n",
        )


def _labels(text: str | None, class_names: tuple[str, ...]) -> list[int]:
    """Class numbers of what was asked for; a name goes before a number, for classes may be called by numbers."""
    if text is None:
        return list(range(len(class_names)))
    numbers = {str(number): number for number in range(len(class_names))}
    numbers |= {name: number for number, name in enumerate(class_names)}
    asked = [text] if text in class_names else next(csv.reader([text], skipinitialspace=True), [])
    unknown = [part for part in asked if part.strip() not in numbers]
    if unknown or not asked:
        names = ", ".join(class_names[:_NAMES_SHOWN]) + (", …" if len(class_names) > _NAMES_SHOWN else "")
        raise click.BadParameter(
            f"{(unknown or [text])[0]!r} is no class; classes are 0 to {len(class_names) - 1}: {names}",
            param_hint="--labels",
        )
    return [numbers[part.strip()] for part in asked]
