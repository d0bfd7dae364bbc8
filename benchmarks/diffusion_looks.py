"""How a diffusion run's images look: beside real ones and those of the mixture alone, by eye and by two distances.

    python benchmarks/diffusion_looks.py RUN --dataset fashion-mnist --out FOLDER [--images 2000]

FOLDER gets looks.png (one class a column: three rows of real training images, three of the mixture alone, three of the
run), mixture.npz (10 000 images of the released mixture: what the run would release without its network) and
distances.json: the Fréchet distance of N images of each kind to the first N real test images, by EfficientNet-Lite0 and
by the LeNet. It reads real images without privacy.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from privgen.data import ImageData, load_data
from privgen.data.export import write_grid
from privgen.generate import load_generator
from privgen.methods.diffusion.release import DiffusionSampler
from privgen.metrics.cache import Cache, user_cache
from privgen.metrics.features import Extractor
from privgen.metrics.fid import frechet_distance, gaussian_statistics
from privgen.metrics.reference import make_extractor

_ROWS, _MIXTURE = 3, 10_000


@torch.no_grad()
def mixture_images(sampler: DiffusionSampler, labels: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
    """Draws from the mixture, without its floor, (n, H, W, C): what the warm start alone would release."""
    denoiser, source = sampler.denoiser, torch.Generator().manual_seed(seed)
    made = []
    for chosen in torch.from_numpy(labels).split(250):
        z = torch.randn(len(chosen), denoiser.config.latent_dim, generator=source)
        images = denoiser.mixture(z, chosen)
        made.append(((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy())
    return np.concatenate(made)


def some_of_each_class(data: ImageData, each: int) -> NDArray[np.uint8]:
    """The first images of each class, one class a column."""
    rows = [np.flatnonzero(data.labels == y)[:each] for y in range(len(data.class_names))]
    return data.images[np.stack(rows, 1).flatten()]


def distance(extractor: Extractor, images: NDArray[np.uint8], real: NDArray[np.uint8]) -> float:
    """Fréchet distance of the unscaled features."""
    one, other = (gaussian_statistics([extractor.features(part)]) for part in (images, real))
    return frechet_distance(one, other)


def main() -> None:
    """Write the grid, the mixture's images and the distances."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=2000)
    given = parser.parse_args()
    data, generator = load_data(given.dataset), load_generator(given.run)
    sampler = generator.sampler
    if not isinstance(sampler, DiffusionSampler):
        parser.error(f"{given.run} is not a run of method diffusion")
    given.out.mkdir(parents=True, exist_ok=True)
    classes = len(generator.class_names)
    mixture_labels = np.arange(_MIXTURE) % classes
    mixture = mixture_images(sampler, mixture_labels, seed=1)
    np.savez(given.out / "mixture.npz", images=mixture, labels=mixture_labels)
    begun = time.process_time()
    images = generator(given.images, seed=1)
    print(f"sampling: {1e3 * (time.process_time() - begun) / given.images:.1f} ms of processor time an image")
    shown = [some_of_each_class(data.train, _ROWS), mixture[: _ROWS * classes], images[: _ROWS * classes]]
    write_grid(np.concatenate(shown), given.out / "looks.png", columns=classes)
    random = np.random.default_rng(0)
    train = data.train.images[np.sort(random.permutation(len(data.train.labels))[: given.images])]
    test = data.test.images[: given.images]
    kinds = {"real training images": train, "mixture alone": mixture[: given.images], "diffusion": images}
    found = {}
    for name in ("imagenet", "lenet"):
        extractor = make_extractor(name, data, cache=Cache(user_cache()))
        found[extractor.name] = {kind: distance(extractor, those, test) for kind, those in kinds.items()}
        print(extractor.name, {kind: round(value, 2) for kind, value in found[extractor.name].items()}, flush=True)
    (given.out / "distances.json").write_text(json.dumps({"images": given.images, **found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
