"""`privgen train` and the GAN on several ranks: a warm start's statistics, canaries, and torchrun itself."""

import json
import subprocess
import sys

import numpy as np
import torch

from accountant import verify_ledger
from accountant.audit.audit import audit_run
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.methods.gan.method import METHOD
from privgen.training.begin import begin
from privgen.training.canaries import SCORES, Scores
from privgen.training.loop import run
from privgen.training.opening import open_run
from privgen.training.records import ImageRecords
from privgen.training.session import Options


def train(lab, out, plan, *, config, **options):
    """A run of the tiny GAN on every rank of a world; the mixture under its generator, if any, and how it ended."""

    def work(world):
        data = ImageRecords(lab.data())

        def opening(options):
            return begin(out, plan=plan, method=METHOD, settings=config, data=data, options=options)

        made = Options(world=world, salt=lambda: bytes(16), **options)
        with open_run(opening, plan=plan, method=METHOD, data=data, options=made) as session:
            for _ in run(session):
                pass
            state = session.state.learner.networks.generator.state_dict()
        return {n: t.numpy().copy() for n, t in state.items() if n.startswith("mixture")}, session.outcome

    return work


def test_a_warm_starts_statistics_are_added_up_over_shards(ranks, lab, tmp_path, monkeypatch):
    from privgen.training.distributed import World

    monkeypatch.setattr(ExactGaussian, "floored", lambda self, shape, *, std: np.zeros(shape, dtype=np.int64))
    # The free steps' numbers, which choose where clusters begin, are one seed's: the rest is left to the records.
    same = {"latents": lambda on: torch.Generator(device=on).manual_seed(3)}
    plan = lab.plan(iterations=1, warm_start=0.3)
    config = lab.config()
    alone, outcome = train(lab, tmp_path / "1", plan, config=config, **same)(World())
    assert alone
    for found in ranks(2, train(lab, tmp_path / "2", plan, config=config, **same)):
        assert not isinstance(found, ranks.Failed), found.trace
        assert found[1] == outcome
        assert {n for n, t in found[0].items() if not np.array_equal(t, alone[n])} == set()
    assert audit_run(tmp_path / "2").verdict == "passed"


def test_canaries_are_watched_by_rank_0_against_the_sums_of_all(ranks, lab, tmp_path):
    out, plan = tmp_path / "run", lab.plan(iterations=3, shares={"critic": 1.0})
    for found in ranks(2, train(lab, out, plan, config=lab.config(), canaries=32)):
        assert not isinstance(found, ranks.Failed), found.trace
    scores = Scores.read((out / "private" / SCORES).read_bytes())
    assert len(scores.values) == 32
    assert np.isfinite(scores.values).all()
    assert verify_ledger(out).canaries.count == 32
    assert audit_run(out).verdict == "passed"


def test_torchrun_trains_halts_and_speaks_once(lab, npz_file, tmp_path):
    from privgen.data import load_data

    name = f"npz:{npz_file}"
    lab.own_plan(len(load_data(name).train.labels), iterations=2).save(tmp_path / "plan.json")
    out = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "privgen"]
    command += ["train", "--plan", tmp_path / "plan.json", "--dataset", name, "--out", out, "--preset", "tiny"]
    command += ["--set", "generator_batch=2", "--set", "physical_batch=32", "--rank-timeout", "120"]
    done = subprocess.run(command, env=lab.environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Halted: the plan's 2 iterations are done") == 1
    assert done.stdout.count("Guarantee:") == 1
    assert verify_ledger(out).ranks == 2
    assert audit_run(out).verdict == "passed"
    lines = (out / "private" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines][-2:] == sorted(json.loads(line)["step"] for line in lines)[-2:]
