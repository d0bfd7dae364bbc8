"""`export_run`: a folder that is ready for the Hugging Face Hub, and that works without privgen.

    README.md            the model card: what it is for, what is promised of its training data, limits, how to verify it
    model.safetensors    the weights          config.json   how the networks are built
    modeling_privgen.py  the networks and how they are sampled; needs torch alone
    model.onnx           where it is asked for: the same as a graph (`privgen.cli.export.onnx`)
    samples.png  plan.json  ledger.jsonl      what was released beside; `privgen audit DIR/ledger.jsonl` reads it

Guarantees: every byte of it is a released file of a run whose audit passes, or made of such and of public text.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

from accountant.canonical_json import parse_object
from privgen.cli.export.guarded import GuardedRelease, guarded_release
from privgen.cli.export.inlined import inlined_source
from privgen.cli.export.model_card import model_card
from privgen.cli.export.onnx import FILE, write_onnx
from privgen.cli.export.standalone import PrivateImageGenerator
from privgen.errors import RunError
from privgen.generate import ImageSampler, load_generator

MODELING = "modeling_privgen.py"

_OPENING = '''"""{name}: images of a differentially private generator. Needs torch and nothing else.

    from modeling_privgen import load
    generator = load(".")                      # the folder with config.json and model.safetensors
    images = generator(100, seed=0)            # (100, H, W, C) uint8, classes balanced

Written by privgen {version} from its own modules; Apache-2.0.
"""

'''
_CLOSING = '''

def load(folder: str | Path = Path(__file__).parent) -> PrivateImageGenerator:
    """The generator of a folder with config.json and model.safetensors."""
    return PrivateImageGenerator({sampler}, folder)
'''


def export_run(run: Path, to: Path, *, licence: str | None = None, onnx: bool = False) -> tuple[str, ...]:
    """Write a run's release into a new folder; the names of its files.

    Args:
        run: runs/NAME, or its release folder. to: the folder, which must not exist.
        licence: of the model as the Hub names it, such as apache-2.0, or None: the card then names none.
        onnx: write the generator as an ONNX graph too.

    Raises:
        RunError: the run is not one to be exported (see `guarded_release`), its release makes no images, or the package
            onnx is not here.
        FileExistsError: something stands there. OSError: it cannot be written; nothing is left.
    """
    if to.exists():
        raise FileExistsError(17, "Exists already", str(to))
    release = guarded_release(run)
    sampler = load_generator(run).sampler
    about = parse_object(release.file("generator.json"))
    temporary = to.with_name(f".{to.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        for name, data in _files(release, about, sampler, to.name, licence).items():
            (temporary / name).write_bytes(data)
        if onnx:
            write_onnx(sampler, temporary / FILE)
        temporary.rename(to)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return tuple(sorted(path.name for path in to.iterdir()))


def _files(
    release: GuardedRelease, about: dict[str, Any], sampler: ImageSampler, name: str, licence: str | None
) -> dict[str, bytes]:
    found = {
        "model.safetensors": release.file("generator.safetensors"),
        "config.json": _json({"model_type": "privgen", "architectures": [type(sampler).__name__], **about}),
        MODELING: modeling_source(sampler, name).encode(),
        "ledger.jsonl": (release.folder / "ledger.jsonl").read_bytes(),
    }
    if release.state.plan is not None:
        found["plan.json"] = _json(release.state.plan.to_json())
    with contextlib.suppress(RunError):
        found["samples.png"] = release.file("samples.png")
    found["README.md"] = model_card(release, about, name=name, licence=licence, samples="samples.png" in found).encode()
    return found


def modeling_source(sampler: ImageSampler, name: str) -> str:
    """The text of modeling_privgen.py for what samples a release."""
    from importlib.metadata import version

    kind = type(sampler)
    text = inlined_source(kind, PrivateImageGenerator)
    opening = _OPENING.format(name=name.replace('"', "'").replace("\\", "/"), version=version("privgen"))
    return opening + text + _CLOSING.format(sampler=kind.__name__)


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
