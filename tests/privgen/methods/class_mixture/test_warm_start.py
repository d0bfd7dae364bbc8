"""A run that begins from class statistics: what it charges, what it releases, and how it resumes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from accountant import Plan, SubsampledGaussian, verify_ledger
from accountant.audit.audit import audit_run
from accountant.plans.exact_release import grid_step_for
from privgen.errors import RunError
from privgen.generate import load_generator
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.methods.class_mixture import statistics as warm_start_module
from privgen.methods.class_mixture.class_sums import as_sums
from privgen.methods.gan.method import GanMethod
from privgen.training.loop import run

WARM = {"warm_start": 0.5, "iterations": 8}


@pytest.fixture(scope="module")
def warm_run(lab, tmp_path_factory):
    """Only to be read."""
    out = tmp_path_factory.mktemp("warm") / "run"
    with lab.begin(out, plan=lab.plan(**WARM), config=lab.config(mixture_clusters=2)) as session:
        for _ in run(session):
            pass
    return out


def test_every_release_is_in_the_ledger_before_the_steps(warm_run):
    state = verify_ledger(warm_run)
    warm = state.plan.warm_start
    assert state.steps_done == state.steps_charged == warm.steps + 8 == 15
    # Each release is a phase with a cap of its own, and so a segment.
    assert [(segment.event, segment.committed, segment.phase) for segment in state.segments[:7]] == [
        (SubsampledGaussian(sampling_rate=1.0, noise_multiplier=release.noise_multiplier), 1, number)
        for number, release in enumerate(warm.releases())
    ]
    assert (state.segments[7].committed, state.segments[7].phase) == (8, 7)


def test_its_audit_passes_and_prices_the_statistics(warm_run):
    audit = audit_run(warm_run)
    assert audit.verdict == "passed"
    assert audit.state.plan.epsilon * 0.5 < audit.spent.rdp <= audit.state.plan.epsilon
    assert any("statistics" in assumption.text for assumption in audit.assumptions)
    phases = audit.to_json()["mechanism"]["phases"]
    assert [phase["releases"] for phase in phases] == ["statistics"] * 7 + ["gradients"]


def test_the_released_generator_holds_the_mixture(warm_run):
    generator = load_generator(warm_run)
    assert generator.sampler.generator.config.mixture_clusters == 2
    images = generator(30, seed=0)
    assert images.shape == (30, 16, 16, 1)
    assert np.array_equal(images, generator(30, seed=0))


def test_noise_of_the_charged_size_is_added_to_each_release(lab, tmp_path, monkeypatch):
    asked = []

    class Counted(ExactGaussian):
        def floored(self, shape, *, std):
            asked.append(std)
            return super().floored(shape, std=std)

    plan = lab.plan(**WARM)
    with lab.begin(tmp_path / "run", plan=plan, noise=Counted) as session:
        lab.take(session, 7)
    # A matrix has two sums: on its diagonal, and above it, where each number stands for two.
    least = []
    for release in plan.warm_start.releases():
        std = release.noise_multiplier * release.sensitivity / grid_step_for(release.sensitivity)
        least += [std, std / 2**0.5] if release.kind in ("components", "covariances") else [std]
    assert asked == pytest.approx(least, rel=1e-12)
    assert len(asked) == 9
    assert all(std >= one * (1 - 1e-15) for std, one in zip(asked, least, strict=True))


def test_one_record_more_moves_the_sums_by_no_more_than_was_charged_in_a_real_run(lab, tmp_path, monkeypatch):
    """The whole private path, the record's class and centre included, on neighbours."""
    plan, seen = lab.plan(**WARM), []
    original = warm_start_module.integer_sums

    def on_neighbours(release, mixture, images, labels, *, grid_step):
        whole = original(release, mixture, images, labels, grid_step=grid_step)
        without = original(release, mixture, images[1:], labels[1:], grid_step=grid_step)
        moved = as_sums({name: whole[name] - without[name] for name in whole}, grid_step=grid_step)
        seen.append((float(moved.norm()), release.sensitivity))
        return whole

    monkeypatch.setattr(warm_start_module, "integer_sums", on_neighbours)
    with lab.begin(tmp_path / "run", plan=plan) as session:
        lab.take(session, 7)
    assert len(seen) == 7
    assert all(0 < moved <= sensitivity for moved, sensitivity in seen)


def test_a_clean_resume_after_the_warm_start_goes_on_from_its_mixture(lab, tmp_path):
    out, plan = tmp_path / "run", lab.plan(**WARM)
    with lab.begin(out, plan=plan) as session:
        lab.stop_after(session, 8)
        mixture = {n: b.clone() for n, b in session.state.learner.networks.generator.mixture.named_buffers()}
    with lab.resume(out) as session:
        for name, buffer in session.state.learner.networks.generator.mixture.named_buffers():
            assert torch.equal(buffer, mixture[name]), name
        for _ in run(session):
            pass
    assert verify_ledger(out).steps_charged == 15
    assert audit_run(out).verdict == "passed"


@pytest.mark.parametrize("killed_after", [1, 2, 4, 7])
def test_after_a_crash_within_it_what_was_charged_stays_charged(lab, tmp_path, killed_after):
    out, plan = tmp_path / "run", lab.plan(**WARM)
    with lab.begin(out, plan=plan) as session:
        lab.take(session, killed_after)
    with lab.resume(out) as session:
        assert session.guard.steps == killed_after
        for _ in run(session):
            pass
    state = verify_ledger(out)
    assert state.steps_charged == 15
    assert audit_run(out).verdict == "passed"


def test_a_plan_with_a_warm_start_needs_a_mixture_to_take_it(lab, tmp_path):
    class Without(GanMethod):
        """A method that takes no statistics."""

        def begin(self, plan, facts, settings, *, latents):
            return super().begin(replace(plan, warm_start=None), facts, settings, latents=latents)

    with pytest.raises(RunError, match="takes nothing of"):
        lab.begin(tmp_path / "run", plan=lab.plan(**WARM), method=Without())
    assert not (tmp_path / "run").exists()


def test_a_plan_of_before_components_gets_the_statistics_that_it_planned(lab, tmp_path):
    """Its JSON has no word of them: cosine frequencies, six releases, and no margin."""
    plan = lab.plan(**WARM)
    written = plan.to_json()
    for name in ("components", "component_noise_multiplier", "margin"):
        written["warm_start"].pop(name)
    written["verified"] = None
    written.pop("caps", None)
    old = Plan.from_json(json.loads(json.dumps(written)))
    assert old.warm_start.to_json() == written["warm_start"]
    with lab.begin(tmp_path / "run", plan=old, config=lab.config(mixture_clusters=2)) as session:
        for _ in run(session):
            pass
    config = load_generator(tmp_path / "run").sampler.generator.config
    assert (config.mixture_components, config.mixture_margin, config.mixture_frequencies) == (0, 0.0, 16)
    assert verify_ledger(tmp_path / "run").steps_charged == 14
    assert audit_run(tmp_path / "run").verdict == "passed"


def test_the_reports_name_it(warm_run):
    from privgen.report.write import write_reports

    markdown, html = write_reports(warm_run)
    for path in (markdown, html):
        assert "statistics" in path.read_text()
    assert json.loads((warm_run / "release" / "plan.json").read_text())["warm_start"]["rounds"] == 4
