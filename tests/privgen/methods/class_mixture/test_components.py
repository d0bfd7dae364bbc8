"""A warm start with principal components: one record's influence on each release, the margin, what is made of them."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from accountant.plans.exact_release import grid_step_for
from accountant.plans.warm_start import WarmStart
from privgen.methods.class_mixture import class_sums
from privgen.methods.class_mixture.class_sums import COUNTED_TWICE, as_sums, integer_sums
from privgen.methods.class_mixture.component_fit import update_by_components
from privgen.methods.class_mixture.margin import with_margin
from privgen.methods.class_mixture.mixture import ClassMixture
from privgen.methods.class_mixture.statistics import MixtureStatistics

START = WarmStart(
    rounds=1, clip_norm=0.5, centred_clip_norm=0.25, mean_noise_multiplier=1.0, cluster_noise_multiplier=1.0,
    covariance_noise_multiplier=0.5, components=5, component_noise_multiplier=0.5, margin=0.5,
)  # fmt: skip
RELEASES = range(START.steps)


def mixture(channels: int = 1, clusters: int = 2, frequencies: int = 6) -> ClassMixture:
    return ClassMixture(
        classes=2, image_shape=(channels, 16, 16), clusters=clusters, frequencies=frequencies, latent_dim=8,
        components=5, margin=START.margin,
    )  # fmt: skip


def records(count: int, channels: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random images, white ones, black ones, and stripes."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 16, 16, channels), dtype=np.uint8)
    images[1::4] = 255
    images[2::4] = 0
    images[3::4, ::2] = 0
    return images, rng.integers(0, 2, count)


def up_to(step: int, channels: int = 1) -> ClassMixture:
    """A mixture as releases before this one, of other records, have left it."""
    base, source = mixture(channels), torch.Generator().manual_seed(1)
    images, labels = records(400, channels, seed=7)
    for place in range(step):
        release = START.release_at(place)
        h = grid_step_for(release.sensitivity)
        sums = integer_sums(release, base, images, labels, grid_step=h)
        update_by_components(START, place, base, as_sums(sums, grid_step=h), source)
    return base


def integers(step: int, base: ClassMixture, images, labels):
    release = START.release_at(step)
    return integer_sums(release, base, images, labels, grid_step=grid_step_for(release.sensitivity))


def square(sums) -> int:
    return sum(
        (2 if name in COUNTED_TWICE else 1) * sum(int(value) ** 2 for value in tensor.flatten().tolist() if value)
        for name, tensor in sums.items()
    )


def moved_at_most(step: int, channels: int) -> tuple[int, Fraction]:
    """The largest squared move of the sums by one of 16 records, and what was charged, in grid steps."""
    release, base = START.release_at(step), up_to(step, channels)
    images, labels = records(16, channels)
    whole, largest = integers(step, base, images, labels), 0
    for index in range(16):
        kept = np.arange(16) != index
        less = integers(step, base, images[kept], labels[kept])
        largest = max(largest, square({name: whole[name] - less[name] for name in whole}))
    return largest, (Fraction(release.sensitivity) / Fraction(grid_step_for(release.sensitivity))) ** 2


@pytest.mark.parametrize("step", RELEASES)
@pytest.mark.parametrize("channels", [1, 3])
def test_one_record_moves_no_release_by_more_than_was_charged(step: int, channels: int) -> None:
    largest, bound = moved_at_most(step, channels)
    assert 0.5 * bound < largest <= bound  # the bound is not idle


def test_a_record_that_is_added_to_every_class_is_seen(monkeypatch) -> None:
    """What the pooled matrix would cost if its blocks were the classes' and a record were in all of them."""
    original = class_sums.integer_sums

    def of_all_classes(release, base, images, labels, *, grid_step):
        both = [original(release, base, images, np.full_like(labels, y), grid_step=grid_step) for y in (0, 1)]
        return {name: both[0][name] + both[1][name] for name in both[0]}

    monkeypatch.setitem(globals(), "integer_sums", of_all_classes)
    largest, bound = moved_at_most(1, 1)
    assert largest > bound


def test_the_pooled_matrix_sees_a_record_less_the_mean_of_its_own_class() -> None:
    base = up_to(1)
    images, labels = records(1)
    code = torch.from_numpy(_code(images[0, :, :, 0], base))
    whole = START.releases()[1]
    large = type(whole)(kind="components", clip_norm=8.0, sensitivity=64.0, noise_multiplier=1.0)
    found = as_sums(integer_sums(large, base, images, labels, grid_step=2.0**-30), grid_step=2.0**-30)[0, 0, :-1, :-1]
    offset = code - base.offsets[labels[0]].double()
    assert torch.allclose(found, torch.outer(offset, offset), atol=1e-5)


def _code(pixels: np.ndarray, base: ClassMixture) -> np.ndarray:
    lower = with_margin(torch.tensor(pixels).double()[None] / 127.5 - 1, START.margin)[0]
    basis = base.basis.double()
    return ((basis @ ((lower + 1) / 2) @ basis.T) / 16).flatten().numpy()


@pytest.mark.parametrize("channels", [1, 3])
def test_the_margin_of_the_sums_is_that_of_the_images(channels: int) -> None:
    images, _ = records(4, channels)
    images[0, 3:9, 4:12] = 1  # black, too
    base = ClassMixture(classes=1, image_shape=(channels, 16, 16), clusters=1, frequencies=16, latent_dim=2, margin=0.5)
    large = type(START.releases()[0])(kind="means", clip_norm=8.0, sensitivity=8.0, noise_multiplier=1.0)
    for image in images:
        sums = integer_sums(large, base, image[None], np.zeros(1, np.int64), grid_step=2.0**-30)
        base.centres.copy_(as_sums(sums, grid_step=2.0**-30)[:, :, :-1])
        shown = base(torch.zeros(1, 2), torch.tensor([0]))[0]
        scaled = torch.tensor(image).permute(2, 0, 1) / 127.5 - 1
        assert torch.allclose(shown, with_margin(scaled, 0.5), atol=1e-3)
        # Cut to black it is the image, but for the pixels that were 1 of 255.
        assert torch.allclose(shown.clamp(-1, 1), scaled, atol=2 / 255 + 1e-3)


def test_components_are_the_directions_of_the_data_and_noise_is_none() -> None:
    rng = np.random.default_rng(0)
    waves = np.cos(np.pi / 16 * np.outer([1, 3], np.arange(16) + 0.5))
    strong = rng.normal(size=(3000, 1, 1)) * 30 * waves[0][:, None] + rng.normal(size=(3000, 1, 1)) * 12 * waves[1]
    images = np.clip(np.rint(120 + strong), 3, 255).astype(np.uint8)[..., None]
    base, noise = mixture(clusters=1), torch.Generator().manual_seed(2)
    learn(base, images, np.arange(3000) % 2, noise)
    assert int((base.strengths > 0).sum()) == 2
    firsts = {int(base.components[:, j].abs().argmax()) for j in range(2)}
    assert firsts == {1 * 6, 3}  # frequency 1 downwards, frequency 3 across
    made = base(torch.randn(3000, 8, generator=noise), torch.arange(3000) % 2)
    assert float(made.std()) == pytest.approx(float((torch.tensor(images) / 127.5 - 1).std()), rel=0.1)


def test_of_noise_alone_no_direction_is_left_and_everything_is_finite() -> None:
    base = mixture()
    learn(base, *records(0), torch.Generator().manual_seed(2))
    assert not base.strengths.any()
    assert all(bool(torch.isfinite(buffer).all()) for buffer in base.buffers())


def test_clusters_of_one_class_have_covariances_of_their_own() -> None:
    """Half of a class varies downwards and the other half across; without noise each has its own."""
    rng = np.random.default_rng(0)
    wave = np.cos(np.pi / 16 * (np.arange(16) + 0.5))
    images = np.full((4000, 16, 16, 1), 60.0)
    images[::2, :, :, 0] += 100 + rng.normal(size=(2000, 1, 1)) * 15 * wave[:, None]
    images[1::2, :, :, 0] += rng.normal(size=(2000, 1, 1)) * 15 * wave
    base = mixture(clusters=2)
    quiet = WarmStart(
        rounds=4, clip_norm=2.0, centred_clip_norm=1.0, mean_noise_multiplier=1e-6, cluster_noise_multiplier=1e-6,
        covariance_noise_multiplier=1e-6, components=5, component_noise_multiplier=1e-6, margin=0.5,
    )  # fmt: skip
    learn(base, np.clip(images, 3, 255).astype(np.uint8), np.zeros(4000, np.int64), torch.Generator(), start=quiet)
    assert base.weights[0].tolist() == pytest.approx([0.5, 0.5], abs=0.02)
    spread = (base.components @ base.factors[0]).square().sum(2)  # (clusters, codes)
    assert {int(row.argmax()) for row in spread} == {6, 1}
    assert all(float(row.max()) > 20 * float(row[[6, 1]].min()) for row in spread)


def learn(base: ClassMixture, images, labels, noise: torch.Generator, start: WarmStart = START) -> None:
    """All releases with their noise."""
    statistics = MixtureStatistics(base, start, torch.Generator().manual_seed(0))
    for place, release in enumerate(start.releases()):
        h = grid_step_for(release.sensitivity)
        sums = statistics.sums(release, SimpleNamespace(images=images, labels=labels), grid_step=h)
        std = release.noise_multiplier * release.sensitivity / h
        noised = {
            name: whole
            + (
                torch.randn(whole.shape, generator=noise, dtype=torch.float64)
                * std / (2**0.5 if name in COUNTED_TWICE else 1)
            ).floor().long()
            for name, whole in sums.items()
        }  # fmt: skip
        statistics.update(place, noised, grid_step=h)
