"""A private run of one's own model: it ends by itself, is audited, goes on where it stopped, and releases the model."""

import json
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from torch import nn

import privgen
from accountant import verify_ledger
from accountant.audit.audit import audit_run
from accountant.ledger.account import Account
from accountant.ledger.entry import read_entries
from accountant.plans.plan import Plan
from privgen import PrivateTraining, load_generator
from privgen.cli import main
from privgen.errors import DataError, RunError
from privgen.training.loop import StepReport


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.state_dict().values()])


def test_it_ends_by_itself_at_the_plans_end_and_its_audit_passes(train, tmp_path):
    training = train()
    before = weights(training.model)
    reports = list(training)
    assert [type(r) for r in reports] == [StepReport] * 6 and [r.step for r in reports] == list(range(1, 7))
    assert "6 iterations are done" in training.outcome
    assert not torch.equal(before, weights(training.model))
    state = verify_ledger(tmp_path / "run")
    assert state.steps_charged == 6 and state.halted
    audit = audit_run(tmp_path / "run")
    assert audit.verdict == "passed"
    assert next(c for c in audit.checks if c.name == "steps in the released weights").status == "passed"
    found = CliRunner().invoke(main, ["audit", str(tmp_path / "run"), "--format", "json"])
    assert found.exit_code == 0 and json.loads(found.stdout)["verdict"] == "passed"
    assert "model" in (tmp_path / "run" / "release" / "report.html").read_text()


def test_what_is_released_is_the_model_and_no_pickle(train, tmp_path, own):
    training = train()
    list(training)
    release = tmp_path / "run" / "release"
    assert {path.name for path in release.iterdir()} == {
        "ledger.jsonl", "plan.json", "model.safetensors", "model.json", "report.md", "report.html"
    }  # fmt: skip
    fresh = own.network(seed=5)
    fresh.load_state_dict(load_file(release / "model.safetensors"))
    assert torch.equal(weights(fresh), weights(training.model))
    with pytest.raises(RunError, match=r"no generator; load model\.safetensors"):
        load_generator(tmp_path / "run")


def test_the_command_line_says_who_can_go_on(train, tmp_path):
    next(iter(train()))
    ran = CliRunner().invoke(main, ["train", "--resume", "--out", str(tmp_path / "run")])
    assert ran.exit_code == 1 and "PrivateTraining(..., resume=True)" in " ".join(ran.output.split())


def test_an_edited_model_fails_its_audit(train, tmp_path):
    list(train())
    model = tmp_path / "run" / "release" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-4] + b"\0\0\0\1")
    assert audit_run(tmp_path / "run").verdict == "failed"


def test_the_plan_is_shown_before_anything_is_spent(train, tmp_path):
    training = train()
    assert training.plan.iterations == 6 and training.plan.dataset_size == 96
    assert training.plan.verified.rdp <= 8.0
    assert "N = 96" in str(training) and "6 steps of expected batch 24" in str(training) and "of 8 at" in str(training)
    assert not (tmp_path / "run").exists()


def test_a_plan_that_is_loaded_is_carried_out(train, tmp_path):
    train(accountant="prv", feedback="none", bands=None).plan.save(tmp_path / "plan.json")
    training = train(plan=Plan.load(tmp_path / "plan.json"))
    assert training.plan.accountant == "prv" and training.plan.feedback.value == "none"
    assert len(list(training)) == 6
    assert audit_run(tmp_path / "run").verdict == "passed"


def test_the_ledger_says_that_a_library_loop_wrote_it_and_what_is_on_trust(train, tmp_path, own):
    def on_trust(name, **changes):
        training = train(out=tmp_path / name, dataset=own.Listed(), **changes)
        next(iter(training))
        body = read_entries(tmp_path / name / "release" / "ledger.jsonl")[0].body
        audit = audit_run(tmp_path / name)
        return body, " ".join(a.text for a in audit.assumptions if a.held == "on-trust")

    body, trusted = on_trust("content")
    assert (body["writer"], body["identities"]) == ("privgen-library", "content")
    assert "somebody's loop" in trusted and "index" not in trusted and "column or a function" not in trusted
    assert "index is its own for good" in on_trust("index", stable_index=True)[1]
    assert "column or a function" in on_trust("given", identity=lambda record: f"{record[0].tolist()}")[1]


def test_leaving_the_loop_and_coming_back_is_a_clean_stop(train, tmp_path, own):
    training = train()
    for report in training:
        if report.step == 3:
            break
    assert training.outcome == "interrupted"
    stopped = weights(training.model)
    again = train(model=own.network(seed=9), resume=True)
    assert not torch.equal(weights(again.model), stopped)
    steps = iter(again)
    assert next(steps).step == 4
    assert [r.step for r in steps] == [5, 6]
    state = verify_ledger(tmp_path / "run")
    assert (state.steps_charged, state.resumes, state.crashes) == (6, 1, 0)
    assert audit_run(tmp_path / "run").verdict == "passed"
    assert list(train(resume=True)) == []


def test_the_same_object_goes_on_after_a_stop_and_yields_nothing_after_the_end(train, tmp_path):
    training = train()
    for report in training:
        if report.step == 2:
            training.stop()
    assert training.outcome == "interrupted" and verify_ledger(tmp_path / "run").steps_charged == 2
    assert [r.step for r in training] == [3, 4, 5, 6]
    assert list(training) == [] and "done" in training.outcome


OPTIMISERS = ["SGD", "Adam", "AdamW", "Adagrad", "Adadelta", "Adamax", "ASGD", "NAdam", "RAdam", "RMSprop", "Rprop",
              "Adafactor"]  # fmt: skip


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_resume_is_as_if_nothing_had_been_between(train, tmp_path, name, own):
    """Under one seed the checkpoint of a run that was stopped holds all that decides what comes next."""

    def at(out, *, stop, model, resume=False):
        options = {"momentum": 0.9} if name == "SGD" else {}
        optimiser = getattr(torch.optim, name)(model.parameters(), lr=0.05, **options)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [2, 4], gamma=0.5)
        training = train(
            model, optimiser, out=tmp_path / out, schedule=schedule, resume=resume, feedback="none", bands=None,
            ema=0.5, physical_batch=32,
        )  # fmt: skip
        for report in training:
            if report.step == stop:
                break
        state = {k: {n: v.clone() if hasattr(v, "clone") else v for n, v in s.items()} for k, s in
                 optimiser.state_dict()["state"].items()}  # fmt: skip
        rates = [group["lr"] for group in optimiser.param_groups]
        return training, state, rates, schedule.last_epoch

    first, state, rates, epoch = at("run", stop=3, model=own.network())
    again = train_again = own.network(seed=3)
    optimiser = getattr(torch.optim, name)(again.parameters(), lr=0.05, **({"momentum": 0.9} if name == "SGD" else {}))
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [2, 4], gamma=0.5)
    resumed = train(train_again, optimiser, out=tmp_path / "run", schedule=schedule, resume=True, feedback="none",
                    bands=None, ema=0.5)  # fmt: skip
    session = resumed._open()
    with session:
        assert torch.equal(weights(again), weights(first.model))
        assert torch.equal(weights(session.state.learner.released()), weights(first.averaged))
        assert not torch.equal(weights(first.averaged), weights(first.model))
        assert [group["lr"] for group in optimiser.param_groups] == rates
        assert schedule.last_epoch == epoch == 3
        for index, slots in optimiser.state_dict()["state"].items():
            for key, value in slots.items():
                assert torch.equal(torch.as_tensor(value), torch.as_tensor(state[index][key])), key
    assert rates[0] < 0.05


def test_an_interrupted_step_counts_as_a_crash_and_stays_charged(train, tmp_path, monkeypatch):
    steps = iter(train(spare_blocks=6))
    next(steps)
    with monkeypatch.context() as patch:
        patch.setattr("privgen.training.private_step.gaussian", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            next(steps)
    assert len(list(train(spare_blocks=6, resume=True, accept_loss=True))) == 6
    state = verify_ledger(tmp_path / "run")
    assert state.crashes == 1 and state.steps_charged > 6
    assert audit_run(tmp_path / "run").verdict == "passed"


def test_an_account_and_a_signing_key_go_through(train, tmp_path):
    from accountant.ledger.signing import new_key

    key = tmp_path / "key.pem"
    new_key(key)
    account = Account.new(tmp_path / "mine.json", budget=train().plan.budget)
    training = train(signing_key=key, account=account.path)
    list(training)
    body = read_entries(tmp_path / "run" / "release" / "ledger.jsonl")[0].body
    assert body["account"]["name"] == "mine" and body["public_key"]
    assert account.state().epsilon_spent > 0


def test_tied_weights_are_checkpointed_and_released(train, tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.out, self.inside = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
            self.out.weight = self.inside.weight

        def forward(self, x):
            return self.out(torch.tanh(self.inside(x)))

    training = train(model=Tied(), steps=2)
    list(training)
    saved = load_file(tmp_path / "run" / "release" / "model.safetensors")
    assert torch.equal(saved["out.weight"], saved["inside.weight"])


def test_frozen_parts_stay_as_they_are(train, own):
    model = own.network()
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    list(train(model, torch.optim.SGD(model[2].parameters(), lr=0.1), steps=2))
    assert torch.equal(model[0].weight, before)


def test_views_of_a_record_are_one_record_whose_losses_are_averaged(train):
    """Augmentation that changes nothing leaves each record's gradient as it is."""
    plain, viewed = train(), train(augment=lambda record, generator: record, views=3)

    def norms(training):
        learner = training._method.begin(training.plan, training._data.facts, training._settings, latents=None)
        import numpy as np

        task = learner.record_task("model", None)
        drawn = training._data.drawn(np.arange(40), torch.device("cpu"))
        return task.sums(drawn, lambda n: (torch.ones_like(n) * 2.0**20,), physical_batch=32).norms

    assert torch.allclose(norms(plain), norms(viewed), rtol=1e-5)
    assert len(list(viewed)) == 6


def test_numbers_beside_a_record_reach_the_loss(train):
    shapes = []

    def noisy(model, record, numbers):
        shapes.append((numbers["noise"].shape, numbers["keep"].shape))
        return nn.functional.cross_entropy(
            model(record[0] + 0.1 * numbers["noise"] * (numbers["keep"] < 0.5)), record[1]
        )

    list(train(loss=noisy, numbers={"noise": ("normal", (6,)), "keep": ("uniform", ())}, steps=2))
    assert set(shapes) == {(torch.Size([6]), torch.Size([]))}


def test_records_may_be_dicts_and_a_column_their_identity(train, tmp_path, own):
    x, y = own.records()
    rows = [{"id": f"patient {i}", "x": x[i], "y": int(y[i])} for i in range(len(x))]

    def loss(model, record):
        assert record["id"] is None
        return nn.functional.cross_entropy(model(record["x"]), record["y"])

    training = train(dataset=rows, loss=loss, identity="id", neighbouring="replace-one", epsilon=16.0)
    assert len(list(training)) == 6
    assert audit_run(tmp_path / "run").verdict == "passed"


def test_the_names_are_public_and_load_torch_only_when_used():
    assert {"PrivateTraining", "replace_batchnorm"} <= set(dir(privgen)) and PrivateTraining.__doc__
    code = "import sys, privgen; assert 'PrivateTraining' in dir(privgen); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_who_trains_again_on_the_same_records_is_told_before_anything_is_spent(train, tmp_path, own, recwarn):
    def told():
        found = [str(w.message) for w in recwarn.list if "Spent before" in str(w.message)]
        recwarn.clear()
        return found

    next(iter(train()))
    assert told() == []
    list(train(resume=True))
    assert told() == []
    train(dataset=own.records(seed=1), out=tmp_path / "others")
    assert told() == []
    x, y = own.records()
    train(dataset=(torch.cat([x[:40], torch.randn(56, 6)]), y), out=tmp_path / "again")
    (said,) = told()
    assert "40 of these 96 records were in run" in said and "PrivateTraining(..., account=)" in said
    assert not (tmp_path / "again").exists()


def test_a_data_set_that_grew_since_it_was_read_begins_no_run(train, tmp_path, own):
    rows = list(own.Listed())
    training = train(dataset=rows)
    rows.append(rows[0])
    with pytest.raises(DataError, match="had 96 records and has 97"):
        next(iter(training))
    assert list(tmp_path.iterdir()) == []


def test_evaluations_are_of_what_would_be_released_and_come_with_a_warning(train):
    asked = []

    def evaluate(model):
        asked.append((model, model.training, torch.is_grad_enabled()))
        return float(weights(model).sum())

    with pytest.warns(UserWarning, match="held-out private ones is charged nowhere"):
        training = train(evaluate=evaluate, evaluate_every=4, ema=0.5)
    for report in training:
        if report.step == 4:
            assert training.evaluations == {4: float(weights(training.averaged).sum())}
    assert set(training.evaluations) == {4, 6} and training.model.training
    assert all(model is training.averaged and not mode and not grad for model, mode, grad in asked)


def test_an_evaluation_leaves_the_training_as_it_is(train, tmp_path, own):
    def trained(out, **changes):
        training = train(
            own.network(), out=tmp_path / out, insecure_fixed_seed=5, feedback="none", bands=None, **changes
        )
        list(training)
        return weights(training.model)

    with pytest.warns(UserWarning, match="public records"):
        looked_at = trained("looked-at", evaluate=lambda model: model(torch.zeros(6)), evaluate_every=1)
    assert torch.equal(looked_at, trained("plain"))
