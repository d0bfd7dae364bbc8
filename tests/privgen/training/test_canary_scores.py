"""Watching canaries changes nothing of what is trained, and a score is high for who was drawn."""

import json

import numpy as np
import pytest
import torch

from accountant.ledger.replay import verify_ledger
from privgen.attacks.worlds import seeded_coins
from privgen.data.batches import to_tensor
from privgen.errors import CheckpointError
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.part_feedback import weighting_of
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.training import canaries
from privgen.training import private_step as steps
from privgen.training import records as records_module
from privgen.training.canaries import Canaries, Scores


def planted_session(lab, out, **changes):
    return lab.begin(out, plan=lab.plan(**changes), canaries=64)


def watched_step(session, rows):
    phase = session.plan.phase_at(0)
    receipt = session.guard.admit(session.plan.event_of(phase))
    images, labels = session.planted.images[rows], session.planted.labels[rows]
    step = session.watch.step(
        session.state, session.plan, parts=session.plan.parts_in(phase), receipt=receipt,
        records=(to_tensor(images, torch.device("cpu")), torch.from_numpy(labels)),
    )  # fmt: skip
    return step, receipt


def classifier_sums(session, event, images, labels):
    part = next(part for part in session.plan.parts if part.name == "classifier")
    task = session.state.learner.record_task(part.name, session.state.beside)
    return part, task.sums((images, labels), weighting_of(part, event), physical_batch=24)


def test_sums_with_canaries_are_the_sums_of_one_batch(lab, tmp_path):
    with planted_session(lab, tmp_path / "run") as session:
        step, receipt = watched_step(session, [3, 5, 8])
        train = session.data.train
        own = (to_tensor(train.images[:7], torch.device("cpu")), torch.from_numpy(train.labels[:7]))
        whole = [torch.cat(pair) for pair in zip(own, step.records, strict=True)]
        part, together = classifier_sums(session, receipt.event, *whole)
        _, apart = classifier_sums(session, receipt.event, *own)
        _, planted = classifier_sums(session, receipt.event, *step.records)
        both = step.merge_sums(part, apart, planted)
        for one, other in zip(both.sums, together.sums, strict=True):
            for name in one:
                assert torch.equal(one[name], other[name])
        assert len(both.norms) == 10


def seeded_canaries(monkeypatch, count):
    """Runs are begun with the same canaries each time."""
    seeded = np.random.default_rng(2)
    with monkeypatch.context() as patch:
        patch.setattr(canaries.os, "urandom", seeded.bytes)
        planted = canaries.draw_canaries(count, image_shape=(16, 16, 1), classes=3)
    monkeypatch.setattr(records_module, "draw_canaries", lambda *_, **__: planted)
    return planted


def area(scores, included):
    """Under the curve of telling them apart."""
    return (scores[included][:, None] > scores[~included][None]).mean()


def test_without_noise_who_was_drawn_is_felt_and_who_was_not_is_not(lab, tmp_path, monkeypatch):
    seeded_canaries(monkeypatch, 64)
    monkeypatch.setattr(ExactGaussian, "floored", lambda self, shape, *, std: np.zeros(shape, dtype=np.int64))
    with planted_session(lab, tmp_path / "run", feedback="none", iterations=4) as session:
        rows = [0, 9, 17, 22, 40, 51]
        step, receipt = watched_step(session, rows)
        train = session.data.train
        steps.private_step(
            session.state, session.plan, parts=session.plan.parts, receipt=receipt,
            records=(to_tensor(train.images[:20], torch.device("cpu")), torch.from_numpy(train.labels[:20])),
            noise=session.noise, planted=step,
        )  # fmt: skip
        assert session.watch.blocks == 1
        assert area(session.watch.scores, np.isin(np.arange(64), rows)) > 0.65


def test_scores_tell_who_was_in_from_who_was_not(lab, tmp_path, monkeypatch):
    """A budget that protects hardly anybody; canaries, coins and noise from a seed, so that it ends alike each time."""
    planted = seeded_canaries(monkeypatch, 96)
    options = {
        "noise": lambda: ExactGaussian.insecure_fixed_seed(1),
        "beside": lambda on: RecordNumbers.insecure_fixed_seed(1, device=on),
        "coins": seeded_coins(1),
        "latents": lambda on: torch.Generator(device=on).manual_seed(1),
    }
    plan = lab.plan(epsilon=300.0, iterations=40)
    with lab.begin(tmp_path / "run", plan=plan, canaries=96, **options) as session:
        lab.stop_after(session, 40)
        assert area(session.watch.scores, planted.included) > 0.65


def test_a_block_is_scored_when_it_ends_and_only_of_whose_turn_it_was(lab, tmp_path):
    with planted_session(lab, tmp_path / "run", bands=4, iterations=12) as session:
        lab.take(session, 3)
        assert session.watch.blocks == 0 and not session.watch.scores.any()
        lab.take(session, 1)
        groups = session.watch.groups
        assert session.watch.blocks == 1
        assert session.watch.scores[groups == 0].all() and not session.watch.scores[groups != 0].any()


def test_the_charge_is_the_same_with_canaries_and_only_those_that_are_in_can_be_drawn(lab, tmp_path):
    with planted_session(lab, tmp_path / "with") as with_them, lab.begin(tmp_path / "without") as without:
        lab.take(with_them, 2)
        lab.take(without, 2)
        assert with_them.guard.segments == without.guard.segments
        assert with_them.guard.epsilon_spent() == without.guard.epsilon_spent()
        drawable = sum(len(group) for group in with_them.sampler._members)
        assert drawable == len(with_them.data.train.labels) + int(with_them.planted.included.sum())


def test_a_resume_goes_on_with_the_same_canaries_and_scores(lab, tmp_path):
    out = tmp_path / "run"
    with planted_session(lab, out, iterations=40) as session:
        lab.stop_after(session, 6)
        planted, blocks, scores = session.planted, session.watch.blocks, session.watch.scores
    assert Scores.read((out / "private" / "canary-scores.safetensors").read_bytes()).blocks == blocks > 0
    with lab.resume(out) as session:
        assert session.planted.digest == planted.digest == verify_ledger(out).canaries.digest
        np.testing.assert_array_equal(session.watch.scores, scores)
        lab.stop_after(session, 5)
        assert session.watch.blocks > blocks


def test_a_resume_refuses_other_canaries_and_lost_ones(lab, tmp_path):
    out = tmp_path / "run"
    with planted_session(lab, out) as session:
        lab.stop_after(session, 2)
    path = out / "private" / "canaries.safetensors"
    planted = Canaries.read(path.read_bytes())
    path.write_bytes(
        Canaries(images=planted.images, labels=planted.labels, ids=planted.ids, included=~planted.included).to_bytes()
    )
    with pytest.raises(CheckpointError, match="not the file that the ledger names"):
        lab.resume(out)
    path.unlink()
    with pytest.raises(CheckpointError, match="restore it"):
        lab.resume(out)
    entries = (out / "release" / "ledger.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in entries].count("resume") == 0


def test_a_score_is_the_likelihood_ratio_of_a_draw_at_the_block_s_rate(lab, tmp_path, monkeypatch):
    """A record of the block's group is drawn with probability b·q, and whoever was not felt loses by just that."""
    from privgen.training import canary_scores

    with planted_session(lab, tmp_path / "run", bands=4, iterations=12) as session:
        event = session.plan.events()[0][0]
        rate = 4 * event.sampling_rate
        felt = torch.tensor([0.0, -40.0, 3.0], dtype=torch.float64)
        monkeypatch.setattr(canary_scores, "_felt", lambda *args: felt)
        block = canary_scores._Block(who=np.array([1, 5, 9]), expected=torch.zeros(3), turns={"critic": None})
        session.watch.score(block, event, {"critic": None})
        expected = np.log(1 - rate + rate * np.exp(felt.numpy()))
        np.testing.assert_allclose(session.watch.scores[[1, 5, 9]], expected, atol=1e-12)
        assert expected[1] == pytest.approx(np.log(1 - rate))
        watched_step(session, [3])
        (open_block,) = session.watch._open
        chance = rate / (1 + np.exp(-session.watch.scores[open_block.who]))
        np.testing.assert_allclose(open_block.expected.numpy(), chance)
