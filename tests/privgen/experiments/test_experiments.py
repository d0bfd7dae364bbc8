"""Every experiment by the one way: its quick form runs, is recorded, goes on and is drawn; bad input is one line."""

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from privgen.cli import main
from privgen.errors import ConfigError
from privgen.experiments import resolution
from privgen.experiments.experiment import Experiment, carry_out
from privgen.experiments.gan_trials.training import GanTrainer
from privgen.experiments.gan_trials.trial import FORM as GAN_FORM
from privgen.experiments.gan_trials.trial import GanResult
from privgen.experiments.records import Finished, TrialForm, TrialLog
from privgen.experiments.registry import EXPERIMENTS, experiment_named
from privgen.experiments.spread import Spread, difference

GAN_EXPERIMENTS = [name for name in EXPERIMENTS if name != "clipping-bias"]


def experiment(*arguments):
    return CliRunner().invoke(main, ["experiment", *map(str, arguments)])


def refused(done, *words):
    """One line that ends in a remedy, and exit status 1."""
    assert done.exit_code == 1, done.output
    assert "Traceback" not in done.output and "bug" not in done.output
    (line,) = done.stderr.strip().splitlines()
    assert all(word in line for word in words), line


@pytest.mark.parametrize("name", GAN_EXPERIMENTS)
def test_a_quick_form_trains_under_the_guard_is_recorded_and_is_drawn_again_without_training(
    name, tmp_path, monkeypatch
):
    first = experiment(name, "--quick", "--out", tmp_path / "a")
    assert first.exit_code == 0, first.output
    log = TrialLog(tmp_path / "a" / "results.jsonl", GAN_FORM)
    found = log.all()
    assert {one.trial.variant for one in found} == set(experiment_named(name).choices(quick=True).only)
    for one in found:
        assert 0 <= one.result["certified"] <= one.trial.epsilon
        if not one.trial.overrun and one.trial.epsilon <= 10:
            assert one.result["steps"] >= one.trial.iterations
            assert one.result["certified"] > 0.8 * one.trial.epsilon
    written = log.path.read_bytes()

    def never(*args, **kwargs):
        raise AssertionError("a recorded trial was trained again")

    monkeypatch.setattr(GanTrainer, "__call__", never)
    again = experiment(name, "--quick", "--out", tmp_path / "a")
    drawn = experiment(name, "--from", log.path, "--out", tmp_path / "b")
    assert again.exit_code == drawn.exit_code == 0, again.output + drawn.output
    assert log.path.read_bytes() == written
    for one in found:
        assert f"| {one.trial.variant} |" in drawn.output
    assert (tmp_path / "b" / f"{name}.md").read_bytes() == (tmp_path / "a" / f"{name}.md").read_bytes()
    assert (tmp_path / "b" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_list_has_every_experiment_with_its_question():
    said = experiment("list").output
    for name, (_, question) in EXPERIMENTS.items():
        assert name in said and question.split()[0] in said
        assert experiment_named(name).name == name


def test_every_experiment_asks_for_different_trials_with_each_seed():
    for name in GAN_EXPERIMENTS:
        one = experiment_named(name)
        planned = [
            json.dumps(GAN_FORM.to_json(trial), sort_keys=True) for trial in one.planned(one.choices(quick=False))
        ]
        assert len(set(planned)) == len(planned) > 4
        assert len(one.planned(one.choices(quick=False, seeds=1))) * one.defaults.seeds == len(planned)


def toy(train, count=3):
    """An experiment whose trials are numbers."""

    def explore(choices, ask):
        for seed in range(count):
            ask("only", {"seed": seed})

    form = TrialForm(schema="privgen.toy/1", to_json=dict, from_json=dict, result=_loss)
    return Experiment(
        name="toy", question="?", factors="", form=form, defaults=None, quick={}, explore=explore,
        trainer=lambda choices, data_dir: train, describe=lambda stage, trial: f"seed {trial['seed']}",
        steps=lambda trial: 10, score=str, tables=str, figure=str,
    )  # fmt: skip


def _loss(result: Mapping[str, float]) -> Mapping[str, float]:
    return {"loss": float(result["loss"])}


def test_what_was_recorded_before_an_interruption_is_not_trained_again(tmp_path):
    seen = []

    def train(trial, *, tick):
        seen.append(trial["seed"])
        if len(seen) == 2:
            raise KeyboardInterrupt
        return {"loss": 0.5}

    one = toy(train)
    path = tmp_path / "results.jsonl"
    with pytest.raises(KeyboardInterrupt):
        carry_out(one, None, TrialLog(path, one.form), None)
    carry_out(one, None, TrialLog(path, one.form), None)
    assert seen == [0, 1, 1, 2]
    assert [found.trial["seed"] for found in TrialLog(path, one.form).all()] == [0, 1, 2]


def test_progress_counts_the_steps_that_are_missing_and_a_trial_that_ends_early_is_done(tmp_path):
    def train(trial, *, tick):
        for _ in range(10 if trial["seed"] else 4):
            tick()
        return {"loss": 0.5}

    one, updates = toy(train), []
    log = TrialLog(tmp_path / "results.jsonl", one.form)
    carry_out(one, None, log, None, update=lambda what, done, total: updates.append((done, total)))
    assert [done for done, _ in updates[:6]] == [1, 2, 3, 4, 10, 11]
    assert updates[-1] == (30, 30) and {total for _, total in updates} == {30}


def recorded(path, count=3):
    one = toy(lambda trial, *, tick: {"loss": 0.5}, count)
    carry_out(one, None, TrialLog(path, one.form), None)
    return one.form


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("not json", ("line 2", "damaged", "remove the line")),
        ('{"schema":"privgen.toy/2"}', ("line 2", "privgen.toy/2", "another version", "--out")),
        ('{"schema":"privgen.toy/1","stage":"only","trial":{"seed":1},"result":{}}', ("line 2", "remove the line")),
        ("[]", ("line 2", "remove the line")),
    ],
)
def test_a_damaged_line_is_named_and_nothing_is_taken_from_the_file(tmp_path, line, words):
    path = tmp_path / "results.jsonl"
    form = recorded(path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], line, lines[2]]) + "\n")
    before = path.read_bytes()
    with pytest.raises(ConfigError) as error:
        TrialLog(path, form)
    assert all(word in str(error.value) for word in words)
    assert path.read_bytes() == before


def test_reading_leaves_a_line_that_a_crash_cut_off_and_the_next_trial_replaces_it(tmp_path):
    path = tmp_path / "results.jsonl"
    form = recorded(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    assert [one.trial["seed"] for one in TrialLog(path, form).all()] == [0, 1]
    assert path.read_bytes() == whole[:-9]
    recorded(path)
    assert path.read_bytes() == whole


def test_lines_that_another_process_added_meanwhile_stay(tmp_path):
    path = tmp_path / "results.jsonl"
    form = recorded(path, 1)
    one, other = TrialLog(path, form), TrialLog(path, form)
    one.add(Finished("only", {"seed": 1}, {"loss": 0.1}))
    other.add(Finished("only", {"seed": 2}, {"loss": 0.2}))
    assert [found.trial["seed"] for found in TrialLog(path, form).all()] == [0, 1, 2]


def test_an_experiment_whose_later_trials_depend_on_results_trains_them_though_the_guess_is_recorded(tmp_path):
    seen = []

    def explore(choices, ask):
        ask("only", {"seed": 5 if ask("only", {"seed": 0})["loss"] < 1 else 0})

    def train(trial, *, tick):
        seen.append(trial["seed"])
        return {"loss": 0.5}

    one = replace(toy(train), explore=explore, guess={"loss": 2.0})
    log = TrialLog(tmp_path / "results.jsonl", one.form)
    log.add(Finished("only", {"seed": 0}, {"loss": 0.5}))
    assert [trial["seed"] for trial in one.planned(None)] == [0, 0]
    carry_out(one, None, log, None)
    assert seen == [5]


def test_resolution_has_images_of_its_own(tmp_path):
    refused(experiment("resolution", "--dataset", "digits", "--out", tmp_path), "photographs", "omit --dataset")


def test_records_of_another_experiment_are_refused_in_one_line(tmp_path):
    path = tmp_path / "results.jsonl"
    recorded(path)
    refused(experiment("ablation", "--from", path, "--out", tmp_path), "privgen.toy/1", "privgen.gan-trial/1")
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    refused(experiment("ablation", "--from", empty, "--out", tmp_path), "no finished trial of ablation", "--from")


def test_an_experiment_that_there_is_not_is_wrong_usage_with_the_one_that_was_meant():
    done = experiment("ablatoin")
    assert done.exit_code == 2 and "ablation" in done.stderr


def test_data_that_are_not_here_are_one_line(tmp_path):
    refused(experiment("ablation", "--dataset", "celeba", "--data-dir", tmp_path, "--out", tmp_path / "a"), "celeba")


def test_one_class_is_too_few_and_what_was_recorded_stays(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (40, 16, 16, 1), dtype=np.uint8)
    np.savez(tmp_path / "one.npz", images=images, labels=np.zeros(40, np.int64))
    log = tmp_path / "a" / "results.jsonl"
    trial = experiment_named("ablation").planned(experiment_named("ablation").defaults)[0]
    result = dict.fromkeys(GanResult.__required_keys__, 0)
    TrialLog(log, GAN_FORM).add(Finished("ablation", trial, result))
    kept = log.read_bytes()
    done = experiment("ablation", "--quick", "--dataset", f"npz:{tmp_path / 'one.npz'}", "--out", tmp_path / "a")
    refused(done, "at least two classes", "--dataset digits")
    assert log.read_bytes() == kept


def test_photographs_are_held_out_by_place_and_the_same_at_every_size():
    small, large = resolution.patches(16), resolution.patches(64)
    assert small.train.images.shape[1:] == (16, 16, 3) and large.train.images.shape[1:] == (64, 64, 3)
    assert np.array_equal(small.train.labels, large.train.labels) and set(large.test.labels) == {0, 1}
    blocks = large.train.images.reshape(-1, 16, 4, 16, 4, 3).mean((2, 4))
    assert np.abs(blocks - small.train.images).max() <= 1
    everything = {image.tobytes() for image in large.train.images}
    assert not any(image.tobytes() in everything for image in large.test.images)


def test_a_gain_is_bold_only_beyond_what_seeds_scatter():
    low, high = Spread.of([80.0, 80.2, 80.4]), Spread.of([82.0, 82.2, 82.4])
    assert difference(high, low).text(1) == "**+2.0 ± 0.2**"
    assert not difference(Spread.of([80.1, 80.5, 80.6]), low).told_apart
    # One seed tells nothing, and two need 4.3 standard errors where three need 2.8.
    assert difference(Spread.of([90.0]), low).text(1) == "+9.8"
    assert not difference(Spread.of([80.5, 80.7]), Spread.of([80.1, 80.3])).told_apart
