"""Neighbour replay: a right step passes, and each planted fault is seen for what it is."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from accountant.budget import Neighbouring
from accountant.events import BandedGaussian
from accountant.plans.parts import Part
from privgen.attacks.neighbours import PrivateStep, replay_neighbours
from privgen.cli import main
from privgen.errors import EvaluationError
from privgen.gradients.clipped_sums import private_sums
from privgen.mechanism.part_feedback import weighting_of

EVENT = BandedGaussian(sampling_rate=0.1, noise_multiplier=1.0, bands=1)
PART = Part(name="w", clip_norm=1.0, noise_multiplier=1.0)


def normal(count, generator):
    return torch.randn(count, 3, generator=generator), torch.randint(0, 2, (count,), generator=generator)


def our_own(records):
    """privgen's per-record integer sums, of a tiny network."""
    torch.manual_seed(0)
    module = nn.Linear(3, 2)
    loss = lambda x, y: nn.functional.cross_entropy(module(x)[None], y[None])  # noqa: E731
    found = private_sums(module, loss, records, weighting_of(PART, EVENT), physical_batch=8)
    return dict(found.sums[0])


def clipped(x):
    norms = x.norm(dim=1, keepdim=True)
    return torch.where(torch.isfinite(norms), x / norms.clamp_min(1.0), 0.0).nan_to_num()


def right(records):
    return {"w": clipped(records[0]).sum(0)}


def step(release, **changes):
    return PrivateStep(**{"release": release, "sensitivity": 1.0, "records": normal, **changes})


def problems(release, trials=8, **changes):
    return {
        row.kind: row.problem for row in replay_neighbours(step(release, **changes), trials=trials).rows if row.problem
    }


def test_a_step_that_clips_each_record_passes_and_its_worst_record_moves_all_that_is_charged():
    found = replay_neighbours(step(right), trials=12)
    assert found.holds
    assert max(row.moved for row in found.rows) == pytest.approx(1.0, abs=1e-6)


def test_our_own_sums_pass_on_every_kind_of_record():
    found = replay_neighbours(step(our_own, sensitivity=PART.clip_norm / PART.step), trials=4)
    assert found.holds, [row for row in found.rows if row.problem]
    assert max(row.moved for row in found.rows) > 0.5


def not_clipped(records):
    return {"w": records[0].nan_to_num(0, 0, 0).sum(0)}


def clipped_as_a_batch(records):
    return {"w": clipped(records[0].sum(0)[None])[0] * max(1, len(records[0]))}


def divided_by_the_realised_size(records):
    return {"w": 10 * right(records)["w"] / max(1, len(records[0]))}


def normalised_over_the_batch(records):
    x = records[0].nan_to_num(0, 0, 0)
    return (
        {"w": clipped((x - x.mean(0)) / (1e-3 + (x - x.mean(0)).abs().mean(0))).sum(0)}
        if len(x)
        else {"w": torch.zeros(3)}
    )


def random_numbers_by_place(records):
    x = clipped(records[0])
    return {"w": clipped(x + 5 * torch.randn(len(x), 3)).sum(0)}


@pytest.mark.parametrize(
    "release",
    [not_clipped, clipped_as_a_batch, divided_by_the_realised_size, normalised_over_the_batch, random_numbers_by_place],
    ids=lambda release: release.__name__,
)
def test_what_moves_further_than_is_charged_is_seen(release):
    assert any("times as far" in said for said in problems(release).values())


def test_a_clip_norm_that_is_a_tenth_too_large_is_seen():
    seen = problems(lambda records: {"w": 1.1 * right(records)["w"]})
    assert "one record moves it 1.1 times" in seen["a million times larger"]


def one_name_a_class(records):
    return {f"class {int(label)}": clipped(records[0])[records[1] == label].sum(0) for label in records[1].unique()}


def refuses_what_is_not_finite(records):
    if not torch.isfinite(records[0]).all():
        raise ValueError("a record is not finite")
    return right(records)


def refuses_an_empty_batch(records):
    return {"w": clipped(records[0])[0] * 0 + right(records)["w"]}


def hidden_randomness(records):
    return {"w": right(records)["w"] + torch.from_numpy(np.random.default_rng().standard_normal(3))}


def passes_on_nan(records):
    return {"w": (records[0] / records[0].norm(dim=1, keepdim=True).clamp_min(1.0)).sum(0)}


@pytest.mark.parametrize(
    ("release", "said"),
    [
        (one_name_a_class, "names or shapes"),
        (refuses_what_is_not_finite, "refuses one of two neighbours"),
        (refuses_an_empty_batch, "refuses one of two neighbours"),
        (hidden_randomness, "not the same twice"),
        (passes_on_nan, "not finite"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_outputs_that_are_no_distance_are_seen(release, said):
    assert any(said in problem for problem in problems(release).values())


def test_under_replace_one_a_record_moves_twice_as_far():
    assert any("times as far" in said for said in problems(right, neighbouring=Neighbouring.REPLACE_ONE).values())
    assert not problems(right, neighbouring=Neighbouring.REPLACE_ONE, sensitivity=2.0)


def test_records_that_are_given_as_hard_are_tried():
    def once(records):
        special = (records[0] == 7.0).all(dim=1)
        return {"w": right(records)["w"] + 3 * special.sum()}

    assert not problems(once)
    assert "given as hard" in problems(once, hard=(torch.full((1, 3), 7.0), torch.zeros(1, dtype=torch.int64)))


def test_what_is_released_must_be_charged():
    with pytest.raises(EvaluationError, match="'w'"):
        problems(right, sensitivity={"v": 1.0})


def test_replaying_leaves_every_generator_as_it_was():
    torch.manual_seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    replay_neighbours(step(right), trials=2)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()


SOURCE = """
import torch
from privgen.attacks.neighbours import PrivateStep

def made(factor):
    def release(records):
        (x,) = records
        norms = x.norm(dim=1, keepdim=True)
        return {"w": factor * torch.where(torch.isfinite(norms), x / norms.clamp_min(1.0), 0.0).nan_to_num().sum(0)}
    return PrivateStep(release=release, sensitivity=1.0, records=lambda n, rng: (torch.randn(n, 2, generator=rng),))

def good():
    return made(1.0)

def bad():
    return made(2.0)
"""


def test_the_command_says_it_in_json_and_by_its_exit_status(tmp_path, monkeypatch):
    (tmp_path / "somebodys_step.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def audit(name, *options):
        return CliRunner().invoke(main, ["audit", "--neighbours", name, "--trials", "30", *options])

    good, bad = audit("somebodys_step:good", "--format", "json"), audit("somebodys_step:bad")
    assert good.exit_code == 0 and json.loads(good.stdout)["holds"] is True
    assert bad.exit_code == 1 and "2 times as far" in bad.stderr
    assert audit("somebodys_step").exit_code == 2
    assert audit("somebodys_step:nothing").exit_code == 1
    assert audit("somebodys_step:SOURCE").exit_code == 1
