"""Neighbouring data through the whole private step: one record more moves a block's sums by no more than is charged."""

import math
from fractions import Fraction

import pytest
import torch

from accountant import BudgetGuard
from planners import plan
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.methods.gan.method import METHOD
from privgen.methods.gan.settings import GanSettings
from privgen.training import private_step as steps
from privgen.training.method import RecordFacts
from privgen.training.private_step import private_step
from privgen.training.state import TrainState, begin_segment

SHAPE, OTHERS = (1, 28, 28), 6


class SameNumbers:
    """The same numbers at the same place, whatever was drawn before."""

    def normal(self, *shape):
        return torch.randn(*shape, generator=torch.Generator().manual_seed(1))

    def uniform(self, *shape):
        return torch.rand(*shape, generator=torch.Generator().manual_seed(2))


def records(kind, count):
    generator = torch.Generator().manual_seed(count)
    images = torch.randn(count, *SHAPE, generator=generator)
    if kind == "huge":
        images = images * 1e4
    elif kind == "alike":
        images = images[:1].expand(count, *SHAPE).clone()
    elif kind == "zero":
        images = torch.zeros(count, *SHAPE)
    elif kind == "not finite":
        images[-1, 0, 0, 0] = math.inf
    return images, torch.arange(count) % 3


def released_sums(monkeypatch, made, batches, **settings):
    """The sums of each step before noise, at parameters that stay where they are."""
    config = GanSettings(
        **{
            "preset": "tiny", "upsampling_noise": 0.0, "physical_batch": 8, "optimiser": "sgd", "critic_rate": 1e-30,
            "classifier_rate": 1e-30, "encoder_rate": 1e-30, "reconstruction_rate": 1e-30, "generator_batch": 4,
            **settings,
        }
    )  # fmt: skip
    facts = RecordFacts(shape=SHAPE, class_names=("a", "b", "c"))
    learner = METHOD.begin(made, facts, config, latents=torch.Generator().manual_seed(0))
    # Each record keeps its numbers in both worlds, as in the proof: here by its place in every pass.
    state = TrainState(learner=learner, beside=SameNumbers())
    phase = made.schedule()[0]
    begin_segment(state, made, made.event_of(phase))
    guard, seen = BudgetGuard(made.budget), []

    def keep(sums, **options):
        seen.append({part: torch.cat([t.flatten() for t in tensors.values()]) for part, tensors in sums.items()})
        return {part: {name: torch.zeros_like(t) for name, t in tensors.items()} for part, tensors in sums.items()}

    monkeypatch.setattr(steps, "gaussian", keep)
    for images, labels in batches:
        private_step(
            state, made, parts=made.parts_in(phase), receipt=guard.admit(made.event_of(phase)),
            records=(images, labels), noise=ExactGaussian(),
        )  # fmt: skip
    return seen


def batches_of(kind, bands, *, with_record):
    """A block: the record may be drawn in the first step only, the others in every step."""
    batches = []
    for step in range(2 * bands):
        images, labels = records(kind, OTHERS + 1)
        keep = OTHERS + (with_record and step == 0)
        batches.append((images[:keep], labels[:keep]))
    return batches


@pytest.mark.parametrize("kind", ["random", "huge", "alike", "zero", "not finite"])
@pytest.mark.parametrize(("feedback", "bands"), [("none", 1), ("banded", 2), ("banded", 4)])
def test_one_record_moves_a_block_by_no_more_than_the_charged_sensitivity(monkeypatch, kind, feedback, bands):
    require_sensitivity(monkeypatch, kind, feedback, bands)


@pytest.mark.parametrize("kind", ["random", "huge", "not finite"])
@pytest.mark.parametrize("constraint", ["spectral-norm", "gradient-penalty"])
@pytest.mark.parametrize("noise", ["fixed", "learned"])
def test_neither_a_constrained_critic_nor_a_learned_noise_lets_a_record_move_more(monkeypatch, kind, constraint, noise):
    settings = {"critic_constraint": constraint, "upsampling_noise_kind": noise, "adversarial": "wasserstein"}
    if noise == "learned":
        settings["upsampling_noise"] = 1e-6
    require_sensitivity(monkeypatch, kind, "banded", 2, **settings)


def require_sensitivity(monkeypatch, kind, feedback, bands, **settings):
    made = plan(
        epsilon=10.0, dataset_size=200, batch_size=20, iterations=8, feedback=feedback,
        bands=bands if feedback == "banded" else None,
    )  # fmt: skip
    one = released_sums(monkeypatch, made, batches_of(kind, bands, with_record=True), **settings)
    other = released_sums(monkeypatch, made, batches_of(kind, bands, with_record=False), **settings)
    for part in made.parts:
        # Squares of integers, in integers: nothing is rounded, and nothing is forgiven.
        moved = [
            sum(int(v) ** 2 for v in (a[part.name] - b[part.name]).tolist()) for a, b in zip(one, other, strict=True)
        ]
        assert sum(moved) <= exactly(part, bands)
        # Nothing of it is left when it may be drawn again.
        assert not any(moved[bands:])
        if kind == "huge":
            assert sum(moved) >= 0.25 * exactly(part, bands)


def exactly(part, bands):
    """(Δ/h)², in fractions."""
    squared = Fraction(part.clip_norm) ** 2
    if bands > 1:
        squared += Fraction(part.residual_clip_norm) ** 2 / (bands - 1)
    return squared / Fraction(part.step) ** 2


@pytest.mark.parametrize("kind", ["random", "huge", "not finite"])
def test_the_published_feedback_moves_each_step_by_no_more_than_was_charged(monkeypatch, kind):
    made = plan(epsilon=10.0, dataset_size=200, batch_size=20, iterations=8, feedback="paper", feedback_ratio=0.5)
    one = released_sums(monkeypatch, made, batches_of(kind, 2, with_record=True))
    other = released_sums(monkeypatch, made, batches_of(kind, 2, with_record=False))
    batch = made.sampling_rate * made.dataset_size
    for part in made.parts:
        for step, (a, b) in enumerate(zip(one, other, strict=True)):
            moved = sum(int(v) ** 2 for v in (a[part.name] - b[part.name]).tolist())
            drawn = Fraction(part.clip_norm) if step == 0 else 0
            bound = (2 * Fraction(part.feedback_clip_norm) * Fraction(batch) + drawn) / Fraction(part.step)
            assert moved <= bound**2
