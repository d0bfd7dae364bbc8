"""FID and KID: known answers, and two other implementations on the same features."""

import numpy as np
import pytest
import torch

from privgen.errors import EvaluationError
from privgen.metrics.fid import frechet_distance, gaussian_statistics, kernel_distance


@pytest.fixture(scope="module")
def features():
    """Two correlated sets of different size, mean and covariance."""
    random = np.random.default_rng(0)
    mix = random.normal(size=(24, 24)) / 5
    one = random.normal(size=(700, 24)) @ mix + 0.3
    other = np.maximum(random.normal(size=(500, 24)) @ mix.T, 0)
    return one.astype(np.float32), other.astype(np.float32)


def test_identical_sets_are_at_distance_zero(features):
    statistics = gaussian_statistics([features[0]])
    assert frechet_distance(statistics, statistics) == pytest.approx(0, abs=1e-9)


def test_a_singular_covariance_is_no_trouble():
    rows = np.random.default_rng(0).normal(size=(10, 60))  # rank 9 of 60
    statistics = gaussian_statistics([rows])
    assert frechet_distance(statistics, statistics) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("scale, shift", [(1.0, 2.0), (3.0, 0.0), (0.5, -1.5)])
def test_scaled_and_shifted_gaussians_have_the_closed_form(scale, shift):
    # With commuting covariances FID = |shift|² + Σ (σ1 − σ2)², Dowson & Landau 1982.
    rows = np.random.default_rng(1).normal(size=(400, 5)) * [1, 2, 3, 4, 5]
    rows -= rows.mean(0)
    one, other = gaussian_statistics([rows]), gaussian_statistics([rows * scale + shift])
    expected = 5 * shift**2 + (1 - scale) ** 2 * np.trace(one.covariance)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9)


def test_the_distance_is_symmetric(features):
    one, other = (gaussian_statistics([f]) for f in features)
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one), rel=1e-9)


def test_streaming_equals_numpy_whatever_the_chunks(features):
    rows = features[0].astype(np.float64) + 1e4  # a mean that would cancel in a sum of squares of float32
    for size in (1, 7, 300, 700):
        statistics = gaussian_statistics(rows[at : at + size] for at in range(0, 700, size))
        assert statistics.count == 700
        np.testing.assert_allclose(statistics.mean, rows.mean(0), rtol=1e-12)
        np.testing.assert_allclose(statistics.covariance, np.cov(rows, rowvar=False), rtol=1e-7, atol=1e-9)


def test_fid_equals_torch_fidelity_and_torchmetrics(features):
    fidelity = pytest.importorskip("torch_fidelity.metric_fid")
    reference = pytest.importorskip("torchmetrics.image.fid")
    ours = frechet_distance(*(gaussian_statistics([f]) for f in features))
    # They take covariances in the type given; ours are float64.
    statistics = [fidelity.fid_features_to_statistics(torch.from_numpy(f).double()) for f in features]
    theirs = fidelity.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert ours == pytest.approx(theirs, rel=1e-3)
    metric = reference.FrechetInceptionDistance(feature=Same(24), input_img_size=(1, 1, 24))
    metric.set_dtype(torch.float64)
    for rows, real in zip(features, (True, False), strict=True):
        metric.update(torch.from_numpy(rows)[:, None, None], real=real)
    assert ours == pytest.approx(float(metric.compute()), rel=1e-3)


class Same(torch.nn.Module):
    """Features that are the images."""

    def __init__(self, width):
        super().__init__()
        self.num_features = width

    def forward(self, images):
        return images.flatten(1).double()


def test_kid_equals_torch_fidelity_and_torchmetrics(features):
    fidelity = pytest.importorskip("torch_fidelity.metric_kid")
    reference = pytest.importorskip("torchmetrics.image.kid")
    one, other = features[0][:500], features[1]
    # One subset of everything leaves nothing to chance.
    ours = kernel_distance(one, other, subsets=1, subset_size=500)
    theirs = fidelity.kid_features_to_metric(
        torch.from_numpy(one), torch.from_numpy(other), kid_subsets=1, kid_subset_size=500, verbose=False
    )
    assert ours.mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-3)
    mmd = reference.poly_mmd(torch.from_numpy(one), torch.from_numpy(other))
    assert ours.mean == pytest.approx(float(mmd), rel=1e-3)


def test_kid_of_two_halves_of_one_set_is_about_zero_and_of_different_sets_is_not(features):
    halves = kernel_distance(features[0][:350], features[0][350:], subsets=20, subset_size=200)
    apart = kernel_distance(features[0], features[1], subsets=20, subset_size=200)
    assert abs(halves.mean) < 0.05 * apart.mean


def test_a_subset_is_no_larger_than_the_smaller_set(features):
    assert kernel_distance(features[0][:30], features[1], subsets=2).subset_size == 30


def test_what_cannot_be_compared_is_refused(features):
    wide, narrow = gaussian_statistics([features[0]]), gaussian_statistics([features[0][:, :3]])
    with pytest.raises(EvaluationError, match="24 and 3 features"):
        frechet_distance(wide, narrow)
    with pytest.raises(EvaluationError, match="at least 2"):
        gaussian_statistics([features[0][:1]])
    with pytest.raises(EvaluationError, match="finite"):
        gaussian_statistics([np.array([[1.0], [np.nan], [2.0]])])
    with pytest.raises(EvaluationError, match="one extractor"):
        kernel_distance(features[0], features[1][:, :3])
