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
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from accountant.canonical import canonical, parse_object
from accountant.files import fsync_folder
from privgen.errors import CheckpointError

SCHEMA = "privgen.checkpoint/1"
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
        OSError: it could not be written; no folder of that name was made or changed.
    """
    files = {f"{kind}.safetensors": _tensor_bytes(getattr(snapshot, kind)) for kind in TENSOR_FILES}
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
        # A folder cannot be replaced by rename: one left by a crash before its ledger entry goes first.
        shutil.rmtree(private / name, ignore_errors=True)
        temporary.rename(private / name)
        fsync_folder(private)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return digests["generator.safetensors"]


def _tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read_checkpoint(private: Path, name: str) -> Snapshot:
    """Read a checkpoint, every file checked against the manifest first.

    Raises:
        CheckpointError: missing or damaged; the message names the file and the checkpoints beside it.
    """
    folder = private / name
    try:
        digests = parse_object((folder / "manifest.json").read_bytes())
        files = {file: (folder / file).read_bytes() for file in digests}
        for file, data in files.items():
            if hashlib.sha256(data).hexdigest() != digests[file]:
                raise CheckpointError(f"{folder / file} is damaged.{_others(private, name)}")
        state = parse_object(files["state.json"])
        if state.pop("schema", None) != SCHEMA:
            raise CheckpointError(f"{folder} is of another schema than {SCHEMA}.{_others(private, name)}")
        tensors = {kind: load(files[f"{kind}.safetensors"]) for kind in TENSOR_FILES}
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise CheckpointError(f"{folder} cannot be read ({error}).{_others(private, name)}") from error
    return Snapshot(state=state, **tensors)


def released_digest(private: Path, name: str) -> str:
    """SHA-256 of the released weights in a checkpoint, as the ledger has it.

    Raises:
        CheckpointError: they cannot be read.
    """
    try:
        return hashlib.sha256((private / name / "generator.safetensors").read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(f"{private / name} cannot be read ({error}).{_others(private, name)}") from error


def kept_checkpoints(private: Path) -> list[str]:
    """Names of the checkpoints that are there, oldest first."""
    return sorted(path.name for path in private.glob("checkpoint-*") if path.is_dir())


def drop_old_checkpoints(private: Path, *, keep: int) -> None:
    """Remove all but the newest `keep`."""
    for name in kept_checkpoints(private)[:-keep]:
        shutil.rmtree(private / name, ignore_errors=True)


def _others(private: Path, name: str) -> str:
    others = [other for other in kept_checkpoints(private) if other != name]
    if not others:
        return " No other checkpoint is kept; train anew into another --out."
    return f" Resume from the one before it: --resume --checkpoint {others[-1]}."
