"""`write_onnx`: a released generator as an ONNX graph, for ONNX Runtime and whatever else reads it.

    inputs   labels (n,) int64; normal_0, normal_1, …: standard normal numbers, (n, …) float32 each
    output   images (n, C, H, W) float32 in [−1, 1]

A graph draws nothing by itself: who runs it gives the numbers that `ImageSampler.forward` asks for, in its order.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from privgen.errors import RunError
from privgen.generate import ImageSampler

FILE = "model.onnx"
# Of the graph's format: read by ONNX Runtime from 1.15 on.
_OPSET = 17


class _Drawn(nn.Module):
    """A sampler whose random numbers are arguments."""

    def __init__(self, sampler: ImageSampler) -> None:
        super().__init__()
        self.sampler = sampler

    def forward(self, labels: Tensor, *numbers: Tensor) -> Tensor:
        given: Iterator[Tensor] = iter(numbers)
        images: Tensor = self.sampler(labels, lambda shape: next(given))
        return images


def drawn_shapes(sampler: ImageSampler) -> list[tuple[int, ...]]:
    """Shapes of the random numbers of one image, in the order in which they are asked for."""
    asked: list[tuple[int, ...]] = []

    def normal(shape: Sequence[int]) -> Tensor:
        asked.append(tuple(shape[1:]))
        return torch.zeros(tuple(shape))

    with torch.no_grad():
        sampler(torch.zeros(1, dtype=torch.int64), normal)
    return asked


def write_onnx(sampler: ImageSampler, path: Path) -> None:
    """Write the graph of a sampler on the CPU.

    Raises:
        RunError: the package onnx is not here. OSError: no room.
    """
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise RunError("To write ONNX: pip install 'privgen[onnx]', or omit --onnx.") from error
    shapes = drawn_shapes(sampler)
    names = [f"normal_{number}" for number in range(len(shapes))]
    # Two images: with one, a tracer takes the number for a constant.
    given = (torch.zeros(2, dtype=torch.int64), *(torch.randn(2, *shape) for shape in shapes))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer's, about sizes that are constants here
        torch.onnx.export(
            _Drawn(sampler).eval(),
            given,
            str(path),
            input_names=["labels", *names],
            output_names=["images"],
            dynamic_axes={name: {0: "n"} for name in ("labels", *names, "images")},
            opset_version=_OPSET,
            dynamo=False,
        )
