"""A run that begins from class statistics: what it charges, what it releases, and how it resumes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from accountant import SubsampledGaussian, verify_ledger
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
    assert state.steps_done == state.steps_charged == warm.steps + 8 == 14
    # Each release is a phase with a cap of its own, and so a segment.
    assert [(segment.event, segment.committed, segment.phase) for segment in state.segments[:6]] == [
        (SubsampledGaussian(sampling_rate=1.0, noise_multiplier=release.noise_multiplier), 1, number)
        for number, release in enumerate(warm.releases())
    ]
    assert (state.segments[6].committed, state.segments[6].phase) == (8, 6)


def test_its_audit_passes_and_prices_the_statistics(warm_run):
    audit = audit_run(warm_run)
    assert audit.verdict == "passed"
    assert audit.state.plan.epsilon * 0.5 < audit.spent.rdp <= audit.state.plan.epsilon
    assert any("statistics" in assumption.text for assumption in audit.assumptions)
    phases = audit.to_json()["mechanism"]["phases"]
    assert [phase["releases"] for phase in phases] == ["statistics"] * 6 + ["gradients"]


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
        lab.take(session, 6)
    # The last release has two sums: on the diagonal of a matrix, and above it, where each number stands for two.
    charged = [release.noise_multiplier * release.sensitivity for release in plan.warm_start.releases()]
    steps = [grid_step_for(release.sensitivity) for release in plan.warm_start.releases()]
    in_units = [std / step for std, step in zip(charged, steps, strict=True)]
    assert asked == pytest.approx([*in_units, in_units[-1] / 2**0.5], rel=1e-12)
    assert all(std >= least for std, least in zip(asked, in_units, strict=False))


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
        lab.take(session, 6)
    assert len(seen) == 6
    assert all(0 < moved <= sensitivity for moved, sensitivity in seen)


def test_a_clean_resume_after_the_warm_start_goes_on_from_its_mixture(lab, tmp_path):
    out, plan = tmp_path / "run", lab.plan(**WARM)
    with lab.begin(out, plan=plan) as session:
        lab.stop_after(session, 7)
        mixture = {n: b.clone() for n, b in session.state.learner.networks.generator.mixture.named_buffers()}
    with lab.resume(out) as session:
        for name, buffer in session.state.learner.networks.generator.mixture.named_buffers():
            assert torch.equal(buffer, mixture[name]), name
        for _ in run(session):
            pass
    assert verify_ledger(out).steps_charged == 14
    assert audit_run(out).verdict == "passed"


@pytest.mark.parametrize("killed_after", [1, 3, 6])
def test_after_a_crash_within_it_what_was_charged_stays_charged(lab, tmp_path, killed_after):
    out, plan = tmp_path / "run", lab.plan(**WARM)
    with lab.begin(out, plan=plan) as session:
        lab.take(session, killed_after)
    with lab.resume(out) as session:
        assert session.guard.steps == killed_after
        for _ in run(session):
            pass
    state = verify_ledger(out)
    assert state.steps_charged == 14
    assert audit_run(out).verdict == "passed"


def test_a_plan_with_a_warm_start_needs_a_mixture_to_take_it(lab, tmp_path):
    class Without(GanMethod):
        """A method that takes no statistics."""

        def begin(self, plan, facts, settings, *, latents):
            return super().begin(replace(plan, warm_start=None), facts, settings, latents=latents)

    with pytest.raises(RunError, match="takes nothing of"):
        lab.begin(tmp_path / "run", plan=lab.plan(**WARM), method=Without())
    assert not (tmp_path / "run").exists()


def test_the_reports_name_it(warm_run):
    from privgen.report.write import write_reports

    markdown, html = write_reports(warm_run)
    for path in (markdown, html):
        assert "statistics" in path.read_text()
    assert json.loads((warm_run / "release" / "plan.json").read_text())["warm_start"]["rounds"] == 4
