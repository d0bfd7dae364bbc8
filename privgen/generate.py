"""Save a trained generator, load it, and make images with it. All of it is free: post-processing.

    generator = load_generator("runs/fm")
    images = generator(100, seed=0)                  # (100, 28, 28, 1) uint8, classes balanced
    bags = generator(10, labels=[8] * 10, seed=1)

Files: generator.safetensors (weights) and generator.json (how to build the network). No pickle.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from accountant.canonical_json import parse_object
from accountant.files import write_durably
from privgen.catalogue import method_named
from privgen.errors import ConfigError, RunError

SCHEMA = "privgen.generator/1"
# What releases of before there were others are of, and do not say.
FIRST_METHOD = "gan"
_WEIGHTS, _ABOUT = "generator.safetensors", "generator.json"
_BATCH = 250
Normal = Callable[[Sequence[int]], Tensor]


class ImageSampler(nn.Module):
    """What makes images of a released method, in a form that `LoadedGenerator` drives.

    Args:
        classes: how many, >= 1.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, labels: Tensor, normal: Normal) -> Tensor:
        """One image of each label.

        Args:
            labels: (n,) int64, on the sampler's device.
            normal: gives standard normal numbers of a shape (n, ...) on the CPU: row i of image i's own stream, the
                next ones at each call. No other randomness may be used.

        Returns:
            (n, C, H, W) in [−1, 1].
        """
        raise NotImplementedError


def write_release(folder: Path, weights: Mapping[str, Tensor], about: Mapping[str, Any]) -> tuple[str, ...]:
    """Write generator.safetensors and generator.json into a folder, each whole or not at all; their names.

    Args:
        weights: by name. about: JSON with `method`, `class_names`, and what the method's `sampler` needs.

    Raises:
        OSError: no room, or the folder cannot be written to.
    """
    write_durably(folder / _WEIGHTS, tensor_bytes(weights))
    text = json.dumps({"schema": SCHEMA, **about}, indent=2, ensure_ascii=False) + "\n"
    write_durably(folder / _ABOUT, text.encode())
    return _WEIGHTS, _ABOUT


def tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors as a safetensors file; those that share memory, such as tied weights, each by itself."""
    return save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})


class LoadedGenerator:
    """A generator that makes uint8 images; see `load_generator`."""

    def __init__(self, sampler: ImageSampler, class_names: tuple[str, ...]) -> None:
        self.class_names = class_names
        self.sampler = sampler.eval()

    def to(self, device: torch.device) -> LoadedGenerator:
        """Move it."""
        self.sampler.to(device)
        return self

    def __call__(
        self,
        n: int,
        labels: Sequence[int] | NDArray[np.int64] | None = None,
        seed: int | None = None,
        *,
        on_batch: Callable[[int], object] = lambda made: None,
    ) -> NDArray[np.uint8]:
        """n images.

        Args:
            n: how many, >= 1. labels: one a class index for each image, or None for balanced ones (`labels_for`).
            seed: 0 <= seed < 2^128; None draws a fresh one. Image i depends on the seed, i and its label alone, not
                on n or on the other labels. Another number of threads or another device sums in another order,
                which may move a pixel by one.
            on_batch: called with the number made after each batch, for progress.

        Returns:
            (n, H, W, C) uint8.

        Raises:
            ConfigError: n, a label or the seed is out of range.
        """
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise ConfigError(f"Expected n={n!r} to be an integer >= 1.")
        chosen = self.labels_for(int(n)) if labels is None else np.asarray(labels)
        if not np.issubdtype(chosen.dtype, np.integer):
            raise ConfigError(f"Expected labels to be integers, got {chosen.dtype}.")
        chosen = chosen.astype(np.int64)
        if chosen.shape != (n,) or not 0 <= chosen.min() <= chosen.max() < self.sampler.classes:
            raise ConfigError(f"Expected {n} labels from 0 to {self.sampler.classes - 1}, got {chosen.shape}.")
        device = next(self.sampler.parameters()).device
        key = secrets.randbits(128) if seed is None else int(seed)
        if not 0 <= key < 2**128:
            raise ConfigError(f"Expected seed={seed!r} to be from 0 to 2^128 − 1.")
        made = []
        for at in range(0, n, _BATCH):
            batch = torch.from_numpy(chosen[at : at + _BATCH])
            made.append(self._batch(batch, [_stream(key, at + row) for row in range(len(batch))], device))
            on_batch(min(n, at + _BATCH))
        return np.concatenate(made)

    @torch.no_grad()
    def _batch(
        self, labels: torch.Tensor, streams: list[np.random.Generator], device: torch.device
    ) -> NDArray[np.uint8]:
        def normal(shape: Sequence[int]) -> torch.Tensor:
            """A row from each image's own stream, always made on the CPU."""
            rows = [stream.standard_normal(tuple(shape[1:]), dtype=np.float32) for stream in streams]
            return torch.from_numpy(np.stack(rows))

        images = self.sampler(labels.to(device), normal)  # (n, C, H, W) in [−1, 1]
        pixels = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        made: NDArray[np.uint8] = pixels.permute(0, 2, 3, 1).cpu().numpy()
        return made

    def labels_for(self, n: int) -> NDArray[np.int64]:
        """Balanced labels 0, 1, …, 0, 1, … for n images."""
        return np.arange(n, dtype=np.int64) % self.sampler.classes


def _stream(key: int, index: int) -> np.random.Generator:
    """Image `index`'s own numbers: a counter-based generator, so streams do not overlap and need no order."""
    return np.random.Generator(np.random.Philox(key=key, counter=index << 192))


def load_generator(run: Path | str, *, without_privacy: bool = False) -> LoadedGenerator:
    """The generator of a run.

    Args:
        run: runs/NAME, or its release folder.
        without_privacy: load one that was trained without privacy too (`privgen baseline privacy-free`): to measure it,
            never to give its images away.

    Returns:
        callable(n, labels=None, seed=None) → uint8 images (n, H, W, C).

    Raises:
        RunError: there is none, or its files are damaged.
    """
    run = Path(run)
    folder = run / "release" if (run / "release").is_dir() else run
    if (folder / "model.json").exists():
        raise RunError(f"{folder} has a model and no generator; load model.safetensors into the model.")
    try:
        about: dict[str, Any] = parse_object((folder / _ABOUT).read_bytes())
        weights = load((folder / _WEIGHTS).read_bytes())
    except OSError as error:
        raise RunError(
            f"There is no trained generator in {folder} ({error.strerror}); train one to its halt by privgen train."
        ) from error
    except (ValueError, SafetensorError) as error:
        raise RunError(f"The generator in {folder} is damaged ({error}).") from error
    if about.get("schema") != SCHEMA:
        raise RunError(f"{folder / _ABOUT} is of schema {about.get('schema')!r}, not {SCHEMA}.")
    try:
        method = method_named(str(about.get("method", FIRST_METHOD)))
        if method.without_privacy and not without_privacy:
            raise RunError(
                f"{folder} was trained WITHOUT PRIVACY, as a ceiling to compare with: its images may show records, and "
                "none are made. Measure it by privgen evaluate; train what may be released by privgen train."
            )
        with torch.random.fork_rng(devices=[]):  # the initial weights are replaced; the caller's state is not ours
            sampler = method.sampler(about, weights)
        names = tuple(str(name) for name in about["class_names"])
    except (KeyError, TypeError, AttributeError, RuntimeError, ConfigError) as error:
        raise RunError(f"The generator in {folder} is inconsistent: {error}") from error
    if len(names) != sampler.classes:
        raise RunError(f"The generator in {folder} has {sampler.classes} classes and {len(names)} names of them.")
    return LoadedGenerator(sampler, names)
