"""PrivateTraining on two and three ranks: it computes what one process computes, and what it spends is charged."""

import json
import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from accountant import verify_ledger
from accountant.audit.audit import audit_run
from accountant.ledger.entry import read_entries
from privgen import PrivateTraining
from privgen.library import private_training
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.sampling import PoissonSampler, assign_shards
from privgen.training import loop
from privgen.training.checkpoint import read_checkpoint
from privgen.training.session import Session

COUNT = 90


def records(count=COUNT, seed=0):
    x = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    return x * 3, (x[:, 0] > 0).long()


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))


def per_record(model, record):
    return nn.functional.cross_entropy(model(record[0]), record[1])


def made(out, *, data=None, seed=0, **changes):
    """A training of the tiny model, begun from weights of this seed."""
    model = network(seed)
    values = {"epsilon": 8.0, "delta": 1e-4, "batch_size": COUNT / 2, "steps": 6, "bands": 2, "clip_norm": 0.5}
    return PrivateTraining(
        model, torch.optim.Adam(model.parameters(), lr=0.05), records() if data is None else data, loss=per_record,
        out=out, physical_batch=32, **{**values, "rank_timeout": 8.0, **changes},
    )  # fmt: skip


def weights(training):
    return {name: tensor.numpy().copy() for name, tensor in training.model.state_dict().items()}


def train(out, **changes):
    """All steps of a run; its weights, and how it ended."""

    def work(rank):
        training = made(out, seed=rank, **changes)
        reports = list(training)
        return weights(training), training.outcome, [(r.step, r.held, r.charged, r.epsilon_spent) for r in reports]

    return work


@pytest.fixture
def silent(monkeypatch):
    """No noise and one salt, in this process and in those that are forked: what is left is what the sums say."""
    plain = private_training.run_options
    monkeypatch.setattr(
        private_training, "run_options", lambda *given, **named: replace(plain(*given, **named), salt=lambda: bytes(16))
    )
    monkeypatch.setattr(ExactGaussian, "floored", lambda self, shape, *, std: np.zeros(shape, dtype=np.int64))


def same(one, other):
    return set(one) == set(other) and all(np.array_equal(one[name], other[name]) for name in one)


# At bands · q = 1 each step draws the whole of its group, so that nothing is left to chance.
WHOLE = {
    "none": {"feedback": "none", "bands": 1, "batch_size": COUNT},
    "banded": {"bands": 3, "batch_size": COUNT / 3},
    "paper": {"feedback": "paper", "bands": 1, "batch_size": COUNT, "feedback_ratio": 0.5},
}


@pytest.mark.parametrize("feedback", list(WHOLE))
def test_one_two_and_three_ranks_compute_the_same_bits(ranks, silent, tmp_path, feedback):
    """Rule 3 and 7: sums and windows are integers, so it does not matter who adds up what."""
    (alone, outcome, reports), *_ = [train(tmp_path / "1", **WHOLE[feedback])(0)]
    for size in (2, 3):
        out = tmp_path / str(size)
        for found in ranks.processes(size, train(out, **WHOLE[feedback])):
            assert not isinstance(found, ranks.Failed), found.trace
            assert same(found[0], alone)
            assert found[1:] == (outcome, reports)
        assert audit_run(out).verdict == "passed"
    begun = network().state_dict()
    assert not np.array_equal(alone["0.weight"], begun["0.weight"].numpy())


def test_a_clean_resume_may_change_the_number_of_ranks(ranks, silent, tmp_path):
    """Rule 7: what is owed goes into the checkpoint as the sum over ranks, and is paid back once, whoever goes on."""
    alone, *_ = train(tmp_path / "alone", **WHOLE["banded"])(0)
    out = tmp_path / "run"

    def two_steps(resume):
        def work(rank):
            training = made(out, resume=resume, **WHOLE["banded"])
            for report in training:
                if report.step in (2, 4):
                    training.stop()
            return weights(training), training.outcome

        return work

    for size, resume in ((2, False), (3, True)):
        for found in ranks.processes(size, two_steps(resume)):
            assert not isinstance(found, ranks.Failed), found.trace
            assert found[1] == "interrupted"
    recorded = [one.name for one in verify_ledger(out).checkpoints]
    owed = read_checkpoint(out / "private", recorded[-1], recorded=recorded).owed
    assert any(bool((t != 0).any()) for name, t in owed.items() if not name.endswith("oldest"))
    found, outcome = two_steps(True)(0)
    assert same(found, alone)
    assert "6 iterations are done" in outcome
    state = verify_ledger(out)
    assert (state.resumes, state.crashes, state.ranks) == (2, 0, 3)
    texts = [a.text for a in audit_run(out).assumptions]
    assert any("trust each other and the network between them" in text for text in texts)


def test_weights_of_another_start_become_those_of_rank_0(ranks, silent, tmp_path):
    """Each rank above begins from weights of its own seed; the result is that of rank 0's."""
    alone, *_ = train(tmp_path / "alone", **WHOLE["none"])(0)
    other = made(tmp_path / "other", seed=1, **WHOLE["none"])
    list(other)
    assert not same(weights(other), alone)


def test_rank_0_alone_evaluates(ranks, tmp_path):
    def work(rank):
        training = made(tmp_path / "run", steps=2, evaluate=lambda model: 7, evaluate_every=1)
        list(training)
        return training.evaluations

    assert ranks.processes(2, work) == [{1: 7, 2: 7}, {}]


def drawn_by(out, **changes):
    """A run that notes the rows which its rank drew in each step."""

    def work(rank):
        plain, seen = PoissonSampler.draw, []

        def noted(self, event, cycle):
            rows = plain(self, event, cycle)
            seen.append(rows.tolist())
            return rows

        PoissonSampler.draw = noted
        torch.manual_seed(0)
        np.random.seed(0)
        list(made(out, **changes))
        return seen

    return work


@pytest.mark.parametrize("size", [2, 3])
def test_ranks_draw_their_own_shards_with_coins_of_their_own(ranks, tmp_path, size):
    """Rules 1 and 2: a record has one rank, whoever seeds torch and numpy alike, and each step is one draw of all."""
    changes = {"bands": 1, "feedback": "none", "steps": 40, "batch_size": COUNT / 3}
    found = ranks.processes(size, drawn_by(tmp_path / "run", **changes))
    assert not any(isinstance(one, ranks.Failed) for one in found), found
    assert {len(steps) for steps in found} == {40}
    held = [{row for step in steps for row in step} for steps in found]
    assert sum(len(rows) for rows in held) == len(set.union(*held))
    assert len(set.union(*held)) > COUNT * 0.98
    batches = [sum(len(steps[t]) for steps in found) for t in range(40)]
    assert abs(sum(batches) / 40 - COUNT / 3) < 5 * np.sqrt(COUNT * 2 / 9 / 40)
    # N is the whole N: the record's chance is q on every rank.
    assert verify_ledger(tmp_path / "run").plan.dataset_size == COUNT


def test_ranks_that_were_seeded_alike_are_refused(ranks, tmp_path, monkeypatch):
    """What it once did elsewhere: ranks of one seed toss the same coins, so that batches are drawn in lockstep."""
    from privgen.training.insecure import seeded

    def alike(given, device, *, rank):
        from privgen.training.session import Options

        return Options(device=device, **seeded(7))

    monkeypatch.setattr(private_training, "run_options", alike)
    for found in ranks.processes(2, train(tmp_path / "run")):
        assert found.kind == "RunError"
        assert "Rank 1 of 2 draws the random bits of another rank" in found.text
    assert verify_ledger(tmp_path / "run").steps_charged == 0


def test_one_fixed_seed_gives_each_rank_streams_of_its_own(ranks, tmp_path):
    for found in ranks.processes(2, train(tmp_path / "run", insecure_fixed_seed=7)):
        assert not isinstance(found, ranks.Failed), found.trace


EMPTY = {"bands": 1, "feedback": "none", "batch_size": 0.5, "steps": 8}


def test_empty_local_batches_take_part(ranks, tmp_path):
    found = ranks.processes(3, drawn_by(tmp_path / "run", **EMPTY))
    assert [len(steps) for steps in found] == [8] * 3
    assert sum(not rows for steps in found for rows in steps) > 10
    assert audit_run(tmp_path / "run").verdict == "passed"


def test_a_rank_that_skips_its_empty_batches_stops_all(ranks, tmp_path, monkeypatch):
    """The bug of samplers elsewhere: who has nothing to add takes no part, and the others add up something else."""
    plain = loop.private_step

    def skipping(state, plan, *, records, **options):
        if options["ranks"].rank and not len(records[0]):
            from privgen.training.private_step import DrawStatistics

            return DrawStatistics(batch_size=0, nonfinite=0, median_norm={})
        return plain(state, plan, records=records, **options)

    monkeypatch.setattr(loop, "private_step", skipping)
    found = ranks.processes(2, train(tmp_path / "run", rank_timeout=2.0, **EMPTY))
    assert all(isinstance(one, ranks.Failed) or one == ranks.KILLED for one in found)
    assert verify_ledger(tmp_path / "run").halted is None


def test_no_rank_draws_before_the_step_is_in_the_ledger(ranks, tmp_path, monkeypatch):
    """Rule 4, seen from the others: rank 0 is slow to write, and they wait for it."""
    from accountant.ledger.chain import Ledger

    out, plain_append = tmp_path / "run", Ledger.append

    def slow(self, kind, body):
        if kind == "reserve":
            time.sleep(0.3)
        return plain_append(self, kind, body)

    monkeypatch.setattr(Ledger, "append", slow)

    def work(rank):
        plain, charged = PoissonSampler.draw, []

        def noted(self, event, cycle):
            entries = read_entries(out / "release" / "ledger.jsonl")
            charged.append(sum(e.body["steps"] for e in entries if e.kind == "reserve"))
            return plain(self, event, cycle)

        PoissonSampler.draw = noted
        list(made(out))
        return charged

    for charged in ranks.processes(2, work):
        assert all(known >= step + 1 for step, known in enumerate(charged))
        assert len(charged) == 6


def test_a_refusal_halts_all_as_normal_completion(ranks, tmp_path, monkeypatch):
    from accountant.errors import BudgetExhausted
    from accountant.ledger.guard import BudgetGuard

    plain = BudgetGuard.admit

    def until_three(self, event, **options):
        if self.steps >= 3:
            raise BudgetExhausted("no more than three")
        return plain(self, event, **options)

    monkeypatch.setattr(BudgetGuard, "admit", until_three)
    for found in ranks.processes(2, train(tmp_path / "run")):
        assert found[1] == "the budget is reached: no more than three"
        assert len(found[2]) == 3
    state = verify_ledger(tmp_path / "run")
    assert state.halted is not None
    assert state.steps_charged == 3
    assert audit_run(tmp_path / "run").verdict == "passed"


def test_where_rank_0_cannot_write_nobody_draws(ranks, tmp_path, monkeypatch):
    from accountant.ledger.chain import Ledger

    plain = Ledger.append

    def full(self, kind, body):
        if kind == "reserve":
            raise OSError(28, "No space left on device")
        return plain(self, kind, body)

    monkeypatch.setattr(Ledger, "append", full)
    drawn = tmp_path / "drawn"
    monkeypatch.setattr(PoissonSampler, "draw", lambda self, event, cycle: drawn.touch())
    first, second = ranks.processes(2, train(tmp_path / "run"))
    assert first.kind == "OSError"
    assert second.kind == "RunError"
    assert "Rank 0 stopped" in second.text
    assert "No space left" in second.text
    assert not drawn.exists()


@pytest.mark.parametrize(("size", "odd"), [(2, 1), (3, 0), (3, 2)])
def test_a_rank_with_other_parameters_stops_all_and_is_named(ranks, tmp_path, size, odd):
    """Rule 6: one bit of one parameter, on one rank, between two steps."""
    out = tmp_path / "run"

    def work(rank):
        training = made(out)
        for report in training:
            if rank == odd and report.step == 2:
                with torch.no_grad():
                    training.model[0].bias[0] = torch.nextafter(training.model[0].bias[0], torch.tensor(9.0))

    for found in ranks.processes(size, work):
        assert found.kind == "RunError"
        assert f"Rank {odd} of {size} has other parameters than the others at step 2" in found.text
    assert verify_ledger(out).steps_charged >= 2


def test_another_plan_or_step_is_named_too(ranks):
    def work(world):
        found = []
        for changed in ({"plan": "q"}, {"step": 2}):
            values = {"plan": "p", "step": 1, "parameters": bytes(32), "stop": False}
            try:
                world.must_stop(**{**values, **(changed if world.ranks.rank == 1 else {})})
            except Exception as error:
                found.append(str(error))
        return found, world.must_stop(**{**values, "stop": world.ranks.rank == 2})

    for (plan, step), stop in ranks(3, work):
        assert "Rank 1 of 3 has another plan than" in plan
        assert "Rank 1 of 3 has another step than" in step
        assert stop is True


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"data": records(seed=1)}, "data set"), ({"epsilon": 7.0}, "plan")],
)
def test_ranks_of_different_data_or_plans_are_refused_before_anything_is_made(ranks, tmp_path, changes, what):
    def work(rank):
        return list(made(tmp_path / "run", **(changes if rank == 1 else {})))

    found = ranks.processes(2, work)
    assert {one.kind for one in found} == {"RunError"}
    assert {one.text for one in found} == {
        f"Rank 1 of 2 has another {what} than the others; start all ranks with the same. Nothing was spent."
    }
    assert not (tmp_path / "run").exists()


def killed_at(out, step, *, victim, how, **changes):
    """A run in which a rank dies, or hangs, in the middle of a step."""

    def work(rank):
        plain, steps = Session.must_stop, []

        def counted(self, asked):
            steps.append(1)
            if rank == victim and len(steps) == step:
                how()
            return plain(self, asked)

        Session.must_stop = counted
        begun = time.monotonic()
        try:
            list(made(out, **changes))
        except Exception as error:
            return type(error).__name__, str(error), time.monotonic() - begun
        return None

    return work


@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_dies_stops_all_and_a_resume_goes_on(ranks, tmp_path, victim):
    """Rule 8."""
    out = tmp_path / "run"
    found = ranks.processes(2, killed_at(out, 4, victim=victim, how=lambda: os.kill(os.getpid(), signal.SIGKILL)))
    assert found[victim] == ranks.KILLED
    kind, text, _ = found[1 - victim]
    assert kind == "RankLost"
    assert "another rank is gone" in text
    assert "--resume" in text
    assert verify_ledger(out).steps_charged >= 3
    for rest in ranks.processes(3, train(out, resume=True)):
        assert not isinstance(rest, ranks.Failed), rest.trace
    state = verify_ledger(out)
    assert state.crashes == 1


def test_a_rank_that_hangs_stops_all_within_the_timeout(ranks, tmp_path):
    hang = killed_at(tmp_path / "run", 3, victim=1, how=lambda: time.sleep(6), rank_timeout=2.0)
    (kind, text, seconds), _ = ranks.processes(2, hang)
    assert kind == "RankLost"
    assert "did not answer in 2 s" in text
    assert seconds < 5.5


def words_of(path):
    """All that the released ledger says, but for digests, dates and random numbers."""
    entries = read_entries(path / "release" / "ledger.jsonl")
    return [(entry.kind, sorted(entry.body)) for entry in entries]


def test_nothing_released_tells_a_ranks_batch_sizes(ranks, silent, tmp_path):
    """Rule 9: but for the number of ranks, the released files say what those of one process say, byte for byte."""
    changes = WHOLE["banded"]
    train(tmp_path / "1", **changes)(0)
    ranks.processes(2, train(tmp_path / "2", **changes))
    one, two = words_of(tmp_path / "1"), words_of(tmp_path / "2")
    assert two[0] == ("genesis", sorted([*one[0][1], "ranks"]))
    assert two[1:] == one[1:]
    names = [sorted(p.name for p in (tmp_path / run / "release").iterdir()) for run in ("1", "2")]
    assert names[0] == names[1]
    for name in ("model.safetensors", "model.json", "plan.json"):
        assert (tmp_path / "1" / "release" / name).read_bytes() == (tmp_path / "2" / "release" / name).read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "2" / "private" / "metrics.jsonl").read_text().splitlines()]
    assert sum(line["batch_size"] for line in lines) == 2 * COUNT


def test_a_shard_is_the_ranks_part_of_a_salted_hash(ranks, tmp_path):
    def work(world):
        ids = np.arange(160, dtype=np.uint8).reshape(10, 16)
        own = world.shard(ids, salt=bytes(16))
        return own.tolist(), (assign_shards(ids, shards=2, salt=bytes(16)) == world.ranks.rank).tolist()

    for own, expected in ranks(2, work):
        assert own == expected


def test_a_rank_whose_own_work_fails_is_named(ranks):
    def work(world):
        with world.together():
            if world.ranks.rank == 1:
                raise ValueError("no such file")

    own, told = ranks(3, work)[1], ranks(3, work)[0]
    assert (own.kind, own.text) == ("ValueError", "no such file")
    assert (told.kind, told.text) == ("RunError", "Rank 1 of 3: no such file")


def test_without_torchrun_a_world_is_one_process(monkeypatch):
    from privgen.errors import RunError
    from privgen.training.distributed import World

    assert (World.joined().size, World.joined().leads) == (1, True)
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(RunError, match="WORLD_SIZE='two'"):
        World.joined()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RunError, match=r"do not find each other.*torchrun"):
        World.joined()
