"""Error feedback: its limits, and the sensitivity that theorems 3 and 4 of docs/privacy.md charge for, in integers."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from accountant import Part
from privgen.mechanism.error_feedback import (
    FeedbackMemory,
    PublishedError,
    apply_feedback,
    apply_published_feedback,
    banded_weights,
    clipped_weights,
    fed_back,
    paper_weights,
)

LIKE = {"w": torch.zeros(3), "b": torch.zeros(2)}
ZERO = {name: torch.zeros_like(t, dtype=torch.int64) for name, t in LIKE.items()}
STEP = 2.0**-20


def random_sums(generator, scale=2**20):
    return {name: torch.randint(-scale, scale, t.shape, generator=generator) for name, t in LIKE.items()}


def flat(sums):
    return torch.cat([sums["w"], sums["b"]])


def square(integers):
    return sum(int(value) ** 2 for value in integers.flatten())


def bound(gradient):
    """N̂ as the engine has it: an upper bound of the norm in float64."""
    return (gradient.double().square().sum().sqrt() * (1 + (gradient.numel() + 4) * 2.0**-52))[None]


GRADIENTS = st.lists(
    st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=True), min_size=1, max_size=12
)
NORMS = st.floats(1e-12, 1e12)


@settings(max_examples=400, deadline=None)
@given(values=GRADIENTS, clip=NORMS, residual=st.one_of(st.just(0.0), NORMS), bands=st.integers(2, 17))
def test_no_record_adds_more_than_its_norms_in_exact_arithmetic(values, clip, residual, bands):
    """Squares of integers in Python's own, against (C1/h)² and (R/(K·h))² in fractions."""
    gradient = torch.tensor(values, dtype=torch.float32)
    step = math.ldexp(0.5, math.frexp(clip)[1] - 20)
    u, v = banded_weights(bound(gradient), clip_norm=clip, residual_clip_norm=residual, bands=bands, grid_step=step)
    a, r = ((w * gradient.double()).trunc() for w in (u, v))
    assert square(a) <= (Fraction(clip) / Fraction(step)) ** 2
    assert square(r) <= (Fraction(residual) / (bands - 1) / Fraction(step)) ** 2
    assert Fraction(float(u)) * Fraction(step) + (bands - 1) * Fraction(float(v)) * Fraction(step) <= 1


@settings(max_examples=400, deadline=None)
@given(values=GRADIENTS, clip=NORMS, residual=NORMS, bands=st.integers(2, 17), stabiliser=NORMS)
def test_no_normalised_record_adds_more_than_its_norms_in_exact_arithmetic(values, clip, residual, bands, stabiliser):
    gradient = torch.tensor(values, dtype=torch.float32)
    step = math.ldexp(0.5, math.frexp(clip)[1] - 20)
    u, v = banded_weights(
        bound(gradient), clip_norm=clip, residual_clip_norm=residual, bands=bands, grid_step=step, normalise=stabiliser
    )
    a, r = ((w * gradient.double()).trunc() for w in (u, v))
    assert square(a) <= (Fraction(clip) / Fraction(step)) ** 2
    assert square(r) <= (Fraction(residual) / (bands - 1) / Fraction(step)) ** 2


def test_normalised_records_are_all_nearly_as_long_as_the_clip_norm():
    norms = torch.tensor([0.0, 0.01, 1.0, 100.0], dtype=torch.float64)
    lengths = norms * clipped_weights(norms, clip_norm=2.0, grid_step=STEP, normalise=0.01) * STEP
    assert lengths.tolist() == pytest.approx([0.0, 1.0, 2 / 1.01, 2 / 1.0001])


@pytest.mark.parametrize("scale", [1e-45, 1e-38, 1e-20, 1e-3, 1.0, 1e10, 1e38])
def test_norms_whose_squares_leave_float32_are_kept_too(scale):
    gradient = torch.full((7,), scale, dtype=torch.float32)
    u = clipped_weights(bound(gradient), clip_norm=0.25, grid_step=2.0**-22)
    assert square((u * gradient.double()).trunc()) <= (0.25 * 2**22) ** 2


def test_small_gradients_are_kept_whole_but_for_the_grid():
    a, r = banded_weights(
        torch.tensor([0.0, 0.3], dtype=torch.float64), clip_norm=1.0, residual_clip_norm=5.0, bands=2, grid_step=STEP
    )
    assert (a * STEP).tolist() == [1 - 2.0**-50] * 2
    assert r.tolist() == [0.0, 0.0]


def test_what_is_clipped_away_is_owed_whole_without_a_bound():
    a, r = banded_weights(
        torch.tensor([4.0], dtype=torch.float64), clip_norm=1.0, residual_clip_norm=math.inf, bands=4, grid_step=STEP
    )
    assert float((a + 3 * r) * STEP) == pytest.approx(1.0, abs=1e-14)


def test_one_band_is_dp_sgd_and_no_residual_is_its_update():
    generator = torch.Generator().manual_seed(0)
    single, without = FeedbackMemory(LIKE, 1), FeedbackMemory(LIKE, 4)
    for _ in range(9):
        clipped = random_sums(generator)
        assert torch.equal(flat(apply_feedback(single, clipped, random_sums(generator))), flat(clipped))
        assert torch.equal(flat(apply_feedback(without, clipped, ZERO)), flat(clipped))


@pytest.mark.parametrize("bands", [2, 3, 4, 7, 16])
def test_the_window_is_the_plain_sum_of_the_last_k(bands):
    generator = torch.Generator().manual_seed(bands)
    owed, pushed, window = FeedbackMemory(LIKE, bands), [], bands - 1
    for _ in range(5 * bands):
        released = apply_feedback(owed, ZERO, residual := random_sums(generator))
        expected = sum((flat(r) for r in pushed[-window:]), torch.zeros(5, dtype=torch.int64))
        assert torch.equal(flat(released), expected)
        pushed.append(residual)


@pytest.mark.parametrize("bands", [2, 4, 9])
def test_without_noise_and_bounds_nothing_is_lost(bands):
    """The updates plus what is owed sum to all unclipped gradients: to the integer, in K parts of each residual."""
    generator = torch.Generator().manual_seed(1)
    owed = FeedbackMemory(LIKE, bands)
    given_in, paid = torch.zeros(5, dtype=torch.int64), torch.zeros(5, dtype=torch.int64)
    for _ in range(37):
        clipped, residual = random_sums(generator), random_sums(generator)
        paid += flat(apply_feedback(owed, clipped, residual))
        given_in += flat(clipped) + (bands - 1) * flat(residual)
    for _ in range(bands - 1):
        paid += flat(apply_feedback(owed, ZERO, ZERO))
    assert torch.equal(paid, given_in)


@pytest.mark.parametrize("bands", [2, 3, 4, 8])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_one_draw_of_a_record_moves_all_outputs_by_no_more_than_was_charged(bands, scale):
    """Two runs that differ in one draw of one record, at any place in the cycle, whatever the others do."""
    part = Part(name="critic", clip_norm=0.25, residual_clip_norm=0.75, noise_multiplier=1.0)
    charged = (Fraction(1, 16) + Fraction(9, 16) / (bands - 1)) / Fraction(part.step) ** 2
    for start in range(2 * bands):
        generator = torch.Generator().manual_seed(start)
        gradient = scale * torch.randn(5, generator=generator)
        weights = banded_weights(
            bound(gradient), clip_norm=0.25, residual_clip_norm=0.75, bands=bands, grid_step=part.step
        )
        own = [(w * gradient.double()).trunc().to(torch.int64) for w in weights]
        mine = [{"w": rows[:3], "b": rows[3:]} for rows in own]
        with_it, without = FeedbackMemory(LIKE, bands), FeedbackMemory(LIKE, bands)
        moved = 0
        for step in range(5 * bands):
            clipped, residual = random_sums(generator), random_sums(generator)
            plain = flat(apply_feedback(without, clipped, residual))
            if step == start:
                clipped = {n: t + mine[0][n] for n, t in clipped.items()}
                residual = {n: t + mine[1][n] for n, t in residual.items()}
            difference = flat(apply_feedback(with_it, clipped, residual)) - plain
            moved += square(difference)
            if step >= start + bands:
                assert not difference.any(), "a record is felt after its block"
        assert moved <= charged


def test_a_departed_record_leaves_no_bit_behind():
    """A huge residual swallows in floating point what is added to it; integers miss nothing when it leaves."""
    bands = 4
    owed, plain = FeedbackMemory(LIKE, bands), FeedbackMemory(LIKE, bands)
    generator = torch.Generator().manual_seed(0)
    for step in range(20):
        residual = random_sums(generator)
        huge = {n: torch.full_like(t, 2**50) for n, t in residual.items()} if step == 5 else residual
        one = flat(apply_feedback(owed, ZERO, huge))
        other = flat(apply_feedback(plain, ZERO, residual))
        if step > 5 + bands - 1:
            assert torch.equal(one, other)


def test_state_goes_into_tensors_and_comes_back():
    generator = torch.Generator().manual_seed(0)
    for steps in range(8):
        first = FeedbackMemory(LIKE, 4)
        for _ in range(steps):
            apply_feedback(first, ZERO, random_sums(generator))
        second = FeedbackMemory(LIKE, 4)
        second.restore({name: t.clone() for name, t in first.tensors().items()})
        for _ in range(6):
            residual = random_sums(generator)
            one, other = (flat(apply_feedback(memory, ZERO, residual)) for memory in (first, second))
            assert torch.equal(one, other)


def test_the_paper_update_is_its_recursion():
    generator = torch.Generator().manual_seed(0)
    batch_size, c2, owed, error = 8.0, 0.05, PublishedError(LIKE), torch.zeros(5, dtype=torch.float64)
    for _ in range(20):
        clipped, raw = random_sums(generator), random_sums(generator, 5 * 2**20)
        fed = error * min(1.0, c2 / max(float(error.norm()), 1e-30))
        v = flat(clipped).double() * STEP / batch_size + fed
        error = error + flat(raw).double() * STEP / batch_size - v
        released = apply_published_feedback(
            owed, clipped, raw, feedback_clip_norm=c2, batch_size=batch_size, grid_step=STEP
        )
        assert torch.allclose(flat(released).double() * STEP, v * batch_size, rtol=1e-4, atol=1e-5)
        assert torch.allclose(flat(owed.error).double(), error, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("c2", [0.0, 0.01, 1.0])
def test_the_paper_feeds_back_no_more_than_c2(c2):
    generator = torch.Generator().manual_seed(0)
    owed = PublishedError(LIKE)
    for _ in range(10):
        clipped, raw = random_sums(generator), random_sums(generator, 2**30)
        released = apply_published_feedback(owed, clipped, raw, feedback_clip_norm=c2, batch_size=4.0, grid_step=STEP)
        assert square(flat(released) - flat(clipped)) <= (Fraction(c2) * 4 / Fraction(STEP)) ** 2


def test_paper_weights_clip_one_sum_and_leave_the_other():
    kept, raw = paper_weights(torch.tensor([0.5, 4.0], dtype=torch.float64), clip_norm=1.0, grid_step=STEP)
    assert float(kept[1]) * 4 * STEP <= 1.0
    assert (raw * STEP).tolist() == [1 - 2.0**-50] * 2


def test_the_papers_error_stays_finite_whatever_a_record_does():
    """A run that stops over an overflow would tell that the record is there."""
    owed, norm = PublishedError(LIKE), torch.tensor([1e19], dtype=torch.float64)
    for _ in range(1000):
        kept, raw = paper_weights(norm, clip_norm=1.0, grid_step=STEP)
        gradient = {n: torch.full_like(t, float(norm) / 5**0.5, dtype=torch.float64) for n, t in LIKE.items()}
        clipped, whole = ({n: (w * t).trunc() for n, t in gradient.items()} for w in (kept, raw))
        apply_published_feedback(owed, clipped, whole, feedback_clip_norm=0.1, batch_size=1.0, grid_step=STEP)
        assert torch.isfinite(flat(owed.error)).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_error_that_is_not_finite_feeds_back_nothing_and_begins_anew(bad):
    owed = PublishedError(LIKE)
    owed.error["w"][1] = bad
    fed = fed_back(owed.error, clip_norm=1.0, batch_size=4.0, grid_step=STEP)
    assert not flat(fed).any()
    apply_published_feedback(owed, ZERO, ZERO, feedback_clip_norm=1.0, batch_size=4.0, grid_step=STEP)
    assert torch.isfinite(flat(owed.error)).all()


@pytest.mark.parametrize("c2", [1.0, 0.3, 1 / 3])
def test_what_is_fed_back_keeps_below_c2_by_the_slack_of_the_proof(c2):
    """One number at the bound, 2^50 grid steps or so: where truncation is too small to hide a scale rounded up."""
    bound = Fraction(c2) * 256 * 2**42
    fed = fed_back({"w": torch.tensor([1e3])}, clip_norm=c2, batch_size=256.0, grid_step=2.0**-42)
    assert bound * (1 - Fraction(1, 2**38)) < int(fed["w"]) <= bound * (1 - Fraction(1, 2**41))
