"""A warm start's statistics: one record's influence, the transform, and what is made of noised sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from accountant.plans.warm_start import WarmStart
from privgen.methods.class_mixture.class_sums import encoded, packed, sums_of, take_up, unpacked
from privgen.methods.class_mixture.mixture import ClassMixture

START = WarmStart(
    rounds=2,
    clip_norm=0.5,
    centred_clip_norm=0.25,
    mean_noise_multiplier=10.0,
    cluster_noise_multiplier=8.0,
    covariance_noise_multiplier=2.0,
)


def mixture(clusters: int = 3, channels: int = 1, frequencies: int = 6) -> ClassMixture:
    made = ClassMixture(
        classes=2, image_shape=(channels, 16, 16), clusters=clusters, frequencies=frequencies, latent_dim=20
    )
    made.centres.copy_(0.1 * torch.randn(made.centres.shape, generator=torch.Generator().manual_seed(0)))
    return made


def records(count: int, channels: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random images, white ones, black ones and stripes: the last three are as long as an image can be."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 16, 16, channels), dtype=np.uint8)
    images[1::4] = 255
    images[2::4] = 0
    images[3::4, ::2] = 255
    return images, rng.integers(0, 2, count)


@pytest.mark.parametrize("step", [0, 1, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_one_record_moves_no_sum_by_more_than_was_charged(step: int, channels: int) -> None:
    release, base = START.release_at(step), mixture(channels=channels)
    images, labels = records(24, channels)
    whole = sums_of(release, base, images, labels)
    largest = 0.0
    for index in range(24):
        kept = np.arange(24) != index
        moved = float((whole - sums_of(release, base, images[kept], labels[kept])).norm())
        largest = max(largest, moved)
    assert largest <= release.sensitivity
    assert largest > 0.9 * release.sensitivity  # a white image is as long as it may be: the bound is not idle


def test_a_record_is_in_one_block_alone() -> None:
    images, labels = records(8)
    for step in (0, 1, 3):
        one = sums_of(START.release_at(step), mixture(), images[:1], labels[:1])
        assert int((one.flatten(2).norm(dim=2) > 0).sum()) == 1


def test_packing_keeps_the_length_and_comes_back() -> None:
    half = torch.randn(3, 5, 5, dtype=torch.float64)
    whole = half + half.mT
    assert torch.allclose(packed(whole).norm(dim=1), whole.flatten(1).norm(dim=1))
    assert torch.allclose(unpacked(packed(whole), 5), whole)


def test_codes_are_as_long_as_the_root_mean_square_and_give_the_image_back() -> None:
    images, _ = records(8, channels=3)
    codes = encoded(images, 16)
    assert torch.allclose(codes.norm(dim=1), torch.tensor(images / 255.0).square().mean((1, 2, 3)).sqrt())
    base = ClassMixture(classes=1, image_shape=(3, 16, 16), clusters=1, frequencies=16, latent_dim=2)
    base.centres.copy_(codes[:1])
    shown = base(torch.zeros(1, 2), torch.tensor([0]))[0]
    assert torch.allclose(shown, torch.tensor(images[0]).permute(2, 0, 1) / 127.5 - 1, atol=1e-4)


def test_without_noise_the_mixture_has_the_means_and_covariances_of_its_data() -> None:
    rng = np.random.default_rng(1)
    waves = np.cos(math.pi / 16 * np.outer(np.arange(16) + 0.5, np.arange(1, 3)))  # (16, 2)
    factors = rng.normal(size=(4000, 2)) * [20, 8]
    labels = np.repeat([0, 1], 2000)
    flat = (
        100.0
        + 40 * labels[:, None, None]
        + (factors[:, 0, None] * waves[:, 0])[:, :, None]
        + (factors[:, 1, None] * waves[:, 1])[:, None, :]
    )
    images = np.clip(np.rint(flat), 0, 255).astype(np.uint8)[..., None]
    base = ClassMixture(classes=2, image_shape=(1, 16, 16), clusters=1, frequencies=8, latent_dim=16)
    source = torch.Generator().manual_seed(0)
    quiet = WarmStart(
        rounds=0, clip_norm=2.0, centred_clip_norm=1.0, mean_noise_multiplier=1e-6, cluster_noise_multiplier=1e-6,
        covariance_noise_multiplier=1e-6,
    )  # fmt: skip
    for step, release in enumerate(quiet.releases()):
        take_up(quiet, step, base, sums_of(release, base, images, labels), source)
    y = torch.arange(4000) % 2
    made = base(torch.randn(4000, 16, generator=source), y)[:, 0]
    shown = (made.double() + 1) * 127.5
    for label in (0, 1):
        real = torch.tensor(images[labels == label, :, :, 0], dtype=torch.float64)
        assert torch.allclose(shown[y == label].mean(0), real.mean(0), atol=2.0)
        assert torch.allclose(shown[y == label].std(0), real.std(0), atol=2.0)


def test_clusters_find_two_kinds_of_image_in_a_class() -> None:
    rng = np.random.default_rng(0)
    images = np.zeros((3000, 16, 16, 1), np.uint8)
    images[::3, :8] = 200  # a third is light above, the others are light on the left
    images[1::3, :, :8] = 200
    images[2::3, :, :8] = 200
    images = (images + rng.integers(0, 20, images.shape)).astype(np.uint8)
    base = mixture(clusters=2, frequencies=8)
    start = WarmStart(
        rounds=6, clip_norm=0.7, centred_clip_norm=0.5, mean_noise_multiplier=1.0, cluster_noise_multiplier=1.0,
        covariance_noise_multiplier=1.0,
    )  # fmt: skip
    source, noise = torch.Generator().manual_seed(3), torch.Generator().manual_seed(4)
    labels = np.zeros(3000, np.int64)
    for step, release in enumerate(start.releases()):
        sums = sums_of(release, base, images, labels)
        noisy = sums + release.noise_multiplier * release.sensitivity * torch.randn(
            sums.shape, generator=noise, dtype=torch.float64
        )
        take_up(start, step, base, noisy, source)
    assert sorted(base.weights[0].tolist()) == pytest.approx([1 / 3, 2 / 3], abs=0.05)


def test_pure_noise_leaves_no_direction() -> None:
    base = mixture()
    images, labels = records(0)
    for step, release in enumerate(START.releases()):
        sums = sums_of(release, base, images, labels)
        source = torch.Generator().manual_seed(step)
        noisy = sums + release.noise_multiplier * release.sensitivity * torch.randn(
            sums.shape, generator=source, dtype=torch.float64
        )
        take_up(START, step, base, noisy, source)
    assert all(bool(torch.isfinite(buffer).all()) for buffer in base.buffers())


def test_the_same_latent_vector_gives_the_same_image_and_the_first_number_its_cluster() -> None:
    base = mixture()
    z = torch.randn(50, 20)
    y = torch.zeros(50, dtype=torch.long)
    assert torch.equal(base(z, y), base(z, y))
    z[:, 1:] = 0
    assert len(torch.unique(base(z, y).flatten(1), dim=0)) == 3
