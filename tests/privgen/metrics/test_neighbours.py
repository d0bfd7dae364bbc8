"""Neighbours: known answers, brute force, another implementation, and planted copies."""

import numpy as np
import pytest
import torch

from privgen.errors import EvaluationError
from privgen.metrics import neighbours
from privgen.metrics.neighbours import closest_pairs, copying, manifold, nearest


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_a_set_covers_itself(random):
    rows = random.normal(size=(200, 8))
    result = manifold(rows, rows)
    assert (result.precision, result.recall, result.coverage) == (1, 1, 1)
    # Each image is in its own ball and in its neighbours': about k + 1 of them.
    assert result.density == pytest.approx(6 / 5, abs=0.01)


def test_sets_far_apart_share_nothing(random):
    rows = random.normal(size=(100, 8))
    result = manifold(rows, rows + 100)
    assert (result.precision, result.recall, result.density, result.coverage) == (0, 0, 0, 0)


def test_a_collapsed_set_is_precise_and_covers_little(random):
    real = random.normal(size=(300, 4))
    collapsed = real[:1] + random.normal(size=(300, 4)) * 1e-3
    result = manifold(real, collapsed)
    assert result.precision == 1 and result.coverage < 0.1 and result.recall < 0.1


def test_precision_and_recall_equal_torch_fidelity(random):
    fidelity = pytest.importorskip("torch_fidelity.metric_prc")
    real, generated = random.normal(size=(250, 6)), random.normal(size=(250, 6)) * 0.7 + 0.5
    theirs = fidelity.prc_features_to_metric(
        torch.from_numpy(generated), torch.from_numpy(real), prc_neighborhood=3, prc_batch_size=100, verbose=False
    )
    ours = manifold(real, generated)
    assert (ours.precision, ours.recall) == pytest.approx((theirs["precision"], theirs["recall"]), rel=1e-6)


def test_density_and_coverage_equal_the_definition(random):
    real, generated = random.normal(size=(120, 3)), random.normal(size=(80, 3)) + 0.5
    within = np.sort(np.linalg.norm(real[:, None] - real, axis=2), axis=1)[:, 5]
    inside = np.linalg.norm(real[:, None] - generated, axis=2) <= within[:, None]
    result = manifold(real, generated)
    assert result.coverage == pytest.approx(inside.any(1).mean())
    assert result.density == pytest.approx(inside.sum(0).mean() / 5)


def test_blocks_of_any_size_give_the_same(random, monkeypatch):
    real, generated = random.normal(size=(90, 3)), random.normal(size=(70, 3)) + 0.5
    whole, near = manifold(real, generated), nearest(generated, real)
    for size in (1, 640, 1000):  # one row at a time, and blocks that do not divide the rows
        monkeypatch.setattr(neighbours, "_BLOCK", size)
        assert manifold(real, generated) == whole
        np.testing.assert_array_equal(nearest(generated, real).indices, near.indices)


def test_nearest_equals_brute_force_and_a_copy_is_at_zero(random):
    base = (random.normal(size=(1500, 10)) + 1000).astype(np.float32)
    queries = np.concatenate([base[[7, 1400]], (random.normal(size=(1200, 10)) + 1000).astype(np.float32)])
    found = nearest(queries, base)
    apart = np.linalg.norm(queries[:50, None].astype(float) - base.astype(float), axis=2)
    np.testing.assert_array_equal(found.indices[:50], apart.argmin(1))
    np.testing.assert_allclose(found.distances[:50], apart.min(1))
    assert found.distances[:2].tolist() == [0, 0]


def images_of(random, count):
    return random.integers(0, 256, (count, 6, 6, 1), dtype=np.uint8)


def rows_of(images):
    return images.reshape(len(images), -1) / 255


def test_planted_copies_are_found_and_shown_first(random):
    training, held_out, generated = (images_of(random, n) for n in (300, 200, 200))
    generated[[3, 50]] = training[[10, 20]]
    found, fresh = (nearest(rows_of(x), rows_of(training)) for x in (generated, held_out))
    result = copying(found, fresh, images=generated, others=held_out, training=training)
    assert (result.identical, result.held_out_identical) == (2, 0)
    pairs = closest_pairs(found, generated, training, pairs=2)
    np.testing.assert_array_equal(pairs, training[[10, 10, 20, 20]])


def test_fresh_images_are_no_nearer_than_held_out_ones_and_memorised_ones_are(random):
    training, held_out, fresh = (images_of(random, n) for n in (300, 400, 400))
    memorised = np.clip(training[random.integers(0, 300, 400)].astype(int) + 3, 0, 255).astype(np.uint8)
    expected = nearest(rows_of(held_out), rows_of(training))
    results = [
        copying(nearest(rows_of(x), rows_of(training)), expected, images=x, others=held_out, training=training)
        for x in (fresh, memorised)
    ]
    assert results[0].nearer_than_held_out == pytest.approx(0.5, abs=0.08)
    assert results[0].below_first_percent < 0.05
    assert results[1].nearer_than_held_out == 1 and results[1].below_first_percent == 1


def test_too_few_images_and_other_widths_are_refused(random):
    rows = random.normal(size=(10, 3))
    with pytest.raises(EvaluationError, match="more than k=5"):
        manifold(rows[:5], rows)
    with pytest.raises(EvaluationError, match="one extractor"):
        manifold(rows, rows[:, :2])
    with pytest.raises(EvaluationError, match="one extractor"):
        nearest(rows, rows[:0])
