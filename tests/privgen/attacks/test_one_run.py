"""One run with canaries: the bound is the published one and rarely wrong, and sees a training that is not private."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from accountant.composition.gaussian import gaussian_epsilon
from privgen.attacks import one_run
from privgen.attacks.one_run import epsilon_below, one_run_bound, p_value
from privgen.cli import main
from privgen.errors import CheckpointError, EvaluationError
from privgen.training.canaries import Canaries, Scores, draw_canaries
from privgen.training.loop import run as train_run


@pytest.mark.parametrize(
    ("canaries", "guesses", "correct", "delta", "published"),
    # arXiv 2305.08846 v1: appendix D, and section 7, where the last digit is cut.
    [(1000, 100, 75, 1e-4, 0.673), (100_000, 1510, 1439, 1e-5, 2.6758)],
)
def test_the_bound_is_the_paper_s(canaries, guesses, correct, delta, published):
    found = epsilon_below(canaries=canaries, guesses=guesses, correct=correct, delta=delta, error=0.05)
    assert found == pytest.approx(published, abs=5e-4)


def test_without_delta_it_is_the_binomial_tail():
    found = p_value(canaries=500, guesses=40, correct=35, epsilon=1.0, delta=1e-300)
    assert found == pytest.approx(stats.binomtest(35, 40, 1 / (1 + np.exp(-1)), alternative="greater").pvalue)


def test_a_larger_delta_or_more_confidence_shows_less():
    def shown(delta, error):
        return epsilon_below(canaries=400, guesses=100, correct=95, delta=delta, error=error)

    assert shown(1e-6, 0.05) > shown(1e-4, 0.05) > shown(1e-3, 0.05)
    assert shown(1e-6, 0.05) > shown(1e-6, 0.001) > 0
    assert epsilon_below(canaries=400, guesses=100, correct=50, delta=1e-6, error=0.05) == 0.0


def repeated(scores_of, *, epsilon, delta, times=100, confidence=0.8, canaries=200, seed=0):
    generator = np.random.default_rng(seed)
    wrong, found = 0, []
    for _ in range(times):
        included = generator.random(canaries) < 0.5
        bound = one_run_bound(scores_of(generator, included), included, delta=delta, confidence=confidence)
        wrong += bound.epsilon > epsilon
        found.append(bound.epsilon)
    assert stats.binomtest(wrong, times, 1 - confidence, alternative="greater").pvalue > 1e-7
    return np.median(found)


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_the_bound_is_wrong_no_more_often_than_its_confidence_says(epsilon):
    """Randomised response, the worst case of the theorem: each coin is told rightly with probability e^ε/(1 + e^ε)."""

    def told(generator, included):
        right = generator.random(len(included)) < 1 / (1 + np.exp(-epsilon))
        return np.where(right, included, ~included) + 0.1 * generator.random(len(included))

    assert repeated(told, epsilon=epsilon, delta=1e-6) > epsilon / 3


def test_a_gaussian_mechanism_is_not_overstated_and_shows_something():
    epsilon = gaussian_epsilon(2.0, delta=1e-5)
    median = repeated(lambda g, included: 2.0 * included + g.normal(size=len(included)), epsilon=epsilon, delta=1e-5)
    assert 0.8 < median < epsilon


def test_scores_that_know_nothing_show_nothing_and_scores_that_know_all_show_much():
    generator = np.random.default_rng(3)
    included = generator.random(400) < 0.5
    assert one_run_bound(generator.normal(size=400), included, delta=1e-5, confidence=0.95).epsilon < 0.5
    all_known = one_run_bound(included.astype(float), included, delta=1e-5, confidence=0.95)
    assert all_known.epsilon > 3.5 and all_known.correct == all_known.guesses == 200


@pytest.mark.parametrize(
    ("scores", "included"),
    [(np.zeros(31), np.zeros(31, bool)), (np.zeros(40), np.zeros(39, bool)), (np.full(40, np.nan), np.zeros(40, bool))],
)
def test_what_cannot_be_guessed_from_is_refused(scores, included):
    with pytest.raises(EvaluationError):
        one_run_bound(scores, included, delta=1e-5, confidence=0.95)


def test_canaries_differ_have_fair_coins_and_come_back_from_their_file():
    planted = draw_canaries(2000, image_shape=(28, 28, 1), classes=10)
    assert planted.images.shape == (2000, 28, 28, 1) and planted.images.dtype == np.uint8
    assert len(np.unique(planted.images.reshape(2000, -1), axis=0)) == 2000 == len(np.unique(planted.ids, axis=0))
    assert stats.binomtest(int(planted.included.sum()), 2000, 0.5).pvalue > 1e-7
    assert set(planted.labels) == set(range(10))
    again = Canaries.read(planted.to_bytes())
    assert again.digest == planted.digest != draw_canaries(2000, image_shape=(28, 28, 1), classes=10).digest
    with pytest.raises(CheckpointError):
        Canaries.read(planted.to_bytes()[:-9])


CANARIES = 96


@pytest.fixture(scope="module")
def planted_run(lab, tmp_path_factory):
    out = tmp_path_factory.mktemp("canaries") / "run"
    with lab.begin(out, plan=lab.plan(iterations=12, epsilon=1.0), canaries=CANARIES) as session:
        for _ in train_run(session):
            pass
    return out


def empirical(run, *arguments, status=0):
    command = ["audit", str(run), "--empirical", "--trials", "300", "--seed", "1", "--format", "json", *arguments]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == status, done.output
    return json.loads(done.stdout)


def test_a_run_s_canaries_show_no_more_than_is_certified_of_the_whole_run(planted_run):
    audit = empirical(planted_run)
    assert audit["mechanism"]["canaries"] == CANARIES
    (found,) = audit["empirical"]["canaries"]
    assert found["confidence"] == 0.95 and found["canaries"] == CANARIES and "9 blocks" in found["what"]
    assert found["lower"] < found["certified"] == audit["spent"]["epsilon"]


def test_scores_that_give_the_coins_away_refute_what_is_certified(planted_run, tmp_path):
    run = shutil.copytree(planted_run, tmp_path / "run")
    planted = Canaries.read((run / "private" / "canaries.safetensors").read_bytes())
    told = Scores(values=planted.included + 0.0, blocks=3)
    (run / "private" / "canary-scores.safetensors").write_bytes(told.to_bytes())
    (found,) = empirical(run, status=1)["empirical"]["canaries"]
    assert not found["holds"] and found["lower"] > 2 > found["certified"]


def test_the_ledger_names_canaries_and_nothing_of_them_leaves_the_house(lab, planted_run):
    genesis = json.loads((planted_run / "release" / "ledger.jsonl").read_text().splitlines()[0])
    planted = Canaries.read((planted_run / "private" / "canaries.safetensors").read_bytes())
    assert genesis["canaries"] == {"count": CANARIES, "digest": planted.digest}
    released = b"".join(lab.every_file(planted_run / "release").values())
    assert not any(bytes(identity) in released for identity in planted.ids)
    assert "canar" not in " ".join(path.name for path in (planted_run / "release").iterdir())


def test_the_bound_pays_for_every_number_of_guesses_that_it_tried():
    """The best of several numbers of guesses is right as often as was said only if each may err a part of the time."""
    generator = np.random.default_rng(5)
    included = generator.random(400) < 0.5
    scores = included + generator.normal(size=400)
    found = one_run_bound(scores, included, delta=1e-5, confidence=0.95)
    known = {"canaries": 400, "guesses": found.guesses, "correct": found.correct, "delta": 1e-5}
    assert found.epsilon == epsilon_below(**known, error=0.05 / len(one_run._SHARES))
    assert len(one_run._SHARES) > 1 and found.epsilon < epsilon_below(**known, error=0.05) - 0.05
