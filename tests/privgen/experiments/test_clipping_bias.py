"""The clipping-bias experiment in miniature: what its numbers mean, what its trials spend, that it resumes."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from accountant import RdpAccountant, SubsampledGaussian
from privgen.cli import main
from privgen.errors import ConfigError
from privgen.experiments.clipping_bias import training
from privgen.experiments.clipping_bias.experiment import FORM
from privgen.experiments.clipping_bias.figure import figure
from privgen.experiments.clipping_bias.grid import TUNING_SEED, Grid, climbed, explore, rescaled, variants
from privgen.experiments.clipping_bias.probe import place_of, probe
from privgen.experiments.clipping_bias.settings import DELTA, Trial, mechanism
from privgen.experiments.clipping_bias.summary import gain, groups
from privgen.experiments.clipping_bias.tables import tables
from privgen.experiments.clipping_bias.tasks import ClassifierTask, Records, task_of
from privgen.experiments.clipping_bias.training import train
from privgen.experiments.records import Finished, TrialLog

SMALL = {"task": "mlp", "epsilon": 3.0, "learning_rate": 0.1, "iterations": 12, "batch_size": 20}
METHODS = (
    {"feedback": "none"},
    {"feedback": "banded", "bands": 3},
    {"feedback": "banded", "bands": 3, "decay": 0.5},
    {"feedback": "banded", "bands": 3, "now": 0.6, "lookahead": 1.0},
    {"feedback": "correlated", "bands": 3},
    {"feedback": "paper", "feedback_ratio": 0.01},
    {"feedback": "paper-claimed", "feedback_ratio": 2.0},
)


@pytest.fixture(scope="module")
def records(lab):
    return Records.of(lab.data())


def small(**changes):
    return Trial(**{**SMALL, "total_clip": 0.5, "feedback": "none", **changes})


@pytest.mark.parametrize("method", METHODS)
def test_the_guard_charges_exactly_the_planned_steps_within_the_budget(records, monkeypatch, method):
    guards = []

    class Watched(training.BudgetGuard):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            guards.append(self)

    monkeypatch.setattr(training, "BudgetGuard", Watched)
    trial = small(**method)
    result = train(trial, records)
    (guard,) = guards
    assert guard.steps == trial.iterations
    charged = guard.epsilon_spent()
    assert 0.95 * result["certified"] < charged <= result["certified"]
    if trial.feedback == "paper-claimed":
        assert result["claimed"] == 3.0 and charged > 20
    else:
        assert result["certified"] == 3.0


def test_the_claimed_budget_is_what_plain_accounting_says_of_deflated_noise():
    trial = small(feedback="paper-claimed", feedback_ratio=2.0)
    z = mechanism(trial, part="classifier", dataset_size=200).event.noise_multiplier
    plain = SubsampledGaussian(sampling_rate=0.1, noise_multiplier=z / math.sqrt(3))
    assert RdpAccountant().compose(plain, 12).get_epsilon(DELTA) == pytest.approx(3.0, rel=2e-3)


def test_unequal_payments_are_noised_for_what_one_draw_can_move_in_a_block():
    trial = small(feedback="banded", bands=4, decay=0.5, now=0.4)
    made = mechanism(trial, part="classifier", dataset_size=200)
    block = np.array([trial.clip_norm, *(w * trial.residual_clip_norm for w in trial.payments)])
    assert sum(trial.payments) == pytest.approx(1)
    assert trial.clip_norm + trial.residual_clip_norm == pytest.approx(0.5)
    assert made.released.sensitivity(4) >= np.linalg.norm(block)
    assert made.released.sensitivity(4) == pytest.approx(np.linalg.norm(block))


def test_correlated_noise_is_noised_for_a_whole_block_and_leaves_the_gradients_as_they_are(records, monkeypatch):
    trial = small(feedback="correlated", bands=4)
    made = mechanism(trial, part="classifier", dataset_size=200)
    # c_k c_{k'} convolve to ones: a square root of the sums' matrix.
    assert np.convolve(trial.mixing, trial.mixing)[:4] == pytest.approx(np.ones(4))
    assert made.released.sensitivity(4) == pytest.approx(0.5 * np.linalg.norm(trial.mixing))

    class Silent:
        def floored(self, shape, *, std):
            return np.zeros(shape, dtype=np.int64)

    monkeypatch.setattr(training.ExactGaussian, "insecure_fixed_seed", lambda seed: Silent())
    mixed = train(trial, records)
    # The same draws without mixing: all of the gradient at once, and nothing owed.
    plain = train(small(feedback="banded", bands=4, now=1.0), records)
    assert [c["loss"] for c in mixed["curve"]] == pytest.approx([c["loss"] for c in plain["curve"]], rel=1e-3)


def test_unequal_payments_at_equal_parts_are_the_engine_s_feedback(records, monkeypatch):
    trial = small(feedback="banded", bands=3)
    plain = train(trial, records)
    # A decay that rounds to equal parts takes the other way through the code.
    other = train(replace(trial, decay=1 - 1e-13), records)
    assert [c["loss"] for c in other["curve"]] == pytest.approx([c["loss"] for c in plain["curve"]], rel=1e-3)


def test_a_trial_is_repeated_exactly(records):
    first, second = (train(small(feedback="banded", bands=3), records) for _ in range(2))
    first.pop("cpu_seconds"), second.pop("cpu_seconds")
    assert first == second


def _measure(records, trial, *, places=None, error=None):
    task = task_of(trial, records)
    made = mechanism(trial, part="classifier", dataset_size=200)
    at = places(task) if places else [place_of(task)]
    return probe(task, trial, made, places=at, records=(records.images[:50], records.labels[:50]), error=error)


def test_without_clipping_there_is_no_bias(records):
    found = _measure(records, small(total_clip=1e6))
    assert found["bias"] < 1e-5 and found["cosine"] > 1 - 1e-5 and found["ratio"] == pytest.approx(1, abs=1e-5)
    assert found["clipped"] == 0


def test_the_bias_is_that_of_gradients_clipped_one_by_one(records):
    trial = small(total_clip=0.5)
    found = _measure(records, trial)
    task = ClassifierTask(trial, records)
    each = []
    for x, y in zip(records.images[:50], records.labels[:50], strict=True):
        loss = torch.nn.functional.cross_entropy(task.module(x[None]), y[None])
        each.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(task.module.parameters()))]))
    each = torch.stack(each)
    clipped = each * (0.5 / each.norm(dim=1, keepdim=True)).clamp(max=1)
    update, true = clipped.mean(0), each.mean(0)
    assert found["bias"] == pytest.approx(float((update - true).norm() / true.norm()), rel=1e-4)
    assert found["cosine"] == pytest.approx(float(torch.cosine_similarity(update, true, dim=0)), rel=1e-4)
    assert found["clipped"] == pytest.approx(float((each.norm(dim=1) > 0.5).float().mean()))


def test_banded_feedback_that_stands_still_has_the_bias_of_the_total_clip_norm(records):
    def still(task):
        return [place_of(task)] * 4

    banded = _measure(records, small(feedback="banded", bands=4), places=still)
    plain = _measure(records, small())
    assert banded["bias"] == pytest.approx(plain["bias"], rel=1e-4)


def test_delay_is_a_bias_where_the_weights_move(records):
    def moved(task):
        before = place_of(task)
        with torch.no_grad():
            for p in task.module.parameters():
                p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
        return [place_of(task), before, before, before]

    assert _measure(records, small(feedback="banded", bands=4), places=moved)["cosine"] < 0.99


def test_a_probe_leaves_the_training_where_it_was(records):
    trial = small(task="critic", feedback="banded", bands=2, learning_rate=1e-3, momentum=0.5)
    task = task_of(trial, records)
    weights, companions = place_of(task)
    made = mechanism(trial, part="critic", dataset_size=200)
    places = [place_of(task), place_of(task)]
    probe(task, trial, made, places=places, records=(records.images[:9], records.labels[:9]), error=None)
    after, companions_after = place_of(task)
    assert all(torch.equal(after[n], weights[n]) for n in weights)
    assert all(torch.equal(companions_after[n], companions[n]) for n in companions)


@pytest.mark.parametrize("task", ["cnn", "critic"])
def test_convolutions_and_the_critic_train(records, task):
    result = train(small(task=task, feedback="banded", bands=2, iterations=6), records)
    assert math.isfinite(result["loss"]) and len(result["probes"]) >= 3
    assert ("accuracy" in result) == (task == "cnn")


def test_climbing_follows_the_best_beyond_the_first_three_rates():
    tried = []

    def score(trial):
        tried.append(trial.learning_rate)
        return -abs(math.log2(trial.learning_rate / 0.4))

    assert climbed(small(learning_rate=0.1), score).learning_rate == pytest.approx(0.4)
    assert len(tried) == 5


def test_the_grid_tunes_dp_sgd_first_and_compares_with_fresh_seeds():
    seen = []

    def trainer(stage, trial):
        seen.append((stage, trial))
        return {"accuracy": -abs(math.log(trial.total_clip / 0.3)) - abs(math.log(trial.learning_rate)), "loss": 0.0}

    explore(Grid(epsilons=(1.0,), bands=(2,), seeds=2), trainer)
    tuned = [trial for stage, trial in seen if stage == "tune"]
    assert all(t.feedback == "none" and t.seed == TUNING_SEED for t in tuned)
    fresh = [trial for stage, trial in seen if stage == "match" and trial.seed != TUNING_SEED]
    assert {t.total_clip for t in fresh} == {0.3}
    assert {(t.feedback, t.seed) for t in fresh} == {
        (feedback, seed) for feedback in ("none", "banded", "paper", "paper-claimed") for seed in (0, 1)
    }
    assert {t.total_clip for stage, t in seen if stage == "clips"} == {0.9, 0.1}
    assert {t.feedback for stage, t in seen if stage == "correlate"} == {"correlated"}


def test_variants_change_one_thing_each():
    trial = small(feedback="banded", bands=4, momentum=0.9)
    changed = [
        {name for name, value in variant.to_json().items() if value != trial.to_json()[name]}
        for variant in variants(trial)
    ]
    assert changed == [{"momentum", "learning_rate"}, {"now"}, {"decay"}, {"lookahead"}]


def test_another_clip_norm_keeps_the_step():
    trial = rescaled(small(total_clip=0.3, learning_rate=0.2), 3)
    assert trial.total_clip == pytest.approx(0.9)
    assert trial.total_clip * trial.learning_rate == pytest.approx(0.06)


def _finished(accuracies, stage="match", **changes):
    return [
        Finished(
            stage,
            small(seed=seed, **changes),
            {
                "accuracy": accuracy,
                "loss": 1.0,
                "curve": [{"step": 6, "accuracy": 1.0, "loss": 2.0}, {"step": 12, "accuracy": accuracy, "loss": 1.0}],
                "probes": [
                    {"step": s, "bias": 0.5, "cosine": 0.9, "ratio": 0.1 * s, "noise": 2.0, "clipped": 1.0}
                    for s in (1, 3)
                ],
                "noise_multiplier": 1.0,
                "noise_std": 0.5,
                "certified": 3.0,
                "claimed": None,
            },
        )
        for seed, accuracy in enumerate(accuracies)
    ]


def test_a_difference_is_told_apart_only_beyond_student_s_t():
    plain, better, same = groups(
        _finished([80.0, 80.2, 80.4])
        + _finished([82.0, 82.2, 82.4], feedback="banded", bands=2)
        + _finished([80.1, 80.5, 80.6], feedback="banded", bands=4)
    )
    gap = gain(better, plain)
    assert gap.mean == pytest.approx(2.0)
    assert gap.error == pytest.approx(math.sqrt(2 * 0.2**2 / 3))
    assert gap.told_apart and not gain(same, plain).told_apart


def test_norms_that_grow_count_as_inconsistent():
    (group,) = groups(_finished([80.0, 80.2]))
    assert group.inconsistency.mean == pytest.approx(0.5)  # ratios 0.1 and 0.3: deviation 0.1 of a mean of 0.2


def test_the_tuning_seed_is_in_no_group():
    one = _finished([80.0])[0]
    assert groups([replace(one, trial=replace(one.trial, seed=TUNING_SEED))]) == []


def test_tables_and_plot_come_from_the_log_alone(tmp_path):
    finished = _finished([80.0, 80.2]) + _finished([82.0, 82.2], feedback="banded", bands=2)
    text = tables(finished)
    assert "banded, b = 2" in text and "**+2.00 ± 0.14**" in text and "82.10 ± 0.14" in text
    figure(finished).savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_log_forgets_a_line_that_a_crash_cut_off(tmp_path):
    log = TrialLog(tmp_path / "results.jsonl", FORM)
    for one in _finished([80.0, 81.0]):
        log.add(one)
    whole = log.path.read_bytes()
    log.path.write_bytes(whole[:-20])
    again = TrialLog(log.path, FORM)
    assert [one.result["accuracy"] for one in again.all()] == [80.0]
    again.add(_finished([80.0, 81.0])[1])
    assert log.path.read_bytes() == whole


def test_a_log_of_something_else_is_refused(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps({"schema": "other"}) + "\n")
    with pytest.raises(ConfigError, match="line 1"):
        TrialLog(path, FORM)


@pytest.mark.parametrize(
    "wrong",
    [{"feedback": "banded"}, {"bands": 2}, {"total_clip": 0.0}, {"now": 1.5}, {"momentum": 1.0}, {"task": "vgg"}],
)
def test_a_trial_refuses_what_it_cannot_be(wrong):
    with pytest.raises(ConfigError, match=next(reversed(wrong)) if "feedback" not in wrong else "bands"):
        small(**wrong)


def test_the_command_trains_what_is_missing_and_redraws_without_training(tmp_path, npz_file):
    def run(*options):
        return CliRunner().invoke(main, ["experiment", "clipping-bias", *options])

    size = ["--dataset", f"npz:{npz_file}", "--iterations", "6", "--stages", "tune,match"]
    first = run("--quick", "--out", str(tmp_path / "a"), *size)
    assert first.exit_code == 0, first.output
    log = tmp_path / "a" / "results.jsonl"
    lines = log.read_text().splitlines()
    again = run("--quick", "--out", str(tmp_path / "a"), *size)
    assert again.exit_code == 0 and log.read_text().splitlines() == lines
    drawn = run("--from", str(log), "--out", str(tmp_path / "b"))
    assert drawn.exit_code == 0
    assert (tmp_path / "b" / "clipping-bias.md").read_text() == (tmp_path / "a" / "clipping-bias.md").read_text()
    assert (tmp_path / "b" / "clipping-bias.png").exists()


@pytest.mark.parametrize("options", [["--epsilons", "0"], ["--bands", "1"], ["--stages", "all"], ["--epsilons", "x"]])
def test_an_option_out_of_range_is_wrong_usage(options):
    assert CliRunner().invoke(main, ["experiment", "clipping-bias", *options]).exit_code == 2
