"""The training loop: what it charges, when it stops, what it leaves, and what never leaves the house."""

import dataclasses
import datetime
import errno
import hashlib
import json
import math
import os
import stat

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from accountant import Ledger, LedgerError, Phase, PrvAccountant, RdpAccountant, verify_ledger
from accountant.audit.audit import audit_run
from privgen.errors import DataError, RunError
from privgen.generate import load_generator
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.mechanism.record_numbers import RecordNumbers
from privgen.training import begin as begin_module
from privgen.training import loop as train_module
from privgen.training import records as records_module
from privgen.training.checkpoint import kept_checkpoints, read_checkpoint
from privgen.training.loop import run


class NoNoise(ExactGaussian):
    """None, so that a test sees what training does without it."""

    def __init__(self):
        super().__init__(kind="none: a test")

    def floored(self, shape, *, std):
        return np.zeros(shape, dtype=np.int64)


def seeded(device):
    return torch.Generator(device=device).manual_seed(0)


def metrics(out):
    return [json.loads(line) for line in (out / "private" / "metrics.jsonl").read_text().splitlines()]


def kinds(ledger):
    return [entry.kind for entry in ledger.entries]


def weights(session, name):
    return torch.cat([p.detach().flatten().clone() for p in getattr(session.state.learner.networks, name).parameters()])


def test_it_can_be_taken_step_by_step(lab, tmp_path):
    with lab.begin(tmp_path / "run") as session:
        reports = lab.take(session, 3)
        assert [report.step for report in reports] == [1, 2, 3]
        assert {report.planned for report in reports} == {12}
        assert all(0 < report.epsilon_spent <= report.epsilon == 5.0 for report in reports)
        assert all(math.isfinite(v) for report in reports for v in report.losses.values())
        assert session.outcome is None


def test_it_halts_at_the_plans_last_step_with_everything_released(halted_run):
    state = verify_ledger(halted_run, head_path=halted_run / "private" / "head.json")
    assert state.steps_charged == state.steps_done == state.plan.iterations == 12
    assert "12 iterations are done" in state.halted
    assert {p.name for p in (halted_run / "release").iterdir()} - {"report.html", "report.md"} == {
        "generator.json", "generator.safetensors", "ledger.jsonl", "plan.json", "samples.png",
    }  # fmt: skip
    assert set(state.releases) == {"generator.json", "generator.safetensors", "samples.png"}
    assert audit_run(halted_run).verdict == "passed"


def test_checkpoint_release_and_halt_stand_in_that_order(halted_run):
    lines = (halted_run / "release" / "ledger.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == [
        "genesis", "checkpoint", "reserve", "commit", "checkpoint", "reserve", "commit", "checkpoint",
        "reserve", "commit", "checkpoint", "release", "halt",
    ]  # fmt: skip


def test_what_is_released_is_the_last_checkpoints_average(halted_run):
    last = verify_ledger(halted_run).last_checkpoint
    released = (halted_run / "release" / "generator.safetensors").read_bytes()
    assert hashlib.sha256(released).hexdigest() == last.weights_digest
    assert last.step == 12


def test_the_ledger_and_the_guard_charge_the_same(lab, tmp_path):
    with lab.begin(tmp_path / "run", plan=lab.plan(iterations=30)) as session:
        lab.stop_after(session, 7)
        spent = session.guard.epsilon_spent()
        assert session.guard.steps == 7
    found = audit_run(tmp_path / "run")
    assert (found.verdict, found.state.steps_charged) == ("incomplete", 7)
    assert found.spent.rdp == spent


def test_every_step_is_in_the_ledger_before_a_record_is_drawn_or_noise_added(lab, tmp_path, monkeypatch):
    with lab.begin(tmp_path / "run", config=lab.config(checkpoint_every=3)) as session:
        seen = []

        def watched(what, function):
            def call(*args, **kwargs):
                seen.append((what, verify_ledger(tmp_path / "run").steps_charged, session.guard.steps))
                return function(*args, **kwargs)

            return call

        monkeypatch.setattr(session.sampler, "draw", watched("draw", session.sampler.draw))
        monkeypatch.setattr(session.noise, "floored", watched("noise", session.noise.floored))
        lab.take(session, 8)
    assert {what for what, _, _ in seen} == {"draw", "noise"}
    assert all(charged >= step for _, charged, step in seen)
    assert [step for what, _, step in seen if what == "draw"] == list(range(1, 9))


def test_a_step_that_cannot_be_reserved_draws_nothing(lab, tmp_path, monkeypatch):
    with lab.begin(tmp_path / "run") as session:

        def full(kind, body):
            raise LedgerError("No space left on device")

        drawn = []
        monkeypatch.setattr(session.ledger, "append", full)
        monkeypatch.setattr(session.sampler, "draw", lambda *args: drawn.append(args))
        with pytest.raises(LedgerError, match="No space"):
            lab.take(session, 1)
        assert drawn == []


def test_a_smaller_budget_stops_it_exactly_at_the_last_affordable_step(lab, tmp_path):
    plan = dataclasses.replace(lab.plan(iterations=40, feedback="none"), epsilon=2.5)
    with lab.begin(tmp_path / "run", plan=plan, config=lab.config(generator_steps=0)) as session:
        steps = len(list(run(session)))
        assert "the budget is reached" in session.outcome
    event, _ = plan.events()[0]
    assert 0 < steps < 40
    assert RdpAccountant().compose(event, steps).get_epsilon(1e-5) <= 2.5
    assert RdpAccountant().compose(event, steps + 1).get_epsilon(1e-5) > 2.5
    assert audit_run(tmp_path / "run").verdict == "passed"


def test_a_budget_below_one_step_trains_nothing_and_releases_nothing(lab, tmp_path):
    plan = dataclasses.replace(lab.plan(), epsilon=1e-3)
    with lab.begin(tmp_path / "run", plan=plan) as session:
        assert list(run(session)) == []
        assert "nothing was spent and nothing was released" in session.outcome
    found = audit_run(tmp_path / "run")
    assert (found.verdict, found.state.steps_charged, found.spent.epsilon) == ("incomplete", 0, 0.0)
    assert not (tmp_path / "run" / "release" / "generator.safetensors").exists()


def test_extend_goes_on_beyond_the_plan_to_what_prv_certifies(lab, tmp_path):
    plan = lab.plan(iterations=20, feedback="none")
    with lab.begin(tmp_path / "run", plan=plan, config=lab.config(generator_steps=0), extend=True) as session:
        steps = len(list(run(session)))
    event, _ = plan.events()[0]
    assert steps > 20
    assert RdpAccountant().compose(event, steps).get_epsilon(1e-5) > 5.0
    assert PrvAccountant().compose(event, steps).get_epsilon(1e-5) <= 5.0
    assert PrvAccountant().compose(event, steps + 1).get_epsilon(1e-5) > 5.0
    assert audit_run(tmp_path / "run").verdict == "passed"


MODES = {
    "none": ({"feedback": "none"}, "subsampled-gaussian", False),
    "banded": ({"feedback": "banded", "bands": 4}, "banded-gaussian", True),
    "one band": ({"feedback": "banded", "bands": 1}, "banded-gaussian", False),
    "paper": ({"feedback": "paper", "epsilon": 20.0}, "hidden-feedback-gaussian", True),
    "critic alone": ({"shares": {"critic": 1.0}}, "banded-gaussian", True),
}


PARTS = {"critic": ("critic",), "classifier": ("classifier",), "reconstruction": ("encoder", "generator")}
SHARES = {
    "all three": {"critic": 0.6, "classifier": 0.2, "reconstruction": 0.2},
    "no reconstruction": {"critic": 0.7, "classifier": 0.3, "reconstruction": 0.0},
    "no classifier": {"critic": 0.7, "classifier": 0.0, "reconstruction": 0.3},
    "critic alone": {"critic": 1.0},
    "no critic": {"critic": 0.0, "classifier": 0.5, "reconstruction": 0.5},
}


@pytest.mark.parametrize("what", SHARES)
@pytest.mark.parametrize("generator_steps", [0, 1])
def test_a_share_of_zero_drops_a_part_with_its_network_its_loss_and_its_noise(lab, tmp_path, what, generator_steps):
    plan = lab.plan(iterations=4, shares=SHARES[what])
    kept = [name for name, share in SHARES[what].items() if share]
    assert [part.name for part in plan.parts] == kept
    config = lab.config(generator_steps=generator_steps, class_start=0.0)
    with lab.begin(tmp_path / "run", plan=plan, config=config) as session:
        before = {name: weights(session, name) for name in ("critic", "classifier", "encoder", "generator")}
        (*_, report) = list(run(session))
        moved = {name for name, old in before.items() if not torch.equal(old, weights(session, name))}
    trained = {network for part in kept for network in PARTS[part]}
    assert moved == trained | ({"generator"} if generator_steps else set())
    assert ("adversarial" in report.losses) == ("critic" in kept and bool(generator_steps))
    assert ("class" in report.losses) == ("classifier" in kept and bool(generator_steps))
    assert set(metrics(tmp_path / "run")[-1]["median_norm"]) == set(kept)
    found = audit_run(tmp_path / "run")
    assert found.verdict == "passed"
    total = sum(SHARES[what].values())
    assert {s.name: pytest.approx(s.share) for s in found.shares} == {p: SHARES[what][p] / total for p in kept}


@pytest.mark.parametrize("adversarial", ["hinge", "wasserstein", "non-saturating"])
@pytest.mark.parametrize("constraint", ["none", "spectral-norm", "gradient-penalty"])
def test_every_critic_trains_resumes_and_passes_its_audit(lab, tmp_path, adversarial, constraint):
    config = lab.config(adversarial=adversarial, critic_constraint=constraint)
    plan = lab.plan(iterations=6, shares={"critic": 1.0})
    with lab.begin(tmp_path / "run", plan=plan, config=config) as session:
        begun = weights(session, "critic")
        lab.stop_after(session, 3)
        stopped = session.state.learner.networks.critic.state_dict()
    with lab.resume(tmp_path / "run") as session:
        restored = session.state.learner.networks.critic.state_dict()
        assert all(torch.equal(stopped[name], restored[name]) for name in stopped)
        list(run(session))
        assert not torch.equal(weights(session, "critic"), begun)
    assert audit_run(tmp_path / "run").verdict == "passed"


@pytest.mark.parametrize("kind", ["fixed", "scheduled", "learned"])
def test_each_kind_of_upsampling_noise_is_released_and_comes_back_after_a_resume(lab, tmp_path, kind):
    settings = {"upsampling_noise": 0.2, "upsampling_noise_kind": kind, "upsampling_noise_end": 0.08}
    config = lab.config(**settings, generator_rate=0.05, ema_decay=0.0)
    with lab.begin(tmp_path / "run", config=config) as session:
        lab.stop_after(session, 6)
        before = session.state.learner.networks.generator.noise_levels()
    with lab.resume(tmp_path / "run") as session:
        assert session.state.learner.networks.generator.noise_levels() == before
        list(run(session))
        last = session.state.learner.averaged.noise_levels()
    # Of 12 steps six are done: half of the way from 0.2 to 0.08.
    assert (before == pytest.approx([0.14, 0.14])) == (kind == "scheduled")
    assert (last == pytest.approx([0.08, 0.08])) == (kind == "scheduled")
    assert (last == pytest.approx([0.2, 0.2])) == (kind == "fixed")
    about = json.loads((tmp_path / "run" / "release" / "generator.json").read_bytes())
    assert {name: about["network"][name] for name in settings} == settings
    assert about["upsampling_noise_levels"] == pytest.approx(last)
    generator = load_generator(tmp_path / "run")
    assert np.array_equal(generator(5, seed=1), load_generator(tmp_path / "run")(5, seed=1))
    assert not np.array_equal(generator(5, seed=1), generator(5, seed=2))


@pytest.mark.parametrize("mode", MODES)
def test_every_feedback_mode_trains_charges_its_own_event_and_passes_its_audit(lab, tmp_path, mode):
    changes, kind, owes = MODES[mode]
    with lab.begin(tmp_path / "run", plan=lab.plan(iterations=8, **changes)) as session:
        assert len(list(run(session))) == 8
        reserved = [entry.body["event"]["kind"] for entry in session.ledger.entries if entry.kind == "reserve"]
    assert set(reserved) == {kind}
    assert audit_run(tmp_path / "run").verdict == "passed"
    owed = load_file(tmp_path / "run" / "private" / "checkpoint-0000008" / "owed.safetensors")
    assert any(bool(t.abs().max() > 0) for name, t in owed.items() if not name.endswith("count")) == owes


def test_a_phase_starts_a_segment_with_nothing_owed_and_its_own_noise(lab, tmp_path, monkeypatch):
    base = lab.plan(iterations=12)
    phases = tuple(
        Phase(iterations=6, sampling_rate=0.1, noise_multiplier=base.noise_multiplier * scale) for scale in (1.0, 1.5)
    )
    plan = dataclasses.replace(base, phases=phases, epsilon=8.0)
    owed_at_start, stds = [], []
    with lab.begin(tmp_path / "run", plan=plan) as session:
        fresh = train_module.begin_segment

        def begin_segment(state, own, event):
            fresh(state, own, event)
            owed_at_start.append(max(float(t.abs().max()) for o in state.owed.values() for t in o.tensors().values()))

        floored = session.noise.floored
        monkeypatch.setattr(session.noise, "floored", lambda shape, std: stds.append(std) or floored(shape, std=std))
        monkeypatch.setattr(train_module, "begin_segment", begin_segment)
        list(run(session))
    assert owed_at_start == [0.0, 0.0]
    half = len(stds) // 2
    assert stds[half:] == pytest.approx([1.5 * std for std in stds[:half]])


def test_a_phased_run_passes_its_audit(lab, tmp_path):
    base = lab.plan(iterations=8)
    phases = tuple(
        Phase(iterations=4, sampling_rate=0.1, noise_multiplier=base.noise_multiplier * scale) for scale in (1.0, 1.5)
    )
    with lab.begin(tmp_path / "run", plan=dataclasses.replace(base, phases=phases, epsilon=8.0)) as session:
        list(run(session))
    found = audit_run(tmp_path / "run")
    assert found.verdict == "passed"
    assert [segment.reserved for segment in found.state.segments] == [4, 4]


def test_an_empty_batch_is_charged_noised_and_trained_with(lab, tmp_path, monkeypatch):
    with lab.begin(tmp_path / "run") as session:
        monkeypatch.setattr(session.sampler, "draw", lambda *args: np.empty(0, np.int64))
        before = {name: weights(session, name) for name in ("critic", "classifier", "encoder", "generator")}
        lab.stop_after(session, 2)
        assert all(not torch.equal(before[name], weights(session, name)) for name in before)
    assert [line["batch_size"] for line in metrics(tmp_path / "run")] == [0, 0]
    assert verify_ledger(tmp_path / "run").steps_charged == 2


def test_records_whose_gradient_is_not_finite_count_as_zero_and_the_step_is_charged(lab, tmp_path, monkeypatch):
    """With no noise, what trains on such records alone does not move."""
    monkeypatch.setattr(
        records_module, "drawn_images", lambda _, chosen, device: torch.full((len(chosen), 1, 16, 16), math.nan)
    )
    config = lab.config(optimiser="sgd", generator_steps=0)
    with lab.begin(tmp_path / "run", config=config, noise=NoNoise, plan=lab.plan(feedback="none")) as session:
        monkeypatch.setattr(session.sampler, "draw", lambda *args: np.arange(5))
        before = {name: weights(session, name) for name in ("critic", "classifier", "encoder", "generator")}
        (report,) = lab.take(session, 1)
        assert all(torch.equal(before[name], weights(session, name)) for name in before)
    assert report.nonfinite >= 5
    assert report.step == session.guard.steps == 1


def test_records_beside_one_that_is_not_finite_count_as_ever(lab, tmp_path, monkeypatch):
    def moved(name, rows, poisoned):
        clean = records_module.drawn_images

        def poison(images, chosen, device):
            tensor = clean(images, chosen, device)
            tensor[poisoned] = math.inf
            return tensor

        config = lab.config(optimiser="sgd", generator_steps=0)
        with (
            lab.begin(tmp_path / name, config=config, noise=NoNoise, latents=seeded) as session,
            monkeypatch.context() as m,
        ):
            m.setattr(records_module, "drawn_images", poison)
            m.setattr(session.sampler, "draw", lambda *args: np.array(rows))
            before = weights(session, "classifier")
            lab.take(session, 1)
            return weights(session, "classifier") - before

    alone = moved("alone", [3, 4], [])
    assert alone.abs().max() > 0
    assert torch.allclose(moved("beside", [3, 4, 9], [2]), alone, atol=1e-7)


def test_the_realised_batch_size_divides_nothing(lab, tmp_path, monkeypatch):
    """Two records together move the weights by what each moves them alone, and by no more than the public B allows."""
    plan = lab.plan(feedback="none")
    config = lab.config(optimiser="sgd", generator_steps=0, momentum=0.0, classifier_rate=1.0)

    def moved(name, rows):
        with lab.begin(tmp_path / name, plan=plan, config=config, noise=NoNoise) as session:
            monkeypatch.setattr(session.sampler, "draw", lambda *args: np.array(rows))
            before = weights(session, "classifier").double()
            lab.take(session, 1)
            return weights(session, "classifier").double() - before

    one, other, both = moved("one", [3]), moved("other", [4]), moved("both", [3, 4])
    assert torch.allclose(one + other, both, atol=1e-6)
    assert not torch.allclose(one, other, atol=1e-4)
    clip = next(part.clip_norm for part in plan.parts if part.name == "classifier")
    # These gradients are longer than the bound, so each is cut to it.
    assert float(one.norm()) == pytest.approx(clip / plan.expected_batch_size, rel=1e-3)


class SameNumbers(RecordNumbers):
    """A record's number is that of its place in the batch, whatever the size of a pass."""

    def uniform(self, *shape):
        return torch.full(shape, 0.3)

    def normal(self, *shape):
        return torch.full(shape, 0.1)


def test_the_physical_batch_changes_no_sum(lab, tmp_path, monkeypatch):
    after = []
    for physical in (None, 1, 3):
        config = lab.config(physical_batch=physical, optimiser="sgd", upsampling_noise=0.0)
        options = {"noise": NoNoise, "latents": seeded, "beside": lambda device: SameNumbers()}
        with lab.begin(tmp_path / str(physical), config=config, **options) as session:
            monkeypatch.setattr(session.sampler, "draw", lambda event, cycle: np.arange(cycle, 8 + 2 * cycle))
            lab.take(session, 3)
            after.append(torch.cat([weights(session, n) for n in ("critic", "classifier", "encoder", "generator")]))
    assert torch.allclose(after[0], after[1], atol=1e-5)
    assert torch.allclose(after[0], after[2], atol=1e-5)


def test_equal_seeds_give_equal_weights_and_nothing_else_that_is_equal(lab, tmp_path):
    with lab.begin(tmp_path / "one") as one, lab.begin(tmp_path / "two") as two:
        assert torch.equal(weights(one, "generator"), weights(two, "generator"))
        draws = [torch.randn(8, generator=session.state.learner.latents) for session in (one, two)]
        assert not torch.equal(*draws)
        noises = [session.noise.floored(8, std=2.0**20) for session in (one, two)]
        assert not np.array_equal(*noises)
        assert one.salt != two.salt
        event = one.plan.events()[0][0]
        batches = [[session.sampler.draw(event, c).tolist() for c in range(4)] for session in (one, two)]
        assert batches[0] != batches[1]


def test_another_seed_gives_other_initial_weights_and_no_global_state_is_touched(lab, tmp_path):
    torch.manual_seed(7)
    expected = torch.randn(3)
    torch.manual_seed(7)
    with lab.begin(tmp_path / "one") as one, lab.begin(tmp_path / "two", config=lab.config(seed=1)) as two:
        assert not torch.equal(weights(one, "generator"), weights(two, "generator"))
        lab.take(one, 1)
    # The generator's own noise without a source is the one thing that may draw from torch's state.
    assert torch.equal(torch.randn(3), expected)


def test_a_stop_leaves_a_checkpoint_and_no_halt(lab, tmp_path):
    with lab.begin(tmp_path / "run") as session:
        assert len(lab.stop_after(session, 5)) == 5
        assert session.outcome == "interrupted"
        assert kinds(session.ledger)[-2:] == ["commit", "checkpoint"]
    assert kept_checkpoints(tmp_path / "run" / "private") == ["checkpoint-0000000", "checkpoint-0000005"]
    assert audit_run(tmp_path / "run").verdict == "incomplete"


def test_a_checkpoint_of_an_unchanged_state_is_not_written_again(lab, tmp_path):
    """Writing it again would have to remove the one that stands, and a crash in between would lose it."""
    with lab.begin(tmp_path / "run", config=lab.config(checkpoint_every=3)) as session:
        lab.stop_after(session, 3)
        assert kinds(session.ledger).count("checkpoint") == 2
        assert session.save() == "checkpoint-0000003"
        assert kinds(session.ledger).count("checkpoint") == 2


def test_the_newest_checkpoints_are_kept_and_can_be_read(lab, tmp_path):
    with lab.begin(tmp_path / "run", config=lab.config(checkpoint_every=2, keep_checkpoints=3)) as session:
        reports = lab.take(session, 9)
    assert [report.checkpoint for report in reports if report.checkpoint] == [
        f"checkpoint-000000{k}" for k in (2, 4, 6, 8)
    ]
    names = kept_checkpoints(tmp_path / "run" / "private")
    assert names == ["checkpoint-0000004", "checkpoint-0000006", "checkpoint-0000008"]
    for name in names:
        read_checkpoint(tmp_path / "run" / "private", name, recorded=names)


def poison(session, name):
    with torch.no_grad():
        next(getattr(session.state.learner.networks, name).parameters()).fill_(math.nan)


@pytest.mark.parametrize("name", ["generator", "critic"])
def test_a_loss_that_is_not_finite_stops_it_and_leaves_a_good_checkpoint(lab, tmp_path, name):
    with lab.begin(tmp_path / "run", config=lab.config(checkpoint_every=2)) as session:
        running = run(session)
        for _ in range(3):
            next(running)
        poison(session, name)
        with pytest.raises(RunError, match="diverged at step 4"):
            next(running)
        assert verify_ledger(tmp_path / "run").steps_charged >= 4
    assert_last_checkpoint_is_finite(tmp_path / "run", step=2)


@pytest.mark.parametrize("name", ["classifier", "encoder"])
@pytest.mark.parametrize("ending", ["halt", "stop", "checkpoint"])
def test_a_weight_that_is_not_finite_is_never_saved_or_released(lab, tmp_path, name, ending):
    """The generator's own losses need not show it, where it learns from neither network or takes no steps."""
    every = 2 if ending == "checkpoint" else 100
    with lab.begin(tmp_path / "run", config=lab.config(checkpoint_every=every, generator_steps=0)) as session:
        reports = []
        running = run(session, stop=lambda: ending == "stop" and len(reports) >= 3)
        with pytest.raises(RunError, match="diverged"):
            for report in running:
                reports.append(report)
                if len(reports) == 1:
                    poison(session, name)
        assert "halt" not in kinds(session.ledger)
    assert not (tmp_path / "run" / "release" / "generator.safetensors").exists()
    assert_last_checkpoint_is_finite(tmp_path / "run", step=0)


def assert_last_checkpoint_is_finite(out, *, step):
    record = verify_ledger(out).last_checkpoint
    assert record.step == step
    snapshot = read_checkpoint(out / "private", record.name, recorded=[record.name])
    assert all(bool(torch.isfinite(t).all()) for t in (*snapshot.networks.values(), *snapshot.generator.values()))


def test_private_is_for_the_owner_alone(halted_run):
    assert stat.S_IMODE((halted_run / "private").stat().st_mode) == 0o700
    for folder in (halted_run / "private").glob("checkpoint-*"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_nothing_private_is_in_the_release_folder(halted_run):
    """Neither as bytes nor as a digest, by which a guess could be confirmed."""
    private, release = halted_run / "private", halted_run / "release"
    public = b"".join(p.read_bytes() for p in release.iterdir())
    (last, *_) = sorted(private.glob("checkpoint-*"), reverse=True)
    for kind in ("owed", "optimisers", "networks"):
        tensors = load_file(last / f"{kind}.safetensors")
        assert len(tensors) > 10
        for name, tensor in tensors.items():
            if len(tensor.unique()) > 4:
                assert tensor.numpy().tobytes() not in public, name
    digests = [hashlib.sha256(p.read_bytes()).hexdigest() for p in private.rglob("*") if p.is_file()]
    released = {hashlib.sha256((release / "generator.safetensors").read_bytes()).hexdigest()}
    ledgers_own = {json.loads(line)["weights_digest"] for line in public.decode(errors="ignore").splitlines()
                   if line.startswith('{"digest"') and '"weights_digest"' in line}  # fmt: skip
    secret = set(digests) - released - ledgers_own
    assert len(secret) > 8
    state = json.loads((last / "state.json").read_bytes())
    fingerprint = json.loads((private / "fingerprint.json").read_bytes())["data"]
    for text in (*secret, state["salt"], fingerprint):
        assert text.encode() not in public
        assert bytes.fromhex(text) not in public


def test_the_ledger_tells_the_day_and_no_time(halted_run):
    """The time that a step took would tell how large its batch was."""
    entries = [json.loads(line) for line in (halted_run / "release" / "ledger.jsonl").read_text().splitlines()]
    dates = [(e["kind"], name) for e in entries for name, value in e.items() if "time" in name or name == "date"]
    assert dates == [("genesis", "date")]
    datetime.date.fromisoformat(entries[0]["date"])
    assert len(entries[0]["date"]) == 10


def test_data_that_were_not_planned_for_are_refused_and_nothing_is_left(lab, tmp_path):
    with pytest.raises(DataError, match="N = 200 records and synthetic has 150"):
        lab.begin(tmp_path / "run", data=lab.data(count=150))
    with pytest.raises(DataError, match="for data set digits, not for synthetic"):
        lab.begin(tmp_path / "run", plan=lab.plan(dataset="digits"))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_stands_already_is_refused_and_untouched(lab, tmp_path, halted_run):
    before = lab.every_file(halted_run)
    with pytest.raises(RunError, match="exists already; go on with it by --resume"):
        lab.begin(halted_run)
    assert lab.every_file(halted_run) == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="exists already"):
        lab.begin(tmp_path / "file")


def no_space(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def failing_after(times, function):
    """`function`, which fails from the call number `times` on."""
    calls = []

    def call(*args, **kwargs):
        calls.append(1)
        if len(calls) > times:
            raise LedgerError("No space left on device")
        return function(*args, **kwargs)

    return call


STARTS = {
    "plan": lambda m: m.setattr(begin_module.Plan, "save", no_space),
    "checkpoint": lambda m: m.setattr(begin_module, "write_checkpoint", no_space),
    "ledger": lambda m: m.setattr(Ledger, "create", no_space),
    "genesis": lambda m: m.setattr(Ledger, "append", failing_after(0, Ledger.append)),
    "head": lambda m: m.setattr("accountant.ledger.chain.Head.save", no_space),
    "first entry": lambda m: m.setattr(Ledger, "append", failing_after(1, Ledger.append)),
    "guard": lambda m: m.setattr(begin_module, "BudgetGuard", no_space),
}


@pytest.mark.parametrize("at", STARTS)
def test_a_start_that_fails_leaves_nothing_and_can_be_tried_again(lab, tmp_path, monkeypatch, at):
    with monkeypatch.context() as broken:
        STARTS[at](broken)
        with pytest.raises((OSError, LedgerError), match="No space left"):
            lab.begin(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    lab.begin(tmp_path / "run").close()


def test_a_checkpoint_that_cannot_be_written_costs_none_that_stand_and_hides_no_step(lab, tmp_path, monkeypatch):
    with lab.begin(tmp_path / "run", config=lab.config(checkpoint_every=4)) as session:
        lab.take(session, 5)
        before = lab.every_file(tmp_path / "run" / "private")
        monkeypatch.setattr("privgen.training.checkpoint._write_synced", no_space)
        with pytest.raises(OSError, match="No space left"):
            session.save()
        after = lab.every_file(tmp_path / "run" / "private")
    assert {n: b for n, b in after.items() if "checkpoint" in n} == {
        n: b for n, b in before.items() if "checkpoint" in n
    }
    state = verify_ledger(tmp_path / "run")
    assert (state.steps_charged, state.last_checkpoint.step) == (5, 4)
