"""`PrivateImageGenerator`: a released generator without privgen; this module needs torch and nothing else.

Its text, behind that of a method's networks, is the `modeling_privgen.py` of an export (`privgen.cli.export.inlined`).
So that it can stand there, it imports nothing of privgen.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file: eight bytes with the header's length, the header in JSON, the bytes."""
    data = bytearray(path.read_bytes())
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        first, last = (begin + offset for offset in entry["data_offsets"])
        empty = torch.empty(0, dtype=_TYPES[entry["dtype"]])
        flat = torch.frombuffer(data[first:last], dtype=empty.dtype) if last > first else empty
        found[name] = flat.reshape(entry["shape"])
    return found


class PrivateImageGenerator:
    """Makes images of a released generator.

    Args:
        sampler: the class whose `of(config, weights)` builds the networks. folder: with config.json and
            model.safetensors.

    >>> "generator = PrivateImageGenerator(); images = generator(100, seed=0)"  # in an exported folder
    'generator = PrivateImageGenerator(); images = generator(100, seed=0)'
    """

    def __init__(self, sampler: Any, folder: str | Path) -> None:
        about = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        self.class_names: list[str] = about["class_names"]
        self.sampler = sampler.of(about, read_safetensors(Path(folder) / "model.safetensors")).eval()

    @torch.no_grad()
    def __call__(self, n: int, labels: Sequence[int] | None = None, seed: int | None = None) -> Tensor:
        """(n, H, W, C) uint8.

        Args:
            n: how many, >= 1. labels: the class of each, or None for balanced ones. seed: None draws a fresh one.
        """
        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        chosen = torch.arange(n) % len(self.class_names) if labels is None else torch.as_tensor(labels)

        def normal(shape: Sequence[int]) -> Tensor:
            return torch.randn(tuple(shape), generator=generator)

        made = []
        for some in chosen.split(250):
            images = self.sampler(some, normal)  # (n, C, H, W) in [−1, 1]
            pixels = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
            made.append(pixels.permute(0, 2, 3, 1))
        return torch.cat(made)
