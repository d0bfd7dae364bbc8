"""Lower bounds on ε: below what is certified, close to it in the worst case, and above what the paper claims."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from accountant import (
    BandedGaussian,
    BudgetGuard,
    Ledger,
    Neighbouring,
    Part,
    Plan,
    SubsampledGaussian,
)
from accountant.claims.claims import claimed_epsilon
from accountant.composition.gaussian import gaussian_epsilon
from accountant.ledger.genesis import genesis_budget
from planners import plan
from privgen.attacks.bound import clopper_pearson, lower_bound
from privgen.attacks.mechanism import DEMONSTRATION, attack, audit_mechanism
from privgen.attacks.worlds import Setting, play, seeded_coins
from privgen.cli import main
from privgen.errors import EvaluationError
from privgen.mechanism.floored_gaussian import ExactGaussian

SURE = 1 - 1e-7
ONE_PART = (Part(name="critic", clip_norm=0.25, residual_clip_norm=0.75, noise_multiplier=1.0),)
TWO_PARTS = (
    Part(name="critic", clip_norm=0.25, residual_clip_norm=0.75, noise_multiplier=1.25),
    Part(name="classifier", clip_norm=1.0, residual_clip_norm=2.0, noise_multiplier=5 / 3),
)


def seeded(seed):
    return {"noise": ExactGaussian.insecure_fixed_seed(seed), "coins": seeded_coins(seed)}


def shown(setting, *, delta=1e-5, trials=200_000, seed=0):
    return attack("test", setting, delta, trials=trials, confidence=SURE, **seeded(seed))


def test_clopper_pearson_is_the_published_table():
    """95 % bounds for 3 of 10: 6.67 % to 65.25 %."""
    low, high = clopper_pearson(np.array([3, 0, 10]), 10, error=0.025)
    assert low == pytest.approx([0.0667, 0.0, 0.6915], abs=1e-4)
    assert high == pytest.approx([0.6525, 0.3085, 1.0], abs=1e-4)


@pytest.mark.parametrize("delta", [1e-5, 0.01])
def test_the_bound_is_wrong_no_more_often_than_its_confidence_says(delta):
    """On a Gaussian mechanism, whose ε is known, 300 bounds of 80 % confidence from 300 trials each."""
    generator, epsilon = np.random.default_rng(1), gaussian_epsilon(0.5, delta=delta)
    found = [
        lower_bound(generator.normal(0.5, 1, 300), generator.normal(0, 1, 300), delta=delta, confidence=0.8).epsilon
        for _ in range(300)
    ]
    wrong = sum(one > epsilon for one in found)
    assert stats.binomtest(wrong, 300, 0.2, alternative="greater").pvalue > 1e-7


def test_equal_worlds_show_nothing_and_any_monotone_score_is_as_good():
    generator = np.random.default_rng(2)
    one, other = generator.normal(size=(2, 20_000))
    assert lower_bound(one, other, delta=1e-5, confidence=SURE).epsilon < 0.1
    found = lower_bound(one + 2, other, delta=0.01, confidence=0.99)
    assert found.epsilon == lower_bound(np.exp(one + 2), np.exp(other), delta=0.01, confidence=0.99).epsilon
    mirrored = lower_bound(-other, -one - 2, delta=0.01, confidence=0.99)
    assert found.epsilon > 3 and mirrored.epsilon > 3


def test_few_trials_or_scores_that_are_no_numbers_are_refused():
    with pytest.raises(EvaluationError):
        lower_bound(np.zeros(29), np.zeros(29), delta=1e-5, confidence=0.9)
    with pytest.raises(EvaluationError):
        lower_bound(np.full(99, math.nan), np.zeros(99), delta=1e-5, confidence=0.9)


@pytest.mark.parametrize("neighbouring", Neighbouring)
@pytest.mark.parametrize("bands", [1, 2, 4, 7])
@pytest.mark.parametrize("parts", [ONE_PART, TWO_PARTS], ids=["one part", "two parts"])
def test_one_certain_block_comes_within_a_factor_of_the_certified_epsilon_and_stays_below(bands, parts, neighbouring):
    event = BandedGaussian(sampling_rate=1 / bands, noise_multiplier=1.0, bands=bands)
    if bands == 1:  # where nothing is paid back nothing is owed
        parts = tuple(replace(part, residual_clip_norm=0.0) for part in parts)
    setting = Setting(event=event, parts=parts, steps=bands, neighbouring=neighbouring)
    for finding in shown(setting, delta=0.05, seed=bands):
        assert finding.certified / 1.5 <= finding.lower.epsilon <= finding.certified


def test_without_feedback_three_million_trials_come_within_a_factor_of_1_5_at_delta_1e_5():
    event = SubsampledGaussian(sampling_rate=1.0, noise_multiplier=1.0)
    parts = (Part(name="critic", clip_norm=1.0, noise_multiplier=1.0),)
    setting = Setting(event=event, parts=parts, steps=1)
    finding, _ = shown(setting, trials=3_000_000)
    assert finding.lower.delta == 1e-5
    assert finding.certified / 1.5 <= finding.lower.epsilon <= finding.certified


@pytest.mark.parametrize("bands", [1, 4])
def test_many_sampled_steps_stay_below_and_show_something(bands):
    event = BandedGaussian(sampling_rate=0.02, noise_multiplier=0.6, bands=bands)
    residual = 0.75 if bands > 1 else 0.0
    parts = (Part(name="critic", clip_norm=0.25, residual_clip_norm=residual, noise_multiplier=0.6),)
    narrow, wide = shown(Setting(event=event, parts=parts, steps=60), trials=60_000)
    assert 1.0 < narrow.lower.epsilon <= narrow.certified
    assert 0.8 < wide.lower.epsilon <= wide.certified


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_blocks_that_are_cut_short_are_audited_too(steps):
    event = BandedGaussian(sampling_rate=0.25, noise_multiplier=1.0, bands=4)
    for finding in shown(Setting(event=event, parts=ONE_PART, steps=steps), trials=50_000):
        assert 0.1 < finding.lower.epsilon <= finding.certified


@pytest.mark.parametrize("neighbouring", Neighbouring)
def test_the_published_claim_is_refuted_by_a_record_with_large_gradients(neighbouring):
    setting = replace(DEMONSTRATION, neighbouring=neighbouring)
    finding, _ = shown(setting, trials=900)
    assert finding.claimed == claimed_epsilon(setting.event, 30, delta=1e-5)
    assert finding.claimed < finding.lower.epsilon <= finding.certified


def test_the_guard_charges_each_audited_run_in_full():
    setting = Setting(event=BandedGaussian(sampling_rate=0.1, noise_multiplier=1.0, bands=4), parts=ONE_PART, steps=10)
    _, charged = play(setting, trials=5, present=True, **seeded(0))
    assert charged == ((setting.event, 10),)


def test_an_audit_of_a_plan_watches_a_certain_block_and_the_plans_own_rate():
    made = plan(epsilon=5.0, delta=1e-5, dataset_size=2000, sampling_rate=0.02, iterations=40)
    found = audit_mechanism(made, trials=3000, **seeded(0))
    assert [(f.steps, f.lower.delta) for f in found] == [(made.bands, 1e-5), (made.bands, 0.01), (40, 1e-5), (40, 0.01)]
    assert all(f.holds and f.claimed is None for f in found)
    with pytest.raises(EvaluationError):
        audit_mechanism(made, trials=3, **seeded(0))


def test_an_audit_of_a_plan_with_the_published_feedback_names_its_claim():
    made = plan(epsilon=50.0, delta=1e-5, dataset_size=200, sampling_rate=0.1, iterations=5, feedback="paper")
    found = audit_mechanism(made, trials=40, **seeded(0))
    own = [(4, 1.0), (4, 1.0), (5, 0.1), (5, 0.1)]
    assert [(f.steps, f.event.sampling_rate) for f in found] == [*own, (30, 0.1), (30, 0.1)]
    assert all(f.holds and f.claimed is not None for f in found)
    assert all("demonstration at fixed settings, not this plan's" in f.what for f in found[4:])


PLAN = Plan(
    epsilon=10.0, delta=1e-5, dataset_size=1437, bands=4, sampling_rate=0.05, iterations=12, noise_multiplier=1.0,
    parts=ONE_PART,
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    (folder / "release").mkdir(parents=True)
    PLAN.save(folder / "release" / "plan.json")
    genesis = {"budget": dict(genesis_budget(PLAN.budget)), "plan": PLAN.to_json(), "plan_digest": PLAN.digest}
    with Ledger.create(folder / "release" / "ledger.jsonl") as ledger:
        ledger.append("genesis", genesis | {"sampling": "Poisson", "noise": "floored-gaussian"})
        guard = BudgetGuard(PLAN.budget, ledger=ledger)
        for left in range(12, 0, -1):
            guard.admit(PLAN.event_of(PLAN.schedule()[0]), at_most=left)
        guard.halt("the plan's 12 iterations are done")
    return folder


def audit(*arguments):
    return CliRunner().invoke(main, ["audit", *map(str, arguments)])


def test_the_command_says_what_attacks_show_of_a_run(run):
    arguments = (run, "--empirical", "--trials", 3000, "--confidence", 0.99, "--seed", 4)
    done = audit(*arguments, "--format", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["empirical"]
    assert found["holds"] and found["noise"] == "insecure-fixed-seed" and found["seconds"] > 0
    first = found["findings"][0]
    assert (first["steps"], first["sampling_rate"], first["trials"], first["confidence"]) == (4, 0.25, 3000, 0.99)
    assert 0.5 < first["lower"] < first["certified"] == pytest.approx(4.3772, abs=1e-3)
    again = json.loads(audit(*arguments, "--format", "json").stdout)["empirical"]
    assert [f["lower"] for f in again["findings"]] == [f["lower"] for f in found["findings"]]


@pytest.mark.parametrize("form", ["terminal", "markdown", "html"])
def test_every_format_shows_the_attacks(run, form):
    done = audit(run, "--empirical", "--trials", 500, "--seed", 4, "--format", form)
    assert done.exit_code == 0, done.output
    assert "Empirical audit" in done.stdout and "500 trials" in " ".join(done.stdout.split())


def test_an_attack_that_shows_more_than_is_certified_ends_with_status_1(run, monkeypatch):
    honest = ExactGaussian.floored
    monkeypatch.setattr(ExactGaussian, "floored", lambda self, shape, *, std: honest(self, shape, std=0.3 * std))
    done = audit(run, "--empirical", "--trials", 3000, "--seed", 4)
    assert done.exit_code == 1
    assert "Error: the empirical audit failed" in done.stderr and "MORE THAN IS CERTIFIED" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [("RUN", "--trials", 100), ("RUN", "--seed", 1), ("--claim", "dicesgd", "--empirical"), ("--empirical",),
     ("RUN", "--empirical", "--trials", 3), ("RUN", "--empirical", "--confidence", 1)],
)  # fmt: skip
def test_options_of_the_attack_need_a_run_and_sense(run, arguments):
    done = audit(*(run if argument == "RUN" else argument for argument in arguments))
    assert done.exit_code == 2 and "Traceback" not in done.output


def test_a_ledger_without_a_plan_cannot_be_attacked(tmp_path):
    (tmp_path / "release").mkdir()
    with Ledger.create(tmp_path / "release" / "ledger.jsonl") as ledger:
        ledger.append("genesis", {"budget": dict(genesis_budget(PLAN.budget))})
    done = audit(tmp_path, "--empirical")
    assert done.exit_code == 1 and "holds no plan" in done.stderr


def test_each_of_the_two_probabilities_gets_half_of_the_error():
    """Scores that give the world away: both intervals are known in closed form, ε >= log((η^(1/n) − δ)/(1 − η^(1/n)))."""  # noqa: E501
    trials, delta, confidence = 300, 1e-5, 0.99
    found = lower_bound(np.ones(trials), np.zeros(trials), delta=delta, confidence=confidence)
    rest = trials - trials // 3
    likely = ((1 - confidence) / 2) ** (1 / rest)
    assert found.epsilon == pytest.approx(np.log((likely - delta) / (1 - likely)), rel=1e-12)
    whole = (1 - confidence) ** (1 / rest)
    assert found.epsilon < np.log((whole - delta) / (1 - whole)) - 0.1
