"""Neighbouring data through the whole private step: one record more moves a block's sums by no more than is charged."""

from fractions import Fraction

import pytest
import torch

from planners import plan
from privgen.methods.gan.method import METHOD
from privgen.methods.gan.settings import GanSettings
from privgen.training.method import RecordFacts

SHAPE, OTHERS = (1, 28, 28), 6


def released_sums(monkeypatch, neighbours, made, batches, **settings):
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
    return neighbours.sums_before_noise(monkeypatch, learner, made, batches)


def two_worlds(monkeypatch, neighbours, made, kind, bands, **settings):
    """What is released with the record and without it."""
    return (
        released_sums(
            monkeypatch, neighbours, made,
            neighbours.blocks_of(kind, bands, shape=SHAPE, others=OTHERS, with_record=with_record), **settings,
        )
        for with_record in (True, False)
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["random", "huge", "alike", "zero", "not finite"])
@pytest.mark.parametrize(("feedback", "bands"), [("none", 1), ("banded", 2), ("banded", 4)])
def test_one_record_moves_a_block_by_no_more_than_the_charged_sensitivity(
    monkeypatch, neighbours, kind, feedback, bands
):
    require_sensitivity(monkeypatch, neighbours, kind, feedback, bands)


@pytest.mark.parametrize("kind", ["random", "huge", "not finite"])
@pytest.mark.parametrize("constraint", ["spectral-norm", "gradient-penalty"])
@pytest.mark.parametrize("noise", ["fixed", "learned"])
def test_neither_a_constrained_critic_nor_a_learned_noise_lets_a_record_move_more(
    monkeypatch, neighbours, kind, constraint, noise
):
    settings = {"critic_constraint": constraint, "upsampling_noise_kind": noise, "adversarial": "wasserstein"}
    if noise == "learned":
        settings["upsampling_noise"] = 1e-6
    require_sensitivity(monkeypatch, neighbours, kind, "banded", 2, **settings)


def require_sensitivity(monkeypatch, neighbours, kind, feedback, bands, **settings):
    made = plan(
        epsilon=10.0, dataset_size=200, batch_size=20, iterations=8, feedback=feedback,
        bands=bands if feedback == "banded" else None, warm_start=0.0,
    )  # fmt: skip
    one, other = two_worlds(monkeypatch, neighbours, made, kind, bands, **settings)
    for part in made.parts:
        moved, charged = neighbours.squares_moved(one, other, part), neighbours.squared_charge(part, bands)
        assert sum(moved) <= charged
        # Nothing of it is left when it may be drawn again.
        assert not any(moved[bands:])
        if kind == "huge":
            assert sum(moved) >= 0.25 * charged


@pytest.mark.parametrize("kind", ["random", "huge", "not finite"])
def test_the_published_feedback_moves_each_step_by_no_more_than_was_charged(monkeypatch, neighbours, kind):
    made = plan(
        epsilon=10.0,
        dataset_size=200,
        batch_size=20,
        iterations=8,
        feedback="paper",
        feedback_ratio=0.5,
        warm_start=0.0,
    )
    one, other = two_worlds(monkeypatch, neighbours, made, kind, 2)
    batch = made.sampling_rate * made.dataset_size
    for part in made.parts:
        for step, moved in enumerate(neighbours.squares_moved(one, other, part)):
            drawn = Fraction(part.clip_norm) if step == 0 else 0
            bound = (2 * Fraction(part.feedback_clip_norm) * Fraction(batch) + drawn) / Fraction(part.step)
            assert moved <= bound**2
