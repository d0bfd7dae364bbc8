"""Measures that once were wrong, or said too little to be read rightly."""

import numpy as np
import pytest
import scipy.linalg
import torch
from click.testing import CliRunner

from privgen.cli import main, task_bars
from privgen.metrics import neighbours
from privgen.metrics.fid import frechet_distance, gaussian_statistics
from privgen.metrics.neighbours import manifold
from privgen.metrics.protocols import PROTOCOLS


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_identical_sets_with_duplicates_are_precise_and_covered_entirely(scale):
    """Precision was 0.985: where an image is repeated its ball has radius 0, and rounding put a copy outside."""
    generator = np.random.default_rng(0)
    rows = (generator.random((300, 784)) * scale + scale).astype(np.float32)
    rows[100:] = rows[generator.integers(0, 20, 200)]  # each of twenty images about ten times
    found = manifold(rows, rows)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)


def test_no_rounding_that_a_product_of_matrices_may_do_puts_a_copy_outside_its_own_ball(monkeypatch):
    """Each squared distance is off by as much as its bound allows, as on a machine whose products round otherwise."""
    exact, toss = neighbours._squared, torch.Generator().manual_seed(0)

    def rounded(x, y):
        bound = (x.shape[1] + 3) * 2.0**-53 * (x.norm(dim=1)[:, None] + y.norm(dim=1)) ** 2
        noise = 2 * torch.rand(bound.shape, generator=toss, dtype=torch.float64) - 1
        return (exact(x, y) + bound * noise).clamp_(min=0)

    monkeypatch.setattr(neighbours, "_squared", rounded)
    rows = np.repeat(np.random.default_rng(0).random((200, 64)), 2, axis=0)
    found = manifold(rows, rows, k_precision=1, k_coverage=1)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)


def test_images_beside_the_real_ones_are_still_outside_their_balls():
    """What is allowed for rounding is far below a step of one pixel."""
    generator = np.random.default_rng(1)
    real = np.repeat(generator.integers(0, 256, (20, 64)), 10, axis=0).astype(np.float32) / 255
    near = real.copy()
    near[:, 0] += np.float32(1 / 255)
    assert manifold(real, near).precision == 0


@pytest.mark.parametrize(("few", "many"), [(5, 200), (30, 31), (40, 300), (200, 5)])
def test_fid_of_few_images_is_that_of_the_whole_root(few, many):
    generator = np.random.default_rng(few)
    one, other = (
        gaussian_statistics([generator.normal(size=(count, 40)) * np.linspace(0.1, 2, 40)]) for count in (few, many)
    )
    apart = one.mean - other.mean
    root = np.trace(scipy.linalg.sqrtm(one.covariance @ other.covariance).real)
    expected = apart @ apart + np.trace(one.covariance) + np.trace(other.covariance) - 2 * root
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-5)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


def test_few_real_images_ask_for_fewer_generated_ones_and_the_protocol_says_that_it_departs():
    protocol = PROTOCOLS["privgen-1"]
    assert [protocol.enough(real) for real in (1, 117, 1437, 60000)] == [1000, 1170, 10000, 10000]
    assert protocol.deviations(samples=1170, features=None) == ("1170 images instead of 10000",)


def test_an_accuracy_stands_beside_what_a_guess_gets_right(digits, tmp_path):
    mostly = np.flatnonzero((digits.test.labels == 3) | (np.arange(len(digits.test.labels)) % 7 == 0))
    np.savez(tmp_path / "made.npz", images=digits.test.images[mostly], labels=digits.test.labels[mostly])
    arguments = ["--dataset", "digits", "--metrics", "gen2real,real2gen", "--classifier", "logreg", "--threads", "1"]
    done = CliRunner().invoke(main, ["evaluate", str(tmp_path / "made.npz"), *arguments, "--out", str(tmp_path / "o")])
    assert done.exit_code == 0, done.output
    real = np.bincount(digits.test.labels).max() / len(digits.test.labels)
    made = np.bincount(digits.test.labels[mostly]).max() / len(mostly)
    said = " ".join(done.stdout.split())
    assert f"guessing the commonest class: {real:.2%}" in said
    assert made > 0.3 and f"guessing the commonest class: {made:.2%}" in said


@pytest.mark.parametrize("device", ["nonsense", "meta", "cuda:99", "hpu", "mps", "cpu:x", ""])
@pytest.mark.parametrize("command", ["evaluate", "train", "sample"])
def test_a_device_that_is_not_there_is_one_short_line_of_wrong_usage(device, command, lab, halted_run, npz_file):
    arguments = {
        "evaluate": [npz_file, "--dataset", npz_file],
        "train": ["--plan", halted_run / "release" / "plan.json", "--dataset", npz_file, "--out", "none"],
        "sample": [halted_run, "--out", "x.png"],
    }[command]
    done = CliRunner().invoke(main, [command, *map(str, arguments), "--device", device])
    assert done.exit_code == 2, done.output
    assert done.stderr.splitlines()[-1].startswith("Error: Invalid value for --device: ")
    assert len(done.stderr.splitlines()) == 4 and len(done.stderr.splitlines()[-1]) < 300


def test_an_evaluation_that_is_piped_says_what_it_does_and_how_long_it_will_take(monkeypatch):
    lines, now = [], [0.0]
    monkeypatch.setattr(task_bars, "_say", lines.append)
    with task_bars.task_bars(clock=lambda: now[0]) as update:
        update("nearest images", 0, 100)
        for done in (10, 20, 100):
            now[0] += 40
            update("nearest images", done, 100)
        update("KID", 1, 1)
    assert lines == [
        "nearest images ...",
        "nearest images: 10 of 100, about 6 min 0 s left",
        "nearest images: 20 of 100, about 5 min 20 s left",
        "nearest images: done in 2 min 0 s",
        "KID: done in under a second",
    ]
