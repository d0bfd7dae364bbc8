"""What lies in a release folder: each file that the ledger names, and whatever else anybody put there.

The ledger's digests cover what a run released, and its reports, which are written after the halt. Everything else in
the folder, in subfolders and under hidden names too, is looked at for weights and for what belongs into the private
folder: nobody knows what these cost.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from accountant.audit.checks import FAILED, NOT_CHECKED, PASSED, RELEASED_WEIGHTS, Check, digest_of, is_file, plain_in
from accountant.ledger.state import REPORTS, LedgerState

_WEIGHTS = frozenset((
    ".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".npz", ".npy", ".onnx", ".h5", ".hdf5", ".keras", ".pb", ".tflite",
    ".gguf", ".pkl", ".pickle", ".joblib", ".msgpack", ".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z",
))  # fmt: skip
# How archives, pickles, arrays and HDF5 begin, whatever they are called.
_BEGINNINGS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"\x93NUMPY", b"\x89HDF", b"\x1f\x8b",
               b"BZh", b"\xfd7zXZ", b"(\xb5/\xfd", b"7z\xbc\xaf")  # fmt: skip
_LONGEST_HEADER = 100_000_000
_PRIVATE = frozenset((
    "networks.safetensors", "optimisers.safetensors", "owed.safetensors", "state.json", "manifest.json", "head.json",
    "begin.json", "fingerprint.json", "metrics.jsonl", "row-checks.jsonl", "canaries.safetensors",
))  # fmt: skip
_INTERRUPTED = re.compile(r"\.((generator|model)\.(safetensors|json)|samples\.png|plan\.json|report\.\w+)\.\d+\.tmp")
_NAMES_SHOWN = 5


def release_checks(state: LedgerState, release: Path) -> list[Check]:
    """Each released file against its digest in the ledger, and what lies beside them."""
    found = [_release_check(name, digest, release) for name, digest in sorted(state.releases.items())]
    if not found:
        found = [Check(name="released files", status=NOT_CHECKED, detail="the ledger names no released file yet")]
    return [*found, *_beside(state, release)]


def _release_check(name: str, digest: str, release: Path) -> Check:
    path = plain_in(release, name)
    if name in REPORTS and not is_file(path):
        status, detail = NOT_CHECKED, f"{name} was written after the halt and is not at hand"
    elif path.name != name or not is_file(path):
        status, detail = FAILED, f"{name} is named in the ledger and is not there"
    elif digest_of(path) != digest and name in REPORTS:
        status, detail = FAILED, f"{name} is not the report that was written after the halt: somebody edited it"
    elif digest_of(path) != digest:
        status, detail = FAILED, f"{name} is not the file that was released: its digest differs"
    else:
        status, detail = PASSED, f"SHA-256 {digest[:16]}… as in the ledger"
    return Check(name=f"released {Path(name).name}", status=status, detail=detail)


def _beside(state: LedgerState, release: Path) -> list[Check]:
    """Everything in the folder that the ledger does not name."""
    known = {"ledger.jsonl", "plan.json", *state.releases}
    others = [path for path in _everything(release) if str(path.relative_to(release)) not in known]
    # A crash before the ledger's entry leaves a checkpoint's weights there: these are known, as is half of them.
    checkpoints = {record.weights_digest for record in state.checkpoints}
    bad = {str(path.relative_to(release)): why for path in others if (why := _fault(path, checkpoints, state))}
    if bad:
        names = sorted(bad)
        shown = "; ".join(f"{name} ({bad[name]})" for name in names[:_NAMES_SHOWN])
        more = ", …" if len(names) > _NAMES_SHOWN else ""
        detail = f"{shown}{more}: the ledger does not name them, and nothing is known of what they cost"
        return [Check(name="other files", status=FAILED, detail=detail)]
    if not others:
        return []
    names = sorted(str(path.relative_to(release)) for path in others)
    shown = ", ".join(names[:_NAMES_SHOWN]) + (", …" if len(names) > _NAMES_SHOWN else "")
    return [
        Check(name="other files", status=NOT_CHECKED, detail=f"{shown}: not in the ledger, which says nothing of them")
    ]


def _everything(folder: Path) -> list[Path]:
    """All files below a folder and all links, hidden ones too; no link is followed."""
    found: list[Path] = []
    for place, folders, files in os.walk(folder):
        found += [Path(place, name) for name in files]
        found += [Path(place, name) for name in folders if Path(place, name).is_symlink()]
    return found


def _fault(path: Path, checkpoints: set[str], state: LedgerState) -> str | None:
    """Why a file that the ledger does not name must not be there, or None."""
    if path.is_symlink():
        return "a link"
    if path.name in _PRIVATE or any(part.startswith("checkpoint-") for part in path.parts[-2:-1]):
        return "of a private folder"
    if not _may_be_weights(path):
        return None
    if state.halted is None and _INTERRUPTED.fullmatch(path.name):
        return None  # an interrupted write of the run's own, which a resume sweeps
    if path.name in RELEASED_WEIGHTS and digest_of(path) in checkpoints:
        return None
    return "weights, or an archive"


def _may_be_weights(path: Path) -> bool:
    """By name, or by how it begins."""
    if any(suffix.lower() in _WEIGHTS for suffix in path.suffixes):
        return True
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError:
        return True
    header = int.from_bytes(start[:8], "little")
    return start.startswith(_BEGINNINGS) or (start[8:9] == b"{" and 2 <= header <= _LONGEST_HEADER)


def released_file(state: LedgerState, release: Path, name: str) -> bytes | None:
    """The bytes of a released file, or None unless they are there and match their digest in the ledger."""
    path = release / name
    if name not in state.releases or not is_file(path):
        return None
    data = path.read_bytes()
    return data if hashlib.sha256(data).hexdigest() == state.releases[name] else None
