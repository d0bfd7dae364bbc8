"""`privgen audit`: formats, exit statuses, claims and settings, and what it must not load."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner

from accountant import (
    BandedGaussian,
    BudgetGuard,
    HiddenFeedbackGaussian,
    Ledger,
    Part,
    Plan,
    PrvAccountant,
    RdpAccountant,
    SubsampledGaussian,
)
from accountant.bound_text import upper_text
from accountant.claims.claims import CLAIMS
from accountant.ledger.genesis import genesis_budget
from accountant.ledger.signing import load_signer, new_key
from privgen.cli import main

EVENT = BandedGaussian(sampling_rate=0.05, noise_multiplier=1.0, bands=4)
PLAN = Plan(
    epsilon=10.0,
    delta=1e-5,
    dataset="digits",
    dataset_size=1437,
    bands=4,
    sampling_rate=0.05,
    iterations=40,
    noise_multiplier=1.0,
    parts=(Part(name="critic", clip_norm=0.25, residual_clip_norm=0.75, noise_multiplier=1.0),),
)


def make_run(run, *, noise="floored-gaussian", halted=True, signer=None, public_key=None):
    (run / "release").mkdir(parents=True)
    PLAN.save(run / "release" / "plan.json")
    genesis = {"budget": dict(genesis_budget(PLAN.budget)), "plan": PLAN.to_json(), "plan_digest": PLAN.digest}
    if public_key is not None:
        genesis["public_key"] = public_key
    with Ledger.create(run / "release" / "ledger.jsonl", signer=signer) as ledger:
        ledger.append("genesis", genesis | {"sampling": "Poisson", "noise": noise})
        guard = BudgetGuard(PLAN.budget, ledger=ledger)
        for left in range(PLAN.iterations, 0, -1):
            guard.admit(EVENT, at_most=left)
        if halted:
            guard.halt("the plan's 40 iterations are done")
    return run


def audit(*arguments):
    return CliRunner().invoke(main, ["audit", *map(str, arguments)])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "run")


def test_json_is_alone_on_stdout_and_says_what_the_accountants_say(run):
    result = audit(run, "--format", "json")
    data = json.loads(result.stdout)
    assert result.exit_code == 0 and result.stderr == ""
    assert data["schema"] == "privgen.audit/1"
    assert data["spent"]["rdp"] == RdpAccountant().compose(EVENT, 40).get_epsilon(1e-5)
    assert data["spent"]["prv"]["upper"] == PrvAccountant().compose(EVENT, 40).get_epsilon(1e-5)
    fixed = {"schema", "verdict", "target", "spent", "steps", "halted", "checks", "assumptions"}
    assert fixed <= set(data)
    assert data["steps"] == {"done": 40, "reserved": 40, "planned": 40}


@pytest.mark.parametrize("form", ["terminal", "json", "markdown", "html"])
def test_the_referees_are_shown_side_by_side_with_their_faults(run, form):
    result = audit(run, "--referee", "--format", form)
    assert result.exit_code == 0, result.output
    if form == "json":
        opinions = {one["who"]: one for one in json.loads(result.stdout)["referee"]}
        assert opinions["privgen"]["upper"] == json.loads(result.stdout)["spent"]["epsilon"]
        assert opinions["prv-accountant"]["status"] == "agrees"
        assert opinions["prv-accountant"]["lower"] <= opinions["privgen"]["upper"] <= opinions["Opacus (RDP)"]["upper"]
        return
    words = " ".join(result.stdout.split())
    for said in ("prv-accountant", "dp_accounting", "Opacus", "agrees", "remove"):
        assert said in words


def test_a_referee_that_disagrees_fails_the_audit(run, monkeypatch):
    from accountant.audit import referee

    wrong = replace(referee._REFEREES[0], ask=lambda *_: (50.0, 60.0))
    monkeypatch.setattr(referee, "_REFEREES", (wrong,))
    result = audit(run, "--referee")
    assert result.exit_code == 1
    assert "prv-accountant" in result.stderr and "lower bound is above" in result.stderr


@pytest.mark.parametrize("form", ["terminal", "json", "markdown", "html"])
def test_a_file_gets_what_stdout_would_get(run, form, tmp_path):
    out = tmp_path / "report"
    assert audit(run, "--format", form, "--out", out).stdout == ""
    assert out.read_text() == audit(run, "--format", form).stdout


def test_the_release_folder_alone_can_be_audited(run):
    data = json.loads(audit(run / "release", "--format", "json").stdout)
    assert data["verdict"] == "passed"


def test_a_failed_verdict_is_written_and_ends_with_one_red_line_and_status_1(tmp_path):
    run = make_run(tmp_path / "run", noise="insecure-fixed-seed")
    result = audit(run, "--format", "markdown", "--out", tmp_path / "report.md")
    assert result.exit_code == 1
    assert "Verdict: FAILED" in (tmp_path / "report.md").read_text()
    assert result.stderr.startswith("Error: the audit failed: sampling and noise") and result.stderr.count("\n") == 1


def test_an_incomplete_run_ends_with_status_0(tmp_path):
    result = audit(make_run(tmp_path / "run", halted=False), "--format", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["verdict"] == "incomplete"


def test_an_overspent_ledger_fails(tmp_path):
    (tmp_path / "run" / "release").mkdir(parents=True)
    with Ledger.create(tmp_path / "run" / "release" / "ledger.jsonl") as ledger:
        ledger.append("genesis", {"budget": dict(genesis_budget(PLAN.budget))})
        event = {"kind": "subsampled-gaussian", "sampling_rate": 0.5, "noise_multiplier": 1.0}
        ledger.append("reserve", {"segment": 0, "steps": 100, "event": event})
        ledger.append("commit", {"segment": 0, "steps": 100})
        ledger.append("halt", {"reason": "done", "steps": 100})
    result = audit(tmp_path / "run")
    assert result.exit_code == 1 and "MORE THAN" in result.stderr


BUDGET = dict(genesis_budget(PLAN.budget))
GENESIS = ("genesis", {"budget": BUDGET})
STEP = {"kind": "subsampled-gaussian", "sampling_rate": 0.01, "noise_multiplier": 1.0}


@pytest.mark.parametrize(
    "entries",
    [
        [("genesis", {"budget": BUDGET, "public_key": 5})],
        [("genesis", {"budget": BUDGET | {"epsilon": 10**400}})],
        [("genesis", {"budget": BUDGET, "plan": "a plan"})],
        [GENESIS, ("release", {"files": [1]})],
        [GENESIS, ("release", {"files": {"x" * 5000: "0"}})],
        [GENESIS, ("reserve", {"segment": 0, "steps": 1, "event": "a step"})],
        [GENESIS, ("reserve", {"segment": 0, "steps": 10**400, "event": STEP})],
        [GENESIS, ("reserve", {"segment": 0, "steps": 9, "event": STEP | {"noise_multiplier": 1e-200}})],
    ],
)
@pytest.mark.parametrize("form", ["terminal", "json", "markdown", "html"])
def test_a_ledger_of_nonsense_with_digests_that_hold_fails_in_one_line(tmp_path, entries, form):
    (tmp_path / "run" / "release").mkdir(parents=True)
    with Ledger.create(tmp_path / "run" / "release" / "ledger.jsonl") as ledger:
        for kind, body in entries:
            ledger.append(kind, body)
    result = audit(tmp_path / "run", "--format", form)
    assert isinstance(result.exception, SystemExit) and result.exit_code == 1
    assert result.stderr.startswith("Error: the audit failed: ") and result.stderr.count("\n") == 1
    assert form != "json" or json.loads(result.stdout)["verdict"] == "failed"


def test_released_weights_must_be_the_last_checkpoint_s(tmp_path):
    release = tmp_path / "run" / "release"
    release.mkdir(parents=True)
    (release / "generator.safetensors").write_bytes(b"weights")
    with Ledger.create(release / "ledger.jsonl") as ledger:
        ledger.append("genesis", {"budget": dict(genesis_budget(PLAN.budget))})
        ledger.append("checkpoint", {"name": "checkpoint-0", "step": 0, "weights_digest": "1" * 64})
        ledger.append("release", {"files": {"generator.safetensors": "2" * 64}})
        ledger.append("halt", {"reason": "done", "steps": 0})
    data = json.loads(audit(tmp_path / "run", "--format", "json").stdout)
    status = {check["name"]: check["status"] for check in data["checks"]}
    assert status["checkpoint digests"] == "failed"
    assert status["released generator.safetensors"] == "failed"


def test_a_signer_s_key_is_compared(tmp_path):
    key, other = new_key(tmp_path / "own.key"), new_key(tmp_path / "other.key")
    run = make_run(tmp_path / "run", signer=load_signer(tmp_path / "own.key").sign, public_key=key)
    assert audit(run, "--public-key", key).exit_code == 0
    assert audit(run, "--public-key", tmp_path / "own.key.pub").exit_code == 0
    assert audit(run, "--public-key", other).exit_code == 1


@pytest.mark.parametrize("form", ["terminal", "markdown", "html", "json"])
def test_a_claim_shows_claimed_and_certified(form):
    result = audit("--claim", "dicesgd", "--format", form)
    assert result.exit_code == 0
    if form == "json":
        data = json.loads(result.stdout)
        assert sorted(data) == ["certified", "claim", "claimed", "reason", "source"]
        assert data["claimed"] < data["certified"]["prv"]["lower"]
    else:
        assert "On these settings the claim does not hold: ε = 2 claimed" in result.stdout
        assert "claimed by the published analysis, not a bound" in result.stdout


def test_the_help_names_every_claim():
    text = " ".join(audit("--help").stdout.split())
    assert all(name in text for name in CLAIMS)


def test_settings_of_one_s_own_cost_what_the_accountants_say():
    arguments = ("--noise-multiplier", 1.1, "--sampling-rate", 0.01, "--iterations", 500, "--delta", 1e-6)
    data = json.loads(audit(*arguments, "--format", "json").stdout)
    event = SubsampledGaussian(sampling_rate=0.01, noise_multiplier=1.1)
    assert data["certified"]["rdp"] == RdpAccountant().compose(event, 500).get_epsilon(1e-6)
    assert data["claimed"] is None
    assert upper_text(data["certified"]["prv"]["upper"]) in audit(*arguments).stdout


def test_settings_with_the_published_feedback_show_both():
    arguments = ("--noise-multiplier", 1, "--sampling-rate", 0.01, "--iterations", 100, "--feedback-ratio", 0.2)
    data = json.loads(audit(*arguments, "--format", "json").stdout)
    event = HiddenFeedbackGaussian(sampling_rate=0.01, noise_multiplier=1.0, feedback_ratio=0.2)
    assert data["certified"]["rdp"] == RdpAccountant().compose(event, 100).get_epsilon(1e-5)
    assert data["claimed"] < data["certified"]["prv"]["lower"]


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_opacus_history_is_composed(tmp_path, wrapped):
    history = [[1.5, 0.04, 100], [1.2, 0.02, 50]]
    path = tmp_path / "history.json"
    path.write_text(json.dumps({"history": history, "mechanism": "rdp"} if wrapped else history))
    data = json.loads(audit("--opacus-history", path, "--delta", 1e-6, "--format", "json").stdout)
    rdp = RdpAccountant().compose(SubsampledGaussian(sampling_rate=0.04, noise_multiplier=1.5), 100)
    rdp.compose(SubsampledGaussian(sampling_rate=0.02, noise_multiplier=1.2), 50)
    assert data["certified"]["rdp"] == rdp.get_epsilon(1e-6)


@pytest.mark.parametrize("text", ["[[1, 2]]", "{}", "not json", "[[0, 0.1, 10]]", '[["a", "b", "c"]]', "3"])
def test_a_history_that_is_none_is_wrong_usage(tmp_path, text):
    path = tmp_path / "history.json"
    path.write_text(text)
    assert audit("--opacus-history", path).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("RUN", "--claim", "dicesgd"),
        ("RUN", "--delta", "1e-6"),
        ("RUN", "--noise-multiplier", "1"),
        ("--claim", "nobody"),
        ("--claim", "dicesgd", "--delta", "1e-6"),
        ("--claim", "dicesgd", "--public-key", "00"),
        ("--noise-multiplier", "1"),
        ("--noise-multiplier", "-1", "--sampling-rate", "0.1", "--iterations", "3"),
        ("--noise-multiplier", "1", "--sampling-rate", "0.1", "--iterations", "3", "--delta", "2"),
        ("--bands", "4"),
    ],
)
def test_what_makes_no_sense_together_is_wrong_usage(arguments, run):
    result = audit(*(run if argument == "RUN" else argument for argument in arguments))
    assert result.exit_code == 2 and "Error" in result.stderr and "Traceback" not in result.output


@pytest.mark.parametrize("form", ["json", "html"])
def test_it_loads_neither_torch_nor_matplotlib(run, form):
    code = (
        "import sys; from privgen.cli import main\n"
        f"main(['audit', {str(run)!r}, '--format', {form!r}], standalone_mode=False)\n"
        "sys.exit(bool({'torch', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
