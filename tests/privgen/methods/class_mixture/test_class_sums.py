"""A warm start's statistics: one record's influence, the transform, and what is made of noised sums."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from accountant.plans.exact_release import grid_step_for
from accountant.plans.warm_start import WarmRelease, WarmStart
from privgen.methods.class_mixture.class_sums import COUNTED_TWICE, as_sums, integer_sums
from privgen.methods.class_mixture.mixture import ClassMixture
from privgen.methods.class_mixture.mixture_fit import update_mixture

START = WarmStart(
    rounds=2,
    clip_norm=0.5,
    centred_clip_norm=0.25,
    mean_noise_multiplier=10.0,
    cluster_noise_multiplier=8.0,
    covariance_noise_multiplier=2.0,
)


def integers(release, base, images, labels):
    return integer_sums(release, base, images, labels, grid_step=grid_step_for(release.sensitivity))


def sums_of(release, base, images, labels):
    return as_sums(integers(release, base, images, labels), grid_step=grid_step_for(release.sensitivity))


def noised(release, sums, generator):
    """With noise as it is released: half the variance off the diagonal of a symmetric matrix."""
    noise = torch.randn(sums.shape, generator=generator, dtype=torch.float64)
    if sums.dim() == 4:
        noise = (noise + noise.mT) / 2
    return sums + release.noise_multiplier * release.sensitivity * noise


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


def square(sums):
    """Squared length in grid steps, in Python's integers; what stands for two numbers counts twice."""
    return sum(
        (2 if name in COUNTED_TWICE else 1) * sum(int(value) ** 2 for value in tensor.flatten().tolist() if value)
        for name, tensor in sums.items()
    )


@pytest.mark.parametrize("step", [0, 1, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_one_record_moves_no_sum_by_more_than_was_charged(step: int, channels: int) -> None:
    """And by its own vector exactly: the sums with and without it differ by what it adds alone."""
    release, base = START.release_at(step), mixture(channels=channels)
    images, labels = records(24, channels)
    whole = integers(release, base, images, labels)
    bound = (Fraction(release.sensitivity) / Fraction(grid_step_for(release.sensitivity))) ** 2
    largest = 0
    for index in range(24):
        kept = np.arange(24) != index
        less = integers(release, base, images[kept], labels[kept])
        own = integers(release, base, images[index : index + 1], labels[index : index + 1])
        moved = {name: whole[name] - less[name] for name in whole}
        assert all(torch.equal(moved[name], own[name]) for name in whole)
        largest = max(largest, square(moved))
    assert largest <= bound
    assert largest > 0.8 * bound  # a white image is as long as it may be: the bound is not idle


def test_norms_are_rounded_up_and_weights_down() -> None:
    """On a grid so fine that what is cut off is less than what floating point rounds: an image of one grey has but two
    numbers that are cut, and some of these came out a last place too long."""
    base = ClassMixture(classes=1, image_shape=(1, 16, 16), clusters=1, frequencies=2, latent_dim=4)
    for trial, clip_norm in enumerate(np.random.default_rng(0).uniform(0.01, 0.5, 300)):
        step = 2.0 ** (math.floor(math.log2(clip_norm)) - 51)
        release = WarmRelease(kind="means", clip_norm=clip_norm, sensitivity=clip_norm, noise_multiplier=1.0)
        images = np.full((1, 16, 16, 1), 150 + trial % 106, np.uint8)
        found = integer_sums(release, base, images, np.zeros(1, np.int64), grid_step=step)
        assert square(found) <= (Fraction(clip_norm) / Fraction(step)) ** 2


def test_a_record_of_a_class_that_is_not_listed_adds_nothing() -> None:
    images, _ = records(4)
    for step in (0, 1, 3):
        found = integers(START.release_at(step), mixture(), images, np.array([2, -1, 7, 2]))
        assert not any(bool(tensor.any()) for tensor in found.values())


def test_a_record_is_in_one_block_alone() -> None:
    images, labels = records(8)
    for step in (0, 1, 3):
        one = sums_of(START.release_at(step), mixture(), images[:1], labels[:1])
        assert int((one.flatten(2).norm(dim=2) > 0).sum()) == 1


def test_codes_are_as_long_as_the_root_mean_square_and_give_the_image_back() -> None:
    images, _ = records(8, channels=3)
    base = ClassMixture(classes=1, image_shape=(3, 16, 16), clusters=1, frequencies=16, latent_dim=2)
    whole = WarmRelease(kind="means", clip_norm=8.0, sensitivity=8.0, noise_multiplier=1.0)
    codes = torch.cat([sums_of(whole, base, images[i : i + 1], np.zeros(1, np.int64))[0, :, :-1] for i in range(8)])
    lengths = torch.tensor(images / 255.0).square().mean((1, 2, 3)).sqrt()
    assert torch.allclose(codes.norm(dim=1), lengths, atol=1e-4)
    base.centres.copy_(codes[:1])
    shown = base(torch.zeros(1, 2), torch.tensor([0]))[0]
    assert torch.allclose(shown, torch.tensor(images[0]).permute(2, 0, 1) / 127.5 - 1, atol=1e-3)


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
        update_mixture(quiet, step, base, sums_of(release, base, images, labels), source)
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
        noisy = noised(release, sums, noise)
        update_mixture(start, step, base, noisy, source)
    assert sorted(base.weights[0].tolist()) == pytest.approx([1 / 3, 2 / 3], abs=0.05)


def test_pure_noise_leaves_no_direction() -> None:
    base = mixture()
    images, labels = records(0)
    for step, release in enumerate(START.releases()):
        sums = sums_of(release, base, images, labels)
        source = torch.Generator().manual_seed(step)
        noisy = noised(release, sums, source)
        update_mixture(START, step, base, noisy, source)
    assert all(bool(torch.isfinite(buffer).all()) for buffer in base.buffers())


def test_the_same_latent_vector_gives_the_same_image_and_the_first_number_its_cluster() -> None:
    base = mixture()
    z = torch.randn(50, 20)
    y = torch.zeros(50, dtype=torch.long)
    assert torch.equal(base(z, y), base(z, y))
    z[:, 1:] = 0
    assert len(torch.unique(base(z, y).flatten(1), dim=0)) == 3


@pytest.mark.parametrize("own", [0, 1])
def test_a_record_is_centred_by_its_own_class_and_by_no_other(own: int) -> None:
    """Another class's centre may lie right on it: it is not looked at, neither for where it is near nor for what it
    is centred by."""
    images, _ = records(3)
    images, labels = images[:1], np.array([own])
    whole = WarmRelease(kind="means", clip_norm=8.0, sensitivity=8.0, noise_multiplier=1.0)
    code = sums_of(whole, mixture(), images, labels)[own, 0, :-1]
    far = 0.1 * code
    release = WarmRelease(kind="clusters", clip_norm=8.0, sensitivity=8.0, noise_multiplier=1.0)
    base = mixture()
    base.centres[own, :] = code + 3 * far
    base.centres[own, 1] = code + far  # the nearest of its own class
    base.centres[1 - own, 0] = code  # of the other class: nothing would be left of the record
    base.centres[1 - own, 1] = code - 30 * far
    found = sums_of(release, base, images, labels)
    assert int((found.flatten(2).norm(dim=2) > 0).sum()) == 1
    assert torch.allclose(found[own, 1, :-1], (-far).double(), atol=1e-4)
