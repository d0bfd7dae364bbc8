"""Trials that are runs of the GAN: what they spend, that they can be repeated, and what is looked at in them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from accountant.ledger.outside_head import state_folder
from accountant.ledger.register import SpendRegister
from privgen.errors import ConfigError
from privgen.experiments.gan_trials.groups import gain, gan_groups, gan_table, measure, named
from privgen.experiments.gan_trials.observers import AT_END, CURVES, within_class_spread
from privgen.experiments.gan_trials.training import GanTrainer
from privgen.experiments.gan_trials.trial import FORM, GanChoices, GanTrial
from privgen.experiments.records import Finished
from privgen.training.loop import run

CHOICES = GanChoices(dataset="synthetic", iterations=6, batch_size=20, samples=100, metrics=("gen2real",))


@pytest.fixture
def trainer(lab):
    return GanTrainer(lambda name: (lab.data(), None))


def small(variant="plain", **changes):
    settings = {"latent_dim": 8, "generator_batch": 6, **changes.pop("settings", {})}
    return CHOICES.trial(variant, epsilon=changes.pop("epsilon", 5.0), settings=settings, **changes)


def trained(trainer, trial):
    return trainer(trial, tick=lambda: None)


def test_a_trial_is_repeated_exactly_and_another_seed_is_another_run(trainer):
    trial = small(watched={"spread": 2})
    first, second, other = (trained(trainer, one) for one in (trial, trial, trial.with_seed(1)))
    for result in (first, second, other):
        result.pop("seconds"), result.pop("step_seconds")
    assert first == second
    assert first["curves"] != other["curves"]


def test_a_trial_spends_its_budget_and_leaves_nothing_behind(trainer, tmp_path, monkeypatch):
    monkeypatch.setenv("PRIVGEN_STATE", str(tmp_path))
    result = trained(trainer, small())
    assert result["steps"] == 6 and 4.5 < result["certified"] <= 5
    assert SpendRegister().empty
    assert state_folder() == tmp_path and list(tmp_path.rglob("*.json")) == []


def test_a_plan_that_is_overrun_is_halted_before_it_costs_more(trainer):
    longer = small(overrun={"iterations": 3.0}, metrics=())
    assert longer.iterations == 18
    result = trained(trainer, longer)
    assert 6 <= result["steps"] < 18 and result["certified"] <= 5 and "budget is reached" in result["outcome"]
    faster = trained(trainer, small(overrun={"sampling_rate": 2.0}, plan={"bands": 1}, metrics=()))
    assert faster["steps"] < 6 and faster["certified"] <= 5


def test_a_trial_comes_back_from_its_json_and_a_wrong_one_is_refused():
    trial = small(warm=True, overrun={"iterations": 2.0}, watched={"sigma": 3})
    assert GanTrial.from_json(trial.to_json()) == trial
    assert trial.gan_settings().seed == 0 and trial.with_seed(4).gan_settings().seed == 4
    for wrong in ({"epsilon": 0.0}, {"seed": -1}, {"colour": "red"}):
        with pytest.raises(ConfigError):
            GanTrial.from_json({**trial.to_json(), **wrong})
    with pytest.raises(KeyError, match="certified"):
        FORM.result({"steps": 3})


def test_spread_within_a_class_is_of_one_class_at_a_time():
    images = np.zeros((4, 2, 2, 1), np.uint8)
    images[2:] = 200
    assert within_class_spread(images, np.array([0, 0, 1, 1])) == 0
    assert within_class_spread(images, np.array([0, 1, 0, 1])) == 100


def test_looking_at_a_run_moves_nothing_in_it(lab, tmp_path):
    def weights(look):
        from privgen.training.insecure import seeded

        with lab.begin(tmp_path / str(look), plan=lab.plan(feedback="none", iterations=4), **seeded(3)) as session:
            for _ in run(session):
                if look:
                    for observe in CURVES.values():
                        observe(session)
            if look:
                AT_END["reconstruction"](session, lab.data())
            return session.state.learner.averaged.state_dict()

    seen, unseen = weights(True), weights(False)
    assert all(torch.equal(seen[name], unseen[name]) for name in seen)


def test_a_perfect_reconstruction_has_no_distance_and_its_measure_is_in_grey_values(lab, tmp_path):
    data = lab.data()
    with lab.begin(tmp_path / "run") as session:
        generator = session.state.learner.networks.generator
        x = torch.tensor(data.test.images).permute(0, 3, 1, 2).float() / 127.5 - 1
        generator.decode = lambda z, labels, source: x
        perfect = AT_END["reconstruction"](session, data)
        generator.decode = lambda z, labels, source: x.clamp(-1, 1) * 0 - 1
        black = AT_END["reconstruction"](session, data)
    assert perfect["reconstruction pixels"] == 0
    expected = np.sqrt((data.test.images.astype(float) ** 2).mean())
    assert black["reconstruction pixels"] == pytest.approx(expected)
    assert black["other pixels"] == perfect["other pixels"] > 50


def finished(variant, values, **changes):
    result = {"steps": 6, "outcome": "", "certified": 4.9, "noise": {}, "curves": {}, "seconds": 1.0}
    return [
        Finished("x", replace(small(variant, **changes), seed=seed), {**result, "measures": {"fid": value}})
        for seed, value in enumerate(values)
    ]


def test_tables_group_by_everything_but_the_seed_and_compare_like_with_like():
    groups = gan_groups(
        finished("base", [10.0, 12.0, 11.0]) + finished("new", [5.0, 6.0, 5.5]) + finished("base", [1.0], epsilon=1.0)
    )
    assert [len(g.finished) for g in groups] == [3, 3, 1]
    columns = measure("fid") | gain("fid", lambda g: named(groups, "base", g), "base")
    lines = gan_table(groups, columns).splitlines()
    assert lines[2:] == ["| 11.0 ± 1.0 | – |", "| 5.5 ± 0.5 | **-5.5 ± 0.6** |", "| 1.0 | – |"]
