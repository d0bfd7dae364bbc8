"""Save a trained generator, load it, and make images with it. All of it is free: post-processing.

    generator = load_generator("runs/fm")
    images = generator(100, seed=0)                  # (100, 28, 28, 1) uint8, classes balanced
    bags = generator(10, labels=[8] * 10, seed=1)

Files: generator.safetensors (weights) and generator.json (how to build the network). No pickle.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save

from accountant.canonical_json import parse_object
from accountant.files import write_durably
from privgen.errors import ConfigError, RunError
from privgen.methods.gan.networks import Generator, NetworkConfig

SCHEMA = "privgen.generator/1"
_BATCH = 250


def save_generator(generator: Generator, config: NetworkConfig, class_names: Sequence[str], folder: Path) -> None:
    """Write generator.safetensors and generator.json into a folder, each whole or not at all.

    Raises:
        OSError: no room, or the folder cannot be written to.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in generator.state_dict().items()}
    write_durably(folder / "generator.safetensors", save(weights))
    about = {
        "schema": SCHEMA,
        "network": config.to_json(),
        # σ that each block of these weights injects; for the reader, the weights hold it where it is not fixed.
        "upsampling_noise_levels": generator.noise_levels(),
        "class_names": list(class_names),
    }
    write_durably(folder / "generator.json", (json.dumps(about, indent=2, ensure_ascii=False) + "\n").encode())


class LoadedGenerator:
    """A generator that makes uint8 images; see `load_generator`."""

    def __init__(self, network: Generator, config: NetworkConfig, class_names: tuple[str, ...]) -> None:
        self.config = config
        self.class_names = class_names
        self._network = network.eval()

    def to(self, device: torch.device) -> LoadedGenerator:
        """Move it."""
        self._network.to(device)
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
        if chosen.shape != (n,) or not 0 <= chosen.min() <= chosen.max() < self.config.classes:
            raise ConfigError(f"Expected {n} labels from 0 to {self.config.classes - 1}, got {chosen.shape}.")
        device = next(self._network.parameters()).device
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

        z = normal((len(labels), self.config.latent_dim)).to(device)
        images = self._network(z, labels.to(device), normal)  # (n, C, H, W) in [−1, 1]
        pixels = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).cpu().numpy()

    def labels_for(self, n: int) -> NDArray[np.int64]:
        """Balanced labels 0, 1, …, 0, 1, … for n images."""
        return np.arange(n, dtype=np.int64) % self.config.classes


def _stream(key: int, index: int) -> np.random.Generator:
    """Image `index`'s own numbers: a counter-based generator, so streams do not overlap and need no order."""
    return np.random.Generator(np.random.Philox(key=key, counter=index << 192))


def load_generator(run: Path | str) -> LoadedGenerator:
    """The generator of a run.

    Args:
        run: runs/NAME, or its release folder.

    Returns:
        callable(n, labels=None, seed=None) → uint8 images (n, H, W, C).

    Raises:
        RunError: there is none, or its files are damaged.
    """
    run = Path(run)
    folder = run / "release" if (run / "release").is_dir() else run
    try:
        about = parse_object((folder / "generator.json").read_bytes())
        weights = load((folder / "generator.safetensors").read_bytes())
    except OSError as error:
        raise RunError(
            f"There is no trained generator in {folder} ({error.strerror}); train one to its halt by privgen train."
        ) from error
    except (ValueError, SafetensorError) as error:
        raise RunError(f"The generator in {folder} is damaged ({error}).") from error
    if about.get("schema") != SCHEMA:
        raise RunError(f"{folder / 'generator.json'} is of schema {about.get('schema')!r}, not {SCHEMA}.")
    try:
        config = NetworkConfig.from_json(about["network"])
        with torch.random.fork_rng(devices=[]):  # the initial weights are replaced; the caller's state is not ours
            network = Generator(config)
        network.load_state_dict(weights)
        names = tuple(str(name) for name in about["class_names"])
    except (KeyError, TypeError, AttributeError, RuntimeError, ConfigError) as error:
        raise RunError(f"The generator in {folder} is inconsistent: {error}") from error
    if len(names) != config.classes:
        raise RunError(f"The generator in {folder} has {config.classes} classes and {len(names)} names of them.")
    return LoadedGenerator(network, config, names)
