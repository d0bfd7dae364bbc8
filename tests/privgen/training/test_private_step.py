"""A step: what records can move in it, and what they cannot."""

import numpy as np
import pytest
import torch

from accountant import BudgetGuard, ReceiptError
from planners import plan
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.mechanism.system_generator import system_generator
from privgen.methods.gan.generator_step import average_generator, generator_step
from privgen.methods.gan.method import METHOD
from privgen.methods.gan.settings import GanSettings
from privgen.training.method import RecordFacts
from privgen.training.private_step import private_step
from privgen.training.state import TrainState, begin_segment, parameters_of

SHAPE = (1, 28, 28)


class Silent(ExactGaussian):
    """No noise, so that a test sees the sums themselves."""

    def floored(self, shape, *, std):
        return np.zeros(shape, dtype=np.int64)


@pytest.fixture
def made():
    return plan(epsilon=10.0, dataset_size=200, batch_size=20, iterations=8, bands=2, warm_start=0.0)


def state_of(made, config, latents):
    learner = METHOD.begin(made, RecordFacts(shape=SHAPE, class_names=("a", "b", "c")), config, latents=latents)
    return TrainState(learner=learner, beside=RecordNumbers())


def fresh(made, **settings):
    values = {
        "preset": "tiny",
        "generator_batch": 4,
        "upsampling_noise": 0.0,
        "optimiser": "sgd",
        "physical_batch": 8,
        **settings,
    }
    config = GanSettings(**values)
    state = state_of(made, config, torch.Generator().manual_seed(0))
    begin_segment(state, made, made.event_of(made.schedule()[0]))
    return state


def step(state, made, images, labels, guard, noise=None):
    phase = made.schedule()[0]
    return private_step(
        state, made, parts=made.parts_in(phase), receipt=guard.admit(made.event_of(phase)),
        records=(images, labels), noise=noise or Silent(),
    )  # fmt: skip


def weights(state, part):
    return torch.cat([p.detach().flatten() for p in parameters_of(state.learner.module_of(part)).values()])


@pytest.mark.parametrize("part", ["critic", "classifier", "reconstruction"])
def test_a_huge_record_moves_each_part_by_its_clip_norm_over_the_public_batch(made, part):
    """Plain SGD and one record: the update is rate · clip norm / (qN), whatever the record's gradient."""
    images = 1e3 * torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0))
    # Wasserstein: a hinge loss may have no gradient at all.
    state = fresh(
        made, adversarial="wasserstein", critic_rate=1.0, classifier_rate=1.0, encoder_rate=1.0, reconstruction_rate=1.0
    )
    before = weights(state, part)
    step(state, made, images, torch.tensor([1]), BudgetGuard(made.budget))
    moved = float((weights(state, part) - before).norm())
    clip = next(p.clip_norm for p in made.parts if p.name == part)
    batch = made.sampling_rate * made.dataset_size
    assert moved <= clip / batch * (1 + 1e-3)
    assert moved >= 0.5 * clip / batch


def test_an_empty_batch_is_noised_and_charged(made):
    state = fresh(made)
    guard, before = BudgetGuard(made.budget), weights(state, "critic")
    drawn = step(
        state, made, torch.zeros(0, *SHAPE), torch.zeros(0, dtype=torch.int64), guard,
        ExactGaussian(),
    )  # fmt: skip
    assert drawn.batch_size == 0
    assert guard.steps == 1
    assert float((weights(state, "critic") - before).norm()) > 0


def test_a_record_that_is_not_finite_counts_as_nothing_and_the_step_is_charged(made):
    images, labels = torch.randn(4, *SHAPE), torch.tensor([0, 1, 2, 0])
    images[2] = float("nan")
    state = fresh(made)
    guard = BudgetGuard(made.budget)
    drawn = step(state, made, images, labels, guard)
    assert drawn.nonfinite >= 3
    assert guard.steps == 1
    assert all(bool(torch.isfinite(weights(state, part)).all()) for part in ("critic", "classifier", "reconstruction"))


def test_a_receipt_serves_one_step(made):
    state = fresh(made)
    phase = made.schedule()[0]
    receipt = BudgetGuard(made.budget).admit(made.event_of(phase))
    arguments = {
        "parts": made.parts_in(phase), "receipt": receipt,
        "records": (torch.randn(2, *SHAPE), torch.tensor([0, 1])), "noise": Silent(),
    }  # fmt: skip
    private_step(state, made, **arguments)
    with pytest.raises(ReceiptError):
        private_step(state, made, **arguments)


def test_what_is_clipped_away_is_paid_back_in_the_next_step(made):
    """Two bands: after a step with a large record, an empty one still moves the critic, and a third does not."""
    state = fresh(made, adversarial="wasserstein", critic_rate=1.0, momentum=0.0)
    guard, moved = BudgetGuard(made.budget), []
    for images in (1e2 * torch.randn(1, *SHAPE), torch.zeros(0, *SHAPE), torch.zeros(0, *SHAPE)):
        before = weights(state, "critic")
        step(state, made, images, torch.zeros(len(images), dtype=torch.int64), guard)
        moved.append(float((weights(state, "critic") - before).norm()))
    assert moved[0] > 0
    assert moved[1] == pytest.approx(moved[0] * made.parts[0].residual_clip_norm / made.parts[0].clip_norm, rel=1e-2)
    assert moved[2] == 0.0


def test_the_generator_step_leaves_the_private_networks_alone(made):
    state = fresh(made, diversity_weight=0.1)
    before = {part: weights(state, part) for part in ("critic", "classifier")}
    generator = torch.cat([p.detach().flatten() for p in state.learner.networks.generator.parameters()])
    shown = generator_step(state.learner, class_weight=0.5)
    assert set(shown) == {"adversarial", "class", "diversity"}
    assert all(torch.equal(weights(state, part), old) for part, old in before.items())
    after = torch.cat([p.detach().flatten() for p in state.learner.networks.generator.parameters()])
    assert not torch.equal(after, generator)


def test_a_learned_noise_is_moved_by_the_generator_step_and_is_no_part_of_what_records_move(made):
    state = fresh(made, upsampling_noise=0.1, upsampling_noise_kind="learned", generator_rate=0.1)
    private = parameters_of(state.learner.module_of("reconstruction"))
    assert not any(name.endswith("noise.raw") for name in private)
    begun = state.learner.networks.generator.noise_levels()
    step(state, made, 1e3 * torch.randn(4, *SHAPE), torch.tensor([0, 1, 2, 0]), BudgetGuard(made.budget))
    assert state.learner.networks.generator.noise_levels() == begun
    generator_step(state.learner, class_weight=0.5)
    learned = state.learner.networks.generator.noise_levels()
    assert all(abs(now - before) > 1e-3 for now, before in zip(learned, begun, strict=True))
    average_generator(state.learner, 0.0)
    assert state.learner.averaged.noise_levels() == pytest.approx(learned)


def test_the_average_takes_over_a_scheduled_noise(made):
    state = fresh(made, upsampling_noise=0.1, upsampling_noise_kind="scheduled")
    state.learner.networks.generator.schedule_noise(0.5)
    average_generator(state.learner, 0.9)
    assert state.learner.averaged.noise_levels() == pytest.approx([0.05, 0.05])


def test_a_generator_that_nothing_teaches_stays_as_it_is(made):
    state = fresh(made, diversity_weight=0.0)
    for part in ("critic", "classifier"):
        del state.learner.optimisers[part]  # as in a plan that drops them
    before = [p.clone() for p in state.learner.networks.generator.parameters()]
    assert generator_step(state.learner, class_weight=1.0) == {}
    assert all(
        torch.equal(p, old) for p, old in zip(state.learner.networks.generator.parameters(), before, strict=True)
    )


def test_the_average_moves_towards_the_generator(made):
    state = fresh(made)
    with torch.no_grad():
        for p in state.learner.networks.generator.parameters():
            p.add_(1.0)
    average_generator(state.learner, 0.75)
    for mean, value in zip(
        state.learner.averaged.parameters(), state.learner.networks.generator.parameters(), strict=True
    ):
        assert torch.allclose(value - mean, torch.full_like(value, 0.75), atol=1e-5)


def test_initial_weights_repeat_by_seed_and_latents_never_do(made):
    device = torch.device("cpu")
    one, two = (state_of(made, GanSettings(preset="tiny"), system_generator(device)) for _ in range(2))
    assert torch.equal(weights(one, "critic"), weights(two, "critic"))
    drawn = [np.asarray(torch.randn(8, generator=state.learner.latents)) for state in (one, two)]
    assert not np.array_equal(*drawn)
    assert not torch.equal(one.beside.normal(8), two.beside.normal(8))
