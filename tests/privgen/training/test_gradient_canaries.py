"""Gradient canaries: orthogonal, bounded by what the noise is for, felt exactly, resumed, and of no use to a forger."""

import json
from functools import partial

import numpy as np
import pytest
import torch

from accountant.ledger.replay import verify_ledger
from privgen.attacks.one_run_curve import curve_bound
from privgen.errors import CheckpointError, RunError
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.part_feedback import weighting_of
from privgen.training.canaries import draw_canaries
from privgen.training.gradient_canaries import GradientCanaries, draw_gradient_canaries, read_planted
from privgen.training.gradient_canary_scores import GradientCanaryScorer

M = 40


def planted_session(lab, out, *, canaries=M, **changes):
    return lab.begin(out, plan=lab.plan(**changes), canaries=canaries, canary_kind="gradient")


def test_canaries_share_no_coordinate_and_come_back_from_their_file():
    planted = draw_gradient_canaries(500)
    found = planted.directions("critic", {"w": (40, 50), "b": (7,)})
    owned = np.bincount(found.owner[found.owner >= 0])
    assert found.width == 4 and (owned == 4).all() and len(owned) == 500
    assert (planted.directions("classifier", {"w": (40, 50), "b": (7,)}).owner != found.owner).any()
    again = read_planted(planted.to_bytes())
    assert isinstance(again, GradientCanaries) and again.digest == planted.digest
    assert (again.directions("critic", {"w": (40, 50), "b": (7,)}).signs == found.signs).all()
    image = draw_canaries(32, image_shape=(4, 4, 1), classes=2)
    assert read_planted(image.to_bytes()).digest == image.digest
    with pytest.raises(CheckpointError):
        read_planted(planted.to_bytes()[:-5])


@pytest.mark.parametrize("changes", [{"bands": 4}, {"feedback": "none"}], ids=["banded", "none"])
def test_what_one_canary_adds_is_no_longer_than_the_noise_is_for_and_nearly_as_long(lab, tmp_path, changes):
    with planted_session(lab, tmp_path / "run", **changes) as session:
        event = session.plan.events()[0][0]
        receipt = session.guard.admit(event)
        parts = session.plan.parts_in(session.plan.phase_at(0))
        step = session.watch.step(
            session.state, session.plan, parts=parts, receipt=receipt, records=(torch.tensor([3]),)
        )
        for part in parts:
            task = session.state.learner.record_task(part.name, session.state.beside)
            weigh = weighting_of(part, event)
            own = task.sums(
                tuple(t[:0] for t in session.data.drawn(np.arange(3), torch.device("cpu"))), weigh, physical_batch=24
            )
            added = step.sums(part, task, weigh, own, physical_batch=None).sums
            allowed = (part.clip_norm, part.residual_clip_norm / max(1, event.bands - 1))[: len(added)]
            for sums, most in zip(added, allowed, strict=True):
                whole = torch.cat([value.reshape(-1) for value in sums.values()])
                assert torch.equal(whole, whole.round())
                assert 0.99 * most < float(whole.norm()) * part.step <= most


def test_without_noise_the_score_is_of_who_was_drawn_and_of_nobody_else(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(ExactGaussian, "floored", lambda self, shape, *, std: np.zeros(shape, dtype=np.int64))
    with planted_session(lab, tmp_path / "run", bands=4, iterations=12) as session:
        drawn, honest = [], session.watch.step
        monkeypatch.setattr(
            GradientCanaryScorer, "step", lambda self, *a, **k: drawn.append(k["records"][0]) or honest(*a, **k)
        )
        lab.take(session, 4)
        felt, rate = session.watch.scores, 4 * session.plan.sampling_rate
        first = np.flatnonzero(session.watch.groups == 0)
        seen = np.isin(first, drawn[0].numpy())
        own = sum(1 / part.noise_multiplier**2 for part in session.plan.parts)
        np.testing.assert_allclose(felt[first[seen]], np.log(1 - rate + rate * np.exp(own / 2)), rtol=1e-3)
        np.testing.assert_allclose(felt[first[~seen]], np.log(1 - rate + rate * np.exp(-own / 2)), rtol=1e-3)
        assert not felt[session.watch.groups != 0].any()


def test_the_charge_is_the_same_and_a_resume_goes_on_with_the_same_canaries_and_scores(lab, tmp_path):
    out = tmp_path / "run"
    plan = lab.plan(iterations=40)
    with planted_session(lab, out, iterations=40) as session, lab.begin(tmp_path / "without", plan=plan) as without:
        lab.take(without, 2)
        lab.take(session, 2)
        assert session.guard.segments == without.guard.segments
        lab.stop_after(session, 6)
        planted, blocks, scores = session.planted, session.watch.blocks, session.watch.scores
    genesis = json.loads((out / "release" / "ledger.jsonl").read_text().splitlines()[0])
    assert genesis["canaries"] == {"count": M, "digest": planted.digest, "kind": "gradient"}
    with lab.resume(out) as session:
        assert session.planted.digest == planted.digest == verify_ledger(out).canaries.digest
        np.testing.assert_array_equal(session.watch.scores, scores)
        lab.stop_after(session, 5)
        assert session.watch.blocks > blocks > 0
    (out / "private" / "canaries.safetensors").write_bytes(draw_gradient_canaries(M).to_bytes())
    with pytest.raises(CheckpointError, match="not the file that the ledger names"):
        lab.resume(out)


def test_what_could_show_nothing_is_refused_before_anything_is_spent(lab, tmp_path):
    with pytest.raises(RunError, match="published feedback"):
        planted_session(lab, tmp_path / "paper", feedback="paper", epsilon=300.0)
    with pytest.raises(RunError, match="numbers"):
        planted_session(lab, tmp_path / "many", canaries=10_000_000)
    assert not list(tmp_path.iterdir())


def less_noise(monkeypatch):
    honest = ExactGaussian.floored
    monkeypatch.setattr(ExactGaussian, "floored", lambda self, shape, *, std: honest(self, shape, std=std / 2))


def one_part_without_noise(monkeypatch):
    from accountant.plans.parts import Part

    honest = Part.noise_on_grid
    monkeypatch.setattr(
        Part, "noise_on_grid", lambda self, bands: honest(self, bands) * (1e-3 if self.name == "classifier" else 1.0)
    )


def audited(lab, out, canaries=400, **changes):
    """(whole, by part) of a short run, at ε = 1 if nothing else is said."""
    plan = lab.plan(**{"epsilon": 1.0, "iterations": 16, **changes}, feedback="none")
    with lab.begin(out, plan=plan, canaries=canaries, canary_kind="gradient") as session:
        lab.stop_after(session, plan.steps)
        included, watch, composition = session.planted.included, session.watch, plan.events()
    show = partial(curve_bound, included=included, composition=composition, delta=plan.delta, confidence=0.95)
    return show(watch.scores), {name: show(values) for name, values in watch.by_part.items()}


def test_an_honest_run_is_refuted_neither_as_a_whole_nor_in_a_part(lab, tmp_path):
    whole, parts = audited(lab, tmp_path / "run")
    assert whole.noise > 1 and all(found.noise > 1 for found in parts.values()) and len(parts) > 1


def test_half_the_noise_is_refuted_by_one_run_alone(lab, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        less_noise(patch)
        # So many, and drawn so often, that chance hid it in none of eight runs (0.63 to 0.88 times the noise).
        whole, _ = audited(lab, tmp_path / "run", canaries=1500, epsilon=4.0, iterations=8, sampling_rate=0.9)
    assert whole.noise < 1


def test_a_part_without_noise_is_refuted_by_what_it_alone_shows(lab, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        one_part_without_noise(patch)
        _, parts = audited(lab, tmp_path / "run")
    assert parts["classifier"].noise < 1 < parts["critic"].noise
