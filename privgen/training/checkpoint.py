"""Checkpoints: a folder of safetensors and JSON, written whole or not at all, checked before it is used.

    private/checkpoint-STEP/   networks.safetensors  optimisers.safetensors  owed.safetensors
                               state.json  generator.safetensors  manifest.json

The manifest holds the SHA-256 of each file, so damage is seen before anything is restored. It stays in
`private/` with the rest; the ledger gets the digest of `generator.safetensors` alone, which may be released:
a digest of private state would let an outsider test guesses about it. No file is a pickle.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from accountant.canonical_json import canonical, parse_object
from accountant.files import fsync_folder
from privgen.errors import CheckpointError
from privgen.generate import tensor_bytes

SCHEMA = "privgen.training.checkpoint/1"
TENSOR_FILES = ("networks", "optimisers", "owed", "generator")


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """What a checkpoint holds.

    Args:
        networks, optimisers, owed: tensors by name; `owed` is the hidden error, made of raw gradients.
        generator: the averaged generator, all that may leave the house.
        state: JSON: charged step, cycle, group salt, configuration.
    """

    networks: Mapping[str, Tensor]
    optimisers: Mapping[str, Tensor]
    owed: Mapping[str, Tensor]
    generator: Mapping[str, Tensor]
    state: Mapping[str, Any] = field(default_factory=dict)


def checkpoint_name(step: int) -> str:
    """The folder's name for a step, so that names sort as steps do."""
    return f"checkpoint-{step:07d}"


def write_checkpoint(private: Path, name: str, snapshot: Snapshot) -> str:
    """Write a checkpoint atomically and durably.

    Returns:
        SHA-256 of the released weights (`generator.safetensors`), for the ledger.

    Raises:
        OSError: it could not be written, or the name is taken; nothing was made or changed.
    """
    files = {f"{kind}.safetensors": tensor_bytes(getattr(snapshot, kind)) for kind in TENSOR_FILES}
    files["state.json"] = json.dumps({"schema": SCHEMA, **snapshot.state}, indent=1).encode()
    digests = {file: hashlib.sha256(data).hexdigest() for file, data in files.items()}
    files["manifest.json"] = canonical(digests)
    temporary = private / f".{name}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(mode=0o700)
        for file, data in files.items():
            _write_synced(temporary / file, data)
        fsync_folder(temporary)
        # Never onto another checkpoint: between removing it and the rename a crash would lose both.
        temporary.rename(private / name)
        fsync_folder(private)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return digests["generator.safetensors"]


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def free_name(private: Path, step: int) -> str:
    """The step's name, with a number behind it if an earlier session stopped at the same step."""
    name, number = checkpoint_name(step), 2
    while (private / name).exists():
        name, number = f"{checkpoint_name(step)}-{number}", number + 1
    return name


def read_checkpoint(private: Path, name: str, *, recorded: Sequence[str]) -> Snapshot:
    """Read a checkpoint, every file checked against the manifest first.

    Args:
        recorded: names in the ledger, oldest first: no other could be resumed from, so no other is offered.

    Raises:
        CheckpointError: missing or damaged; the message names the file and the checkpoints beside it.
    """
    folder = private / name
    try:
        digests = parse_object((folder / "manifest.json").read_bytes())
        files = {file: (folder / file).read_bytes() for file in digests}
        for file, data in files.items():
            if hashlib.sha256(data).hexdigest() != digests[file]:
                raise CheckpointError(f"{folder / file} is damaged.{_others(private, name, recorded)}")
        state = parse_object(files["state.json"])
        if state.pop("schema", None) != SCHEMA:
            raise CheckpointError(f"{folder} is of another schema than {SCHEMA}.{_others(private, name, recorded)}")
        tensors = {kind: load(files[f"{kind}.safetensors"]) for kind in TENSOR_FILES}
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise CheckpointError(f"{folder} cannot be read ({error}).{_others(private, name, recorded)}") from error
    return Snapshot(state=state, **tensors)


def released_digest(private: Path, name: str) -> str:
    """SHA-256 of the released weights in a checkpoint, as the ledger has it.

    Raises:
        CheckpointError: they cannot be read.
    """
    try:
        return hashlib.sha256((private / name / "generator.safetensors").read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(f"{private / name} cannot be read ({error}).") from error


def kept_checkpoints(private: Path) -> list[str]:
    """Names of the checkpoints that are there, oldest first."""
    return sorted(path.name for path in private.glob("checkpoint-*") if path.is_dir())


def drop_old_checkpoints(private: Path, *, recorded: Sequence[str], keep: int) -> None:
    """Remove all but the newest `keep` that the ledger names, and what interrupted writes left behind.

    Args:
        recorded: names in the ledger, oldest first. One that is not among them can never be resumed from.
    """
    there = set(kept_checkpoints(private))
    newest = [name for name in dict.fromkeys(reversed(recorded)) if name in there][:keep]
    for name in there - set(newest):
        shutil.rmtree(private / name, ignore_errors=True)
    for interrupted in private.glob(".checkpoint-*.tmp"):
        shutil.rmtree(interrupted, ignore_errors=True)


def _others(private: Path, name: str, recorded: Sequence[str]) -> str:
    others = [other for other in recorded if other != name and (private / other).is_dir()]
    if not others:
        return " No other checkpoint is kept; train anew into another --out."
    return f" Resume from the one before it: --resume --checkpoint {others[-1]}."
