"""Going on with a run: what comes back, what is dropped, what is refused and with which words."""

import errno
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from accountant import Budget, Ledger, LedgerBroken, LedgerError, LedgerLocked, verify_ledger
from accountant.audit.audit import audit_run
from accountant.ledger.account import Account
from accountant.ledger.signing import new_key
from privgen.errors import CheckpointError, DataError, PrivgenError, RunError
from privgen.mechanism.floored_gaussian import ExactGaussian
from privgen.training import checkpoint as checkpoint_module
from privgen.training.checkpoint import kept_checkpoints, write_checkpoint
from privgen.training.loop import run
from privgen.training.session import Halted
from privgen.training.state import snapshot


def tensors_of(session):
    """Everything that a checkpoint would hold."""
    snap = snapshot(session.state, {})
    kinds = {"networks": snap.networks, "optimisers": snap.optimisers, "owed": snap.owed, "average": snap.generator}
    return {f"{kind}/{name}": t.clone() for kind, tensors in kinds.items() for name, t in tensors.items()}


def assert_same(one, two, *, but=()):
    assert {n for n in one if n.split("/")[0] not in but} == {n for n in two if n.split("/")[0] not in but}
    for name, tensor in one.items():
        if name.split("/")[0] not in but:
            assert torch.equal(tensor, two[name]), name


def resumes(out):
    lines = (out / "release" / "ledger.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["kind"] == "resume"]


@pytest.fixture(scope="module")
def long_plan(lab):
    """Longer than one block of reserved steps, so that something is left after a crash."""
    return lab.plan(iterations=100)


@pytest.fixture(scope="module")
def made_once(lab, long_plan, tmp_path_factory):
    """Runs that each test copies: one stopped cleanly in the middle of a cycle, one killed after a checkpoint."""
    found = {}
    for name in ("stopped", "crashed"):
        out = tmp_path_factory.mktemp(name) / "run"
        with lab.begin(out, plan=long_plan, config=lab.config(checkpoint_every=3)) as session:
            (lab.stop_after if name == "stopped" else lab.take)(session, 6)
            found[name] = (out, tensors_of(session), session.salt)
            if name == "crashed":
                lab.take(session, 2)
    return found


@pytest.fixture
def copied(lab, made_once, tmp_path, monkeypatch):
    """A copy of one of them, as if it had been trained where it lies."""

    def copy(name):
        out, contents, salt = made_once[name]
        shutil.copytree(out, tmp_path / "run")
        return lab.move_in(monkeypatch, tmp_path / "state", tmp_path / "run"), contents, salt

    return copy


@pytest.fixture
def stopped(copied):
    """A run that was stopped cleanly in the middle of a cycle."""
    return copied("stopped")


@pytest.fixture
def crashed(copied):
    """A run that was killed two steps after a checkpoint; 64 steps stand reserved behind it."""
    return copied("crashed")


def test_a_clean_resume_brings_everything_back_the_owed_error_and_the_cycle_too(lab, stopped):
    out, contents, salt = stopped
    assert any(name.startswith("owed/") and bool(t.abs().sum() > 0) for name, t in contents.items())
    with lab.resume(out) as session:
        assert_same(contents, tensors_of(session))
        assert session.salt == salt
        receipt = session.guard.admit(session.state.event)
        assert (receipt.step, receipt.cycle) == (6, 6)
    assert [entry["clean"] for entry in resumes(out)] == [True]


def test_a_clean_resume_goes_on_with_its_segment_and_pays_back_what_is_owed(lab, stopped):
    out, _, _ = stopped
    with lab.resume(out) as session:
        owed = {name: o.window_sum() for name, o in session.state.owed.items()}
        lab.stop_after(session, 2)
        assert session.guard.steps == 8
        for name, before in owed.items():
            after = session.state.owed[name].window_sum()
            assert any(not torch.equal(before[key], after[key]) for key in before)
    state = verify_ledger(out)
    assert [segment.reserved for segment in state.segments] == [8]


def test_a_second_resume_of_the_same_checkpoint_is_a_crash(lab, stopped):
    out, contents, _ = stopped
    lab.resume(out).close()
    with lab.resume(out) as session:
        assert session.state.owed == {}
        assert_same(contents, tensors_of(session), but=("owed",))
        assert session.guard.admit(session.plan.events()[0][0]).cycle == 0
    assert [entry["clean"] for entry in resumes(out)] == [True, False]


def test_a_resume_after_a_crash_drops_what_was_owed_and_begins_a_new_segment(lab, crashed):
    out, contents, salt = crashed
    with lab.resume(out) as session:
        assert_same(contents, tensors_of(session), but=("owed",))
        assert session.state.owed == {}
        assert session.salt == salt
        lab.take(session, 1)
        # Within one step of a new segment only that step's own clipped-away part is owed.
        for memory in session.state.owed.values():
            tensors = memory.tensors()
            assert int(tensors["oldest"]) == 1
            held = {name for name, t in tensors.items() if "/" in name and bool(t.any())}
            assert held and all(name.startswith("0/") for name in held)
    assert [entry["clean"] for entry in resumes(out)] == [False]
    assert len(verify_ledger(out).segments) == 2


def test_a_crash_charges_every_step_that_stood_reserved_and_each_later_step_anew(lab, crashed):
    out, _, _ = crashed
    before = verify_ledger(out)
    assert (before.steps_done, before.steps_charged) == (6, 70)
    with lab.resume(out) as session:
        assert session.guard.steps == 70
        assert [report.step for report in lab.stop_after(session, 3)] == [71, 72, 73]
    state = verify_ledger(out)
    assert [segment.reserved for segment in state.segments] == [70, 3]
    assert audit_run(out).verdict == "incomplete"


def test_a_run_that_was_resumed_again_and_again_still_halts_within_its_budget(lab, tmp_path):
    out = tmp_path / "run"
    plan = lab.plan(iterations=150)
    with lab.begin(out, plan=plan, config=lab.config(generator_steps=0)) as session:
        lab.stop_after(session, 3)
    for crash in (True, False, True):
        with lab.resume(out) as session:
            (lab.take if crash else lab.stop_after)(session, 3)
    with lab.resume(out) as session:
        list(run(session))
        assert "has no charged block left" in session.outcome and "nothing was released" in session.outcome
    with lab.resume(out, accept_loss=True) as session:
        list(run(session))
        assert "has no charged block left" in session.outcome and session.released
    found = audit_run(out)
    assert found.verdict == "passed"
    assert (found.state.resumes, found.state.crashes) == (5, 2)
    assert found.spent.epsilon <= plan.epsilon


@pytest.mark.parametrize("how", ["stopped", "crashed"])
def test_noise_coins_and_latent_vectors_are_fresh_after_every_resume(lab, tmp_path, monkeypatch, request, how):
    """Two resumes of one state take different steps: nothing of a generator's state is in a checkpoint."""
    out, _, _ = request.getfixturevalue(how)
    shutil.copytree(out, tmp_path / "twin")
    seen = []
    for folder in (out, tmp_path / "twin"):
        lab.move_in(monkeypatch, folder.with_suffix(".state"), folder)  # each on a machine of its own
        with lab.resume(folder) as session:
            event = session.plan.events()[0][0]
            draws = [session.sampler.draw(event, cycle).tolist() for cycle in range(8)]
            latent = torch.randn(4, generator=session.state.learner.latents).tolist()
            seen.append((draws, latent, session.noise.floored(4, std=2.0**20).tolist()))
    assert all(first != second for first, second in zip(*seen, strict=True))


def test_a_resume_says_which_noise_it_draws_from_and_takes_no_known_seed(lab, stopped):
    out, _, _ = stopped
    before = lab.every_file(out)
    with pytest.raises(RunError, match="omit --insecure-fixed-seed"):
        lab.resume(out, noise=lambda: ExactGaussian.insecure_fixed_seed(0))
    with pytest.raises(RunError, match="omit --insecure-fixed-seed"):
        lab.resume(out, coins=lambda count: None)
    assert lab.every_file(out) == before
    lab.resume(out).close()
    assert resumes(out)[-1]["noise"] == "floored-gaussian"


@pytest.mark.parametrize("kind", ["fast", "secure"])
def test_a_run_that_was_begun_with_floating_noise_cannot_go_on(lab, tmp_path, monkeypatch, kind):
    """What it released before costs more than its ledger says: noise in floating point has holes and no tail."""
    with lab.begin(tmp_path / "run", noise=lambda: ExactGaussian(kind=kind)) as session:
        lab.stop_after(session, 1)
    with pytest.raises(RunError, match="not exact in floating point"):
        lab.resume(tmp_path / "run")


def wrong_plan(lab, out):
    return lab.resume(out, plan=lab.plan(iterations=101))


def wrong_data(lab, out):
    return lab.resume(out, data=lab.data(seed=9))


def wrong_size(lab, out):
    return lab.resume(out, data=lab.data(count=150))


def one_record_less(lab, out):
    """As many as were planned for, to a tenth; but not those of this run."""
    return lab.resume(out, data=lab.data(count=199))


def unknown_checkpoint(lab, out):
    return lab.resume(out, checkpoint="checkpoint-0000099")


def changed_byte(lab, out):
    path = out / "release" / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"steps":64', b'"steps":14', 1))
    return lab.resume(out)


def dropped_tail(lab, out):
    path = out / "release" / "ledger.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    return lab.resume(out)


def lost_head(lab, out):
    (out / "private" / "head.json").unlink()
    return lab.resume(out)


def lost_fingerprint(lab, out):
    (out / "private" / "fingerprint.json").unlink()
    return lab.resume(out)


def foreign_weights(lab, out):
    """A checkpoint of the right name and whole, from another run."""
    config = lab.config(checkpoint_every=3, seed=5)
    with lab.begin(out.parent / "other", plan=lab.plan(iterations=100), config=config) as other:
        lab.stop_after(other, 6)
    newest = verify_ledger(out).last_checkpoint.name
    shutil.rmtree(out / "private" / newest)
    shutil.copytree(out.parent / "other" / "private" / newest, out / "private" / newest)
    return lab.resume(out)


def unsigned(lab, out):
    new_key(out.parent / "officer.key")
    return lab.resume(out, signing_key=out.parent / "officer.key")


REFUSALS = {
    wrong_plan: (RunError, "The plan is not the one that .* was begun with"),
    wrong_data: (RunError, "The data set is not the one that this run was begun with"),
    wrong_size: (DataError, "The plan is for N = 200 records and synthetic has 150"),
    one_record_less: (RunError, "The data set is not the one that this run was begun with"),
    unknown_checkpoint: (CheckpointError, "not in this ledger's past"),
    foreign_weights: (CheckpointError, "not the checkpoint that the ledger names: its weights differ"),
    changed_byte: (LedgerBroken, r"Entry 2 \(reserve\) was changed"),
    dropped_tail: (LedgerBroken, "its tail was dropped"),
    lost_head: (LedgerError, "Cannot read the ledger's head"),
    lost_fingerprint: (RunError, r"Cannot read .*fingerprint\.json"),
    unsigned: (RunError, "begun unsigned"),
}


@pytest.mark.parametrize("refused", REFUSALS, ids=lambda f: f.__name__)
def test_what_does_not_belong_is_refused_in_its_own_words_and_changes_nothing(lab, stopped, refused):
    out, _, _ = stopped
    kind, message = REFUSALS[refused]
    contents = []

    class Watched:
        """The lab, noting the folder right before the resume that is to be refused."""

        def __getattr__(self, name):
            if name == "resume":
                contents.append(lab.every_file(out))
            return getattr(lab, name)

    with pytest.raises(kind, match=message):
        refused(Watched(), out)
    assert lab.every_file(out) == contents[-1]


def test_the_run_of_another_process_is_refused_and_goes_on(lab, stopped):
    out, _, _ = stopped
    with lab.resume(out) as session:
        with pytest.raises(LedgerLocked, match="Another process holds"):
            lab.resume(out)
        code = "import sys; from accountant import Ledger; Ledger.open(sys.argv[1])"
        ledger = out / "release" / "ledger.jsonl"
        other = subprocess.run([sys.executable, "-c", code, ledger], capture_output=True, text=True)
        assert "LedgerLocked" in other.stderr
        lab.stop_after(session, 1)
    assert verify_ledger(out).steps_charged == 7


FILES = ["networks.safetensors", "optimisers.safetensors", "owed.safetensors", "generator.safetensors", "state.json"]


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


DAMAGES = {
    "one bit": flip,
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", [*FILES, "manifest.json"])
def test_a_damaged_checkpoint_is_seen_and_the_one_before_it_offered(lab, stopped, file, damage):
    out, _, _ = stopped
    DAMAGES[damage](out / "private" / "checkpoint-0000006" / file)
    before = lab.every_file(out)
    with pytest.raises(
        CheckpointError, match=r"Resume from the one before it: --resume --checkpoint (\S+)\."
    ) as caught:
        lab.resume(out)
    assert lab.every_file(out) == before
    assert "checkpoint-0000003" in str(caught.value)


def test_the_one_before_is_resumed_as_after_a_crash_and_no_step_is_forgotten(lab, stopped):
    out, _, _ = stopped
    flip(out / "private" / "checkpoint-0000006" / "owed.safetensors")
    with lab.resume(out, checkpoint="checkpoint-0000003") as session:
        assert (session.guard.steps, session.state.owed) == (6, {})
        lab.stop_after(session, 1)
    state = verify_ledger(out)
    assert (state.crashes, state.steps_charged) == (1, 7)


def test_a_lone_damaged_checkpoint_says_that_nothing_is_left(lab, tmp_path):
    lab.begin(tmp_path / "run").close()
    flip(tmp_path / "run" / "private" / "checkpoint-0000000" / "networks.safetensors")
    with pytest.raises(CheckpointError, match="No other checkpoint is kept"):
        lab.resume(tmp_path / "run")


def test_a_whole_checkpoint_of_other_networks_is_refused(lab, stopped, tmp_path):
    """Its manifest holds, its released weights are the ledger's, and the rest is another run's."""
    out, _, _ = stopped
    folder = out / "private" / "checkpoint-0000006"
    snap = checkpoint_module.read_checkpoint(out / "private", folder.name, recorded=[])
    fields = {name: getattr(snap, name) for name in ("optimisers", "owed", "generator", "state")}
    networks = {name: tensor[:1] for name, tensor in snap.networks.items()}
    shutil.rmtree(folder)
    write_checkpoint(out / "private", folder.name, checkpoint_module.Snapshot(networks=networks, **fields))
    with pytest.raises(CheckpointError, match="not of this run's networks"):
        lab.resume(out)


def test_after_a_halt_the_budget_is_spent_and_no_byte_changes(lab, halted_run, tmp_path):
    shutil.copytree(halted_run, tmp_path / "run")
    before = lab.every_file(tmp_path / "run")
    found = lab.resume(tmp_path / "run")
    assert isinstance(found, Halted)
    assert "12 iterations are done" in found.reason and found.steps == 12
    assert lab.every_file(tmp_path / "run") == before


def test_a_halted_run_can_be_extended_to_what_remains_beside_its_caps(lab, tmp_path):
    plan = lab.plan(iterations=48)
    with lab.begin(tmp_path / "run", plan=plan, config=lab.config(generator_steps=0)) as session:
        list(run(session))
    with lab.resume(tmp_path / "run", extend=True) as session:
        assert session.guard.steps == 48
        assert session.state.owed == {}
        (entry,) = resumes(tmp_path / "run")
        assert len(list(run(session))) == 4 * entry["extra_blocks"] > 0
    found = audit_run(tmp_path / "run")
    assert found.verdict == "passed"
    assert found.state.extended
    assert found.spent.epsilon <= found.guarantee.epsilon == 5.0


def test_where_nothing_remains_beside_the_caps_nothing_is_extended(lab, halted_run, tmp_path, monkeypatch):
    shutil.copytree(halted_run, tmp_path / "run")
    lab.move_in(monkeypatch, tmp_path / "state", tmp_path / "run")
    before = lab.every_file(tmp_path / "run" / "release")
    found = lab.resume(tmp_path / "run", extend=True)
    assert isinstance(found, Halted)
    assert "nothing remains of its budget beside what the plan's phases may charge" in found.reason
    assert lab.every_file(tmp_path / "run" / "release") == before


def test_a_run_that_was_killed_before_it_began_is_begun_by_a_resume(lab, tmp_path, monkeypatch):
    with pytest.raises(RunError, match="There is no run in"):
        lab.resume(tmp_path / "none")
    for number, content in enumerate((None, b"", b'{"digest":"cut')):
        out = tmp_path / f"run{number}"
        lab.begin(out, config=lab.config(seed=3), canaries=40).close()
        monkeypatch.setenv("PRIVGEN_STATE", str(tmp_path / f"state{number}"))
        (out / "private" / "head.json").unlink()
        (out / "release" / "ledger.jsonl").unlink()
        if content is not None:
            (out / "release" / "ledger.jsonl").write_bytes(content)
        with lab.resume(out) as session:
            assert (session.guard.steps, session.state.learner.settings.seed, len(session.planted)) == (0, 3, 40)
            list(run(session))
        assert audit_run(out).verdict == "passed"


def killed_at(write, work):
    """Whether a process died at its n-th durable write while it did some work."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    done, real = [0], os.fsync

    def counted(descriptor):
        done[0] += 1
        if done[0] == write:
            os._exit(9)
        real(descriptor)

    os.fsync = counted
    try:
        work()
    finally:
        os._exit(0)


def test_wherever_a_beginning_is_killed_it_is_begun_by_a_resume_or_by_the_same_command(lab, tmp_path, monkeypatch):
    """Killed in its first write, a run could once neither be begun nor resumed: somebody had to remove the folder.
    Killed before its plan stood, the resume asked for a plan that its own folder was to hold."""
    plan, write, again = lab.plan(iterations=7), 0, []
    while True:
        write += 1
        out = tmp_path / f"run{write}"
        monkeypatch.setenv("PRIVGEN_STATE", str(tmp_path / f"state{write}"))
        if not killed_at(write, lambda out=out: lab.begin(out, plan=plan).close()):
            break
        if not (out / "private" / "begin.json").exists():
            again.append(write)
            with pytest.raises(RunError, match="give the same command again, without --resume"):
                lab.resume(out)
            lab.begin(out, plan=plan).close()
        with lab.resume(out) as session:
            assert (session.guard.steps, session.plan.digest) == (0, plan.digest)
        assert not list(out.rglob("*.tmp"))
    assert again == [1] and write > 10


@pytest.mark.parametrize("with_it", [True, False])
def test_a_run_that_never_began_is_begun_under_the_same_account(lab, tmp_path, monkeypatch, with_it):
    """Without a word a resume once began it without the account that it was to be charged to."""
    account = Account.new(tmp_path / "clinic.jsonl", budget=Budget(epsilon=50.0, delta=1e-5))
    options = {"account": account} if with_it else {}
    out = tmp_path / "run"
    assert killed_at(9, lambda: lab.begin(out, **options).close())
    assert not (out / "private" / "head.json").exists()
    with pytest.raises(RunError, match="another --account, --signing-key or --anchor, or without; give the same"):
        lab.resume(out, **({} if with_it else {"account": account}))
    lab.resume(out, **options).close()


def test_a_ledger_that_was_emptied_is_not_one_that_never_began(lab, tmp_path):
    lab.begin(tmp_path / "run").close()
    (tmp_path / "run" / "release" / "ledger.jsonl").write_bytes(b"")
    with pytest.raises(RunError, match="has lost its first entry; restore"):
        lab.resume(tmp_path / "run")


def test_a_folder_in_which_nothing_was_written_yet_is_none(lab, tmp_path):
    """Killed within its first instant: nothing says how it was to be begun."""
    for folder in ("release", "private"):
        (tmp_path / "run" / folder).mkdir(parents=True)
    with pytest.raises(RunError, match="give the same command again, without --resume"):
        lab.resume(tmp_path / "run")
    lab.begin(tmp_path / "run").close()


@pytest.mark.parametrize("lines", [1, 2])
def test_a_run_that_was_killed_at_once_can_be_resumed(lab, tmp_path, monkeypatch, lines):
    """Right after the genesis, before its heads or the first checkpoint's entry were written."""
    out = tmp_path / "run"
    lab.begin(out).close()
    path = out / "release" / "ledger.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))
    if lines == 1:
        (out / "private" / "head.json").unlink()
        monkeypatch.setenv("PRIVGEN_STATE", str(tmp_path / "state"))
    with lab.resume(out) as session:
        assert session.guard.steps == 0
        lab.stop_after(session, 1)
    assert verify_ledger(out, head_path=out / "private" / "head.json").steps_charged == 1


def test_a_cut_last_line_is_repaired_and_the_resume_entry_says_so(lab, stopped):
    out, _, _ = stopped
    with (out / "release" / "ledger.jsonl").open("ab") as file:
        file.write(b'{"kind":"reser')
    lab.resume(out).close()
    (entry,) = resumes(out)
    assert "dropped an interrupted write of 14 bytes" in entry["repaired"]
    assert audit_run(out).verdict == "incomplete"


def test_a_checkpoint_that_no_ledger_entry_names_is_never_offered_and_goes_with_the_next_save(
    lab, stopped, monkeypatch
):
    """A crash between a checkpoint's rename and its entry leaves such a one."""
    out, _, _ = stopped
    with lab.resume(out) as session:
        lab.take(session, 2)
        append = session.ledger.append
        monkeypatch.setattr(
            session.ledger, "append", lambda kind, body: append(kind, body) if kind != "checkpoint" else 1 / 0
        )
        with pytest.raises(ZeroDivisionError):
            session.save()
    private = out / "private"
    assert "checkpoint-0000008" in kept_checkpoints(private)
    flip(private / "checkpoint-0000006" / "networks.safetensors")
    with pytest.raises(CheckpointError, match="--checkpoint checkpoint-0000003"):
        lab.resume(out)
    with lab.resume(out, checkpoint="checkpoint-0000003") as session:
        lab.stop_after(session, 1)
    assert kept_checkpoints(private) == ["checkpoint-0000006", "checkpoint-0000009"]


def test_stopping_again_at_the_same_step_keeps_the_checkpoint_before(lab, crashed):
    out, _, _ = crashed
    for _ in range(2):
        with lab.resume(out) as session:
            assert lab.stop_after(session, 0) == []
    assert kept_checkpoints(out / "private") == ["checkpoint-0000070", "checkpoint-0000070-2"]
    with lab.resume(out) as session:
        lab.stop_after(session, 1)
        assert session.guard.steps == 71
    assert [entry["clean"] for entry in resumes(out)] == [False, True, True]


def test_what_interrupted_writes_left_behind_is_swept(lab, stopped):
    out, _, _ = stopped
    left = [out / "release" / ".generator.safetensors.77.tmp", out / "private" / ".head.json.77.tmp"]
    for path in left:
        path.write_bytes(b"half")
    (out / "private" / ".checkpoint-0000007.77.tmp").mkdir()
    mine = out / "release" / ".notes.tmp"
    mine.write_bytes(b"mine")
    (out / "private" / "checkpoint-0000099").mkdir()
    lab.resume(out).close()
    assert kept_checkpoints(out / "private") == ["checkpoint-0000003", "checkpoint-0000006"]
    assert not any(path.exists() for path in left)
    assert not list((out / "private").glob(".checkpoint-*"))
    assert mine.exists()


def test_no_crash_while_a_checkpoint_is_written_costs_another(lab, tmp_path, monkeypatch):
    out = tmp_path / "run"
    lab.begin(out).close()
    private = out / "private"
    before = lab.every_file(private)
    snap = checkpoint_module.read_checkpoint(private, "checkpoint-0000000", recorded=[])

    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for target in (
        "privgen.training.checkpoint._write_synced",
        "privgen.training.checkpoint.fsync_folder",
        "pathlib.Path.rename",
    ):
        with monkeypatch.context() as broken:
            broken.setattr(target, fail)
            with pytest.raises(OSError, match="No space"):
                write_checkpoint(private, "checkpoint-0000009", snap)
        assert lab.every_file(private) == before
        assert not list(private.glob(".*"))
    with pytest.raises(OSError, match=r"not empty|exists"):
        write_checkpoint(private, "checkpoint-0000000", snap)
    assert lab.every_file(private) == before


def test_a_signed_run_goes_on_with_its_own_key_only(lab, tmp_path, long_plan):
    key, other = tmp_path / "officer.key", tmp_path / "other.key"
    public = new_key(key)
    new_key(other)
    out = tmp_path / "run"
    with lab.begin(out, plan=long_plan, signing_key=key) as session:
        lab.stop_after(session, 1)
    for wrong in ({}, {"signing_key": other}):
        with pytest.raises(RunError, match="begun signed by another key; give its --signing-key"):
            lab.resume(out, **wrong)
    with lab.resume(out, signing_key=key) as session:
        lab.stop_after(session, 1)
    assert verify_ledger(out, public_key=public).steps_charged == 2


def test_every_error_of_a_resume_is_one_that_the_command_line_knows():
    assert all(issubclass(kind, PrivgenError | LedgerError) for kind, _ in REFUSALS.values())
    assert issubclass(LedgerLocked, LedgerError)


def test_a_ledger_of_something_else_is_no_run_to_go_on_with(lab, tmp_path):
    out = tmp_path / "run"
    lab.begin(out).close()
    (out / "release" / "ledger.jsonl").unlink()
    with Ledger.create(out / "release" / "ledger.jsonl", head_path=out / "private" / "head.json") as ledger:
        ledger.append("genesis", {"budget": {"epsilon": 5.0, "delta": 1e-5, "neighbouring": "add-or-remove-one"}})
    with pytest.raises(RunError, match="has no plan to go on with"):
        lab.resume(out)
