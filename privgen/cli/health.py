"""What `privgen doctor` looks at: each look says what it found, and what to do where something breaks.

No look reads a record, and none leaves anything behind.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Status = Literal["ok", "note", "broken"]

# A small run with its checkpoints takes tens of megabytes; a data set and its evaluation some hundreds.
_LITTLE_ROOM, _NO_ROOM = 2e9, 2e8


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one look found.

    Args:
        name: of what was looked at. status: ok; note, where something is slower or absent and may stay so; or broken,
            where a command would fail. detail: what was seen. remedy: what to do, empty where nothing is.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""


def looks(device: str, room: Path, preset: str | None) -> Iterator[Callable[[], list[Finding]]]:
    """Every look, in the order in which they are shown.

    Args:
        device: as for --device. room: where runs are to be written. preset: of the networks whose rows are checked,
            or None for the default.
    """
    yield _python
    yield _packages
    yield _entropy
    yield lambda: [_disk(room)]
    yield lambda: [_state()]
    yield lambda: _training(device, preset)
    yield _data


def look(one: Callable[[], list[Finding]]) -> list[Finding]:
    """What a look found; one that fails in a way that nobody thought of is a finding too."""
    try:
        return one()
    except Exception as error:  # whatever breaks here would break a command
        what = " ".join(str(error).split())[:200]
        return [Finding(name="privgen", status="broken", detail=f"{type(error).__name__}: {what}", remedy=_REINSTALL)]


_REINSTALL = "install privgen anew in a fresh environment; if it stays, report it"


def _python() -> list[Finding]:
    seen = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return [Finding(name="Python", status="ok", detail=seen)]


def _packages() -> list[Finding]:
    """Versions of all that privgen needs, each against the least that it works with."""
    try:
        asked = requires("privgen") or []
    except PackageNotFoundError:
        return [Finding(name="privgen", status="note", detail="runs from a folder and is not installed")]
    seen, wrong, training = [f"privgen {version('privgen')}"], [], _here("torch")
    for line in asked:
        found = re.match(r"([A-Za-z0-9._-]+)[^;]*?(?:(>=|==)\s*([0-9.]+))?[^;]*(;.*)?$", line)
        extra = found[4] or "" if found is not None else ""
        if found is None or ("extra" in extra and not (training and "train" in extra)):
            continue
        name, least = found[1], found[3]
        try:
            have = version(name)
        except PackageNotFoundError:
            wrong.append(f"{name} is not installed")
            continue
        seen.append(f"{name} {have}")
        if least and _numbers(have) < _numbers(least):
            wrong.append(f"{name} {have} is older than {least}")
    if wrong:
        remedy = "pip install --upgrade " + ("'privgen[train]'" if training else "privgen")
        return [Finding(name="packages", status="broken", detail="; ".join(wrong), remedy=remedy)]
    return [Finding(name="packages", status="ok", detail=", ".join(seen))]


def _numbers(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: of 2.14.1+cu121 (2, 14, 1)."""
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0])[:3])


def _entropy() -> list[Finding]:
    """Whether the operating system gives keys, and AES makes different bits of different keys."""
    from privgen.mechanism.key_stream import KeyStream

    one, other = KeyStream()(64), KeyStream()(64)
    if (one == other).any():
        remedy = "do not train here: the operating system gives the same keys twice"
        return [Finding(name="entropy", status="broken", detail="two fresh keys gave equal bits", remedy=remedy)]
    return [Finding(name="entropy", status="ok", detail="the operating system's; AES-256 in counter mode works")]


def _disk(room: Path) -> Finding:
    place = next(p for p in (room.absolute(), *room.absolute().parents) if p.is_dir())
    try:
        with tempfile.TemporaryFile(dir=place):
            free = shutil.disk_usage(place).free
    except OSError as error:
        remedy = "name a folder that may be written to: --out"
        return Finding(name="disk", status="broken", detail=f"{place}: {error.strerror}", remedy=remedy)
    seen = f"{free / 1e9:.1f} GB free in {place}"
    if free < _NO_ROOM:
        return Finding(name="disk", status="broken", detail=seen, remedy="make room there, or give another --out")
    if free < _LITTLE_ROOM:
        return Finding(name="disk", status="note", detail=f"{seen}: enough for a small run")
    return Finding(name="disk", status="ok", detail=seen)


def _state() -> Finding:
    """The folder in which this machine remembers how far each run is."""
    from accountant.ledger.state_folder import VARIABLE, state_folder

    folder = state_folder()
    place = next(p for p in (folder, *folder.parents) if p.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        remedy = f"set {VARIABLE} to a folder of yours, on a disk that is kept"
        return Finding(name="state", status="broken", detail=f"{folder} cannot be written to", remedy=remedy)
    return Finding(name="state", status="ok", detail=f"{folder} remembers how far each run is")


def _training(device: str, preset: str | None) -> list[Finding]:
    """torch, its device, its threads, and the row check with the networks of the default method."""
    try:
        import torch
    except ImportError:
        seen = "not installed: planning, auditing and keys work, training does not"
        return [Finding(name="torch", status="note", detail=seen, remedy="pip install 'privgen[train]'")]
    import click

    from privgen.cli.devices import device_of

    try:
        place = device_of(device)
    except click.BadParameter as error:
        text = str(error.message)
        return [Finding(name="device", status="broken", detail=text, remedy="omit --device, or install its driver")]
    kinds = [kind for kind in ("cuda", "mps", "xpu") if hasattr(torch, kind) and getattr(torch, kind).is_available()]
    beside = f"; also here: {', '.join(kinds)}" if kinds else ""
    return [
        Finding(name="device", status="ok", detail=f"{place}, by torch {torch.__version__}{beside}"),
        _threads(torch.get_num_threads()),
        _rows(place, preset),
    ]


def _threads(threads: int) -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    seen = f"{threads} of torch on {cores} core{'s' if cores > 1 else ''}"
    if threads > cores:
        remedy = f"give --threads {cores}, or set OMP_NUM_THREADS={cores}: more threads than cores wait for each other"
        return Finding(name="threads", status="note", detail=seen, remedy=remedy)
    return Finding(name="threads", status="ok", detail=seen)


def _rows(device: torch.device, preset: str | None) -> Finding:
    """Whether a record's gradient is its own here, for each part of the default method at its default size of pass."""
    from planners import plan
    from privgen.catalogue import method_named
    from privgen.errors import PrivgenError
    from privgen.gradients.row_check import safe_physical_batch
    from privgen.mechanism.record_numbers import RecordNumbers
    from privgen.mechanism.system_generator import system_generator
    from privgen.training.method import RecordFacts
    from privgen.training.row_checks import require_deterministic

    made = plan(epsilon=10, dataset="mnist", dataset_size=60_000, iterations=1000)
    method = method_named(made.method)
    facts = RecordFacts(shape=(1, 28, 28), class_names=tuple("0123456789"))
    values = method.default_settings(made.dataset_size, warm_start=made.warm_start is not None).to_json()
    settings = method.settings_from_json(values if preset is None else {**values, "preset": preset})
    learner = method.begin(made, facts, settings, latents=system_generator(device))
    smaller = []
    try:
        require_deterministic(device)
        for part in made.parts:
            task = learner.record_task(part.name, RecordNumbers(device=device))
            size, asked = safe_physical_batch(
                task.module, task.loss, learner.like(), physical_batch=settings.physical_batch, beside=task.beside
            )
            if not asked.holds:
                smaller.append(f"{part.name} passes {size} records at a time and not {asked.physical_batch}")
    except PrivgenError as error:
        remedy = "another version of torch, or another --device"
        return Finding(name="row check", status="broken", detail=" ".join(str(error).split()), remedy=remedy)
    if smaller:
        return Finding(name="row check", status="note", detail=f"holds; {', '.join(smaller)}, by itself")
    parts = ", ".join(part.name for part in made.parts)
    return Finding(name="row check", status="ok", detail=f"each record's gradient is its own ({parts})")


def _data() -> list[Finding]:
    from privgen.cli.data import known_data

    found = [(name, where) for name, size, where in known_data(None) if size is not None]
    here = [name for name, where in found if not where.startswith("not here")]
    absent = [name for name, where in found if where.startswith("not here")]
    detail = f"found {', '.join(here) or 'none'}" + (f"; not here: {', '.join(absent)}" if absent else "")
    return [Finding(name="data", status="ok", detail=detail)]


def _here(module: str) -> bool:
    """Whether a module can be imported, without importing it."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
