"""The training watch: each failure is made to happen, is said once with a remedy, and no record is read for it."""

import pytest
import torch

from accountant.plans.parts import Feedback, Part
from accountant.plans.plan import Plan
from privgen.training.loop import run
from privgen.training.watch import TrainingWatch


def warnings_of(session, *, steps=None):
    said = []
    for number, _ in enumerate(run(session, stop=lambda: steps is not None and session.guard.steps >= steps)):
        said += session.training_watch.unsaid()
        assert number < 500
    return [*said, *session.training_watch.unsaid()]


@pytest.fixture
def learner(lab, tmp_path):
    with lab.begin(tmp_path / "run", plan=lab.plan(iterations=100, bands=1)) as session:
        yield session.state.learner


def look_twice(watch, learner, *, progress=0.3):
    for step in (25, 50):
        watch.after_step(learner, step=step, progress=progress, update_norms={})
    return watch.unsaid()


def test_a_generator_trained_far_too_fast_collapses_and_the_watch_says_so_once(lab, tmp_path):
    settings = lab.config(generator_rate=0.5, upsampling_noise=0.0, diversity_weight=0.0)
    plan = lab.plan(iterations=100, bands=1, shares={"critic": 1.0})
    with lab.begin(tmp_path / "run", plan=plan, config=settings) as session:
        said = warnings_of(session, steps=51)
    (alike,) = [text for text in said if "nearly alike" in text]
    assert "images of class" in alike and "of 255) since step 25" in alike and "--warm-start" in alike


def test_variety_is_no_reason_to_warn(lab, learner):
    class Varied:
        """Images of pure noise, of every class."""

        device, pictured_classes = learner.device, 3
        pictured = staticmethod(lambda labels, source: torch.rand(len(labels), 1, 16, 16, generator=source) * 2 - 1)
        judged = staticmethod(lambda images, labels: {"score gap": 1.0, "accuracy": 1.0})

    assert look_twice(TrainingWatch(lab.plan(iterations=100)), Varied(), progress=0.9) == ()


def test_published_feedback_without_a_bound_of_use_explodes_and_with_a_finite_one_does_not(lab, tmp_path):
    def said(second_clip):
        part = Part(name="critic", clip_norm=0.01, feedback_clip_norm=second_clip, noise_multiplier=1.0)
        plan = Plan(
            epsilon=1e12, delta=1e-5, dataset="synthetic", dataset_size=200, feedback=Feedback.PAPER,
            sampling_rate=0.1, iterations=10, noise_multiplier=1.0, parts=(part,),
        )  # fmt: skip
        with lab.begin(tmp_path / f"run-{second_clip}", plan=plan) as session:
            return [text for text in warnings_of(session) if "noised update" in text]

    (exploding,) = said(4.0)
    assert "since step" in exploding and "smaller --feedback-ratio" in exploding
    assert said(0.001) == []


def test_steps_that_a_crash_wasted_end_the_budget_early_and_are_told(lab, tmp_path):
    out = tmp_path / "run"
    with lab.begin(out, plan=lab.plan(iterations=12, bands=1)) as session:
        lab.take(session, 5)
    with lab.resume(out, accept_loss=True) as session:
        said = warnings_of(session)
    (early,) = [text for text in said if "budget was exhausted early" in text]
    assert f"{session.guard.held} of 12 planned" in early and "--spare-blocks" in early


def test_a_critic_that_runs_away_is_told(lab, learner):
    with torch.no_grad():
        for parameter in learner.networks.critic.parameters():
            parameter.mul_(30)
    (far,) = [text for text in look_twice(TrainingWatch(lab.plan(iterations=100)), learner) if "critic" in text]
    assert "critic_rate" in far


def test_images_that_do_not_follow_their_labels_are_told_where_a_classifier_was_trained(lab, learner):
    # Freshly initialised, the classifier says one thing of everything.
    said = look_twice(TrainingWatch(lab.plan(iterations=100)), learner, progress=0.6)
    assert any("private classifier recognises" in text and "--share" in text for text in said)
    early = look_twice(TrainingWatch(lab.plan(iterations=100)), learner, progress=0.4)
    assert not any("classifier" in text for text in early)


def test_each_kind_of_warning_comes_once(lab, learner):
    with torch.no_grad():
        for parameter in learner.networks.generator.parameters():
            parameter.zero_()
    watch = TrainingWatch(lab.plan(iterations=100))
    assert any("nearly alike" in text for text in look_twice(watch, learner))
    assert look_twice(watch, learner) == ()


def test_the_watch_reads_no_record_and_takes_none_of_the_runs_random_numbers(lab, tmp_path):
    """Other records, or none that can be read at all, give the same warnings of the same released state."""
    found = []
    for name, data in (("one", lab.data(0)), ("other", lab.data(7))):
        with lab.begin(tmp_path / name, plan=lab.plan(iterations=100, bands=1), data=data) as session:

            class Unreadable:
                def __getattr__(self, what):
                    raise AssertionError(f"the watch read {what} of the records")

            session.data = Unreadable()
            learner = session.state.learner
            numbers = learner.latents.get_state().clone()
            weights = {k: v.clone() for k, v in learner.networks.generator.state_dict().items()}
            found.append(look_twice(session.training_watch, learner, progress=0.6))
            assert torch.equal(learner.latents.get_state(), numbers)
            assert all(torch.equal(v, weights[k]) for k, v in learner.networks.generator.state_dict().items())
    assert found[0] and found[0] == found[1]
