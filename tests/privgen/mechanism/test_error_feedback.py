"""Error feedback: its limits, and the sensitivity that the theorem charges for (DESIGN 3.1 and 3.2)."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from accountant import Part
from privgen.mechanism.error_feedback import (
    banded_weights,
    exchange,
    owed_error,
    paper_error,
    paper_exchange,
    paper_weights,
)

LIKE = {"w": torch.zeros(3), "b": torch.zeros(2)}
ZERO = {name: torch.zeros_like(t) for name, t in LIKE.items()}


def random_sums(generator, scale=1.0):
    return {name: scale * torch.randn(t.shape, generator=generator) for name, t in LIKE.items()}


def flat(sums):
    return torch.cat([sums["w"], sums["b"]])


@settings(max_examples=200, deadline=None)
@given(
    norm=st.floats(0, 2.0**100, width=32),
    clip=st.floats(1e-6, 1e6),
    residual=st.one_of(st.just(math.inf), st.floats(0, 1e6)),
)
def test_weights_keep_both_norms_within_their_bounds(norm, clip, residual):
    a, r = banded_weights(torch.tensor([norm]), clip_norm=clip, residual_clip_norm=residual)
    assert 0 <= float(a) * norm <= clip
    assert 0 <= float(r) * norm <= residual
    assert float(a) + float(r) <= 1 + 1e-6


def test_small_gradients_are_kept_whole():
    a, r = banded_weights(torch.tensor([0.0, 0.3]), clip_norm=1.0, residual_clip_norm=5.0)
    assert a.tolist() == [1.0, 1.0]
    assert r.tolist() == [0.0, 0.0]


def test_one_band_is_dp_sgd_and_no_residual_is_its_update():
    generator = torch.Generator().manual_seed(0)
    single, without = owed_error(LIKE, 1), owed_error(LIKE, 4)
    for _ in range(9):
        clipped = random_sums(generator)
        assert torch.equal(flat(exchange(single, clipped, random_sums(generator))), flat(clipped))
        assert torch.equal(flat(exchange(without, clipped, ZERO)), flat(clipped))


@pytest.mark.parametrize("bands", [2, 3, 4, 7, 16])
def test_the_window_is_the_plain_sum_of_the_last_k(bands):
    generator = torch.Generator().manual_seed(bands)
    owed, pushed, window = owed_error(LIKE, bands), [], bands - 1
    for _ in range(5 * bands):
        released = exchange(owed, ZERO, residual := random_sums(generator))
        expected = sum((flat(r) for r in pushed[-window:]), torch.zeros(5)) / window
        assert torch.allclose(flat(released), expected, atol=1e-5)
        pushed.append(residual)


@pytest.mark.parametrize("bands", [2, 4, 9])
def test_without_noise_and_bounds_nothing_is_lost(bands):
    """The updates plus what is owed sum to all unclipped gradients."""
    generator = torch.Generator().manual_seed(1)
    owed, given_in, paid = owed_error(LIKE, bands), torch.zeros(5), torch.zeros(5)
    for _ in range(37):
        clipped, residual = random_sums(generator), random_sums(generator)
        paid += flat(exchange(owed, clipped, residual))
        given_in += flat(clipped) + flat(residual)
    for _ in range(bands - 1):
        paid += flat(exchange(owed, ZERO, ZERO))
    assert torch.allclose(paid, given_in, atol=1e-3)


@pytest.mark.parametrize("bands", [2, 3, 4, 8])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_one_draw_of_a_record_moves_all_outputs_by_no_more_than_was_charged(bands, scale):
    """Two runs that differ in one draw of one record, at any place in the cycle, whatever the others do."""
    part = Part(name="critic", clip_norm=0.25, residual_clip_norm=0.75, noise_multiplier=1.0)
    for start in range(2 * bands):
        generator = torch.Generator().manual_seed(start)
        gradient = scale * torch.randn(5, generator=generator)
        a, r = banded_weights(gradient.norm()[None], clip_norm=0.25, residual_clip_norm=0.75)
        mine = [{"w": (w * gradient)[:3], "b": (w * gradient)[3:]} for w in (a, r)]
        with_it, without = owed_error(LIKE, bands), owed_error(LIKE, bands)
        moved = 0.0
        for step in range(5 * bands):
            clipped, residual = random_sums(generator), random_sums(generator)
            plain = flat(exchange(without, clipped, residual))
            if step == start:
                clipped = {n: t + mine[0][n] for n, t in clipped.items()}
                residual = {n: t + mine[1][n] for n, t in residual.items()}
            difference = flat(exchange(with_it, clipped, residual)) - plain
            moved += float(difference.double().square().sum())
            if step >= start + bands:
                assert float(difference.abs().max()) == 0.0, "a record is felt after its block"
        assert math.sqrt(moved) <= part.sensitivity(bands) * (1 + 1e-4)


def test_a_departed_record_leaves_no_bit_behind():
    """A huge residual swallows what is added to it; when it leaves, what it swallowed must not be missing."""
    bands = 4
    owed, plain = owed_error(LIKE, bands), owed_error(LIKE, bands)
    generator = torch.Generator().manual_seed(0)
    for step in range(20):
        residual = random_sums(generator)
        huge = {n: torch.full_like(t, 1e30) for n, t in residual.items()} if step == 5 else residual
        one = flat(exchange(owed, ZERO, huge))
        other = flat(exchange(plain, ZERO, residual))
        if step > 5 + bands - 1:
            assert torch.equal(one, other)


def test_state_goes_into_tensors_and_comes_back():
    generator = torch.Generator().manual_seed(0)
    for steps in range(8):
        first = owed_error(LIKE, 4)
        for _ in range(steps):
            exchange(first, ZERO, random_sums(generator))
        second = owed_error(LIKE, 4)
        second.restore({name: t.clone() for name, t in first.tensors().items()})
        for _ in range(6):
            residual = random_sums(generator)
            assert torch.equal(flat(exchange(first, ZERO, residual)), flat(exchange(second, ZERO, residual)))


def test_the_paper_update_is_its_recursion():
    generator = torch.Generator().manual_seed(0)
    batch_size, c2, owed, error = 8.0, 0.05, paper_error(LIKE), torch.zeros(5)
    for _ in range(20):
        clipped, raw = random_sums(generator), random_sums(generator, 5.0)
        fed = error * min(1.0, c2 / max(float(error.norm()), 1e-30))
        v = flat(clipped) / batch_size + fed
        error = error + flat(raw) / batch_size - v
        released = paper_exchange(owed, clipped, raw, feedback_clip_norm=c2, batch_size=batch_size)
        assert torch.allclose(flat(released), v * batch_size, rtol=1e-4, atol=1e-5)
        assert torch.allclose(flat(owed.error), error, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("c2", [0.0, 0.01, 1.0])
def test_the_paper_feeds_back_no_more_than_c2(c2):
    generator = torch.Generator().manual_seed(0)
    owed = paper_error(LIKE)
    for _ in range(10):
        clipped, raw = random_sums(generator), random_sums(generator, 1e3)
        released = paper_exchange(owed, clipped, raw, feedback_clip_norm=c2, batch_size=4.0)
        assert float((flat(released) - flat(clipped)).norm()) <= c2 * 4.0 * (1 + 1e-3) + 1e-5


def test_paper_weights_clip_one_sum_and_leave_the_other():
    kept, raw = paper_weights(torch.tensor([0.5, 4.0]), clip_norm=1.0)
    assert float(kept[1]) * 4 <= 1.0
    assert raw.tolist() == [1.0, 1.0]


def test_the_papers_error_stays_finite_whatever_a_record_does():
    """A run that stops over an overflow would tell that the record is there."""
    owed, norm = paper_error(LIKE), torch.tensor([1e19])
    for _ in range(1000):
        kept, raw = paper_weights(norm, clip_norm=1.0)
        gradient = {n: torch.full_like(t, float(norm) / 5**0.5) for n, t in LIKE.items()}
        clipped, whole = ({n: w * t for n, t in gradient.items()} for w in (kept, raw))
        released = paper_exchange(owed, clipped, whole, feedback_clip_norm=0.1, batch_size=1.0)
        assert torch.isfinite(flat(released)).all()
