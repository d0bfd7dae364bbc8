"""A method, a data set and a metric that the tree does not know, from plan to audit.

They are in `toys/`, and what they need is what CONTRIBUTING's pages on adding one say.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from accountant import verify_ledger
from accountant.audit.audit import audit_run
from accountant.errors import InvalidValue
from accountant.plans.plan import Plan
from accountant.plans.planned_method import PlannedMethod
from planners import plan
from privgen import load_generator
from privgen.catalogue import (
    DATASETS,
    METHODS,
    METRICS,
    TrainableMethod,
    method_named,
    register_dataset,
    register_method,
    register_metric,
)
from privgen.cli import main
from privgen.data import load_data
from privgen.errors import CheckpointError, ConfigError, RunError
from privgen.methods.gan.method import METHOD as GAN_METHOD
from privgen.training.begin import begin
from privgen.training.canaries import Scores
from privgen.training.loop import run
from privgen.training.records import ImageRecords
from privgen.training.resume import resume
from privgen.training.session import Options

TOYS = Path(__file__).parent / "toys"


@pytest.fixture(scope="module", autouse=True)
def toys():
    """All three are registered, and taken out again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOYS))
        import shop_data
        import shop_method
        import shop_metric

        register_method(shop_method.ENTRY)
        register_dataset(shop_data.ENTRY)
        register_metric(shop_metric.ENTRY)
        yield
        del METHODS["palette"], DATASETS["shop-stripes"], METRICS["contrast"]
        for name in ("shop_method", "shop_data", "shop_metric"):
            sys.modules.pop(name, None)


def privgen(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def succeeded(*arguments):
    ran = privgen(*arguments)
    assert ran.exit_code == 0, ran.output
    return ran


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Planned and trained by the command line; only to be read."""
    folder = tmp_path_factory.mktemp("outside")
    out, run_folder = folder / "plan.json", folder / "run"
    planned = succeeded(
        "plan", "--method", "palette", "--dataset", "shop-stripes", "--epsilon", 20, "--iterations", 60,
        "--batch-size", 40, "--out", out,
    )  # fmt: skip
    options = ("--set", "physical_batch=32", "--set", "rate=0.4", "--preset", "wild", "--threads", 1, "--canaries", 32)
    ended = succeeded("train", "--plan", out, "--out", run_folder, *options)
    return run_folder, planned.output, ended.output


def test_the_plan_is_of_the_methods_one_part_and_says_so(trained):
    folder, planned, _ = trained
    made = Plan.load(folder / "release" / "plan.json")
    assert made.method == "palette" and [part.name for part in made.parts] == ["palette"]
    assert "palette" in next(line for line in planned.splitlines() if "method" in line)
    assert json.loads((folder / "release" / "plan.json").read_text())["method"] == "palette"


def test_the_run_halts_at_the_plans_end_and_its_audit_passes(trained):
    folder, *_ = trained
    state = verify_ledger(folder)
    assert state.steps_charged == 60 and state.halted is not None
    assert audit_run(folder).verdict == "passed"
    assert json.loads(succeeded("audit", folder, "--format", "json").stdout)["verdict"] == "passed"
    assert (folder / "release" / "report.html").exists()


def test_the_end_names_the_files_that_the_method_wrote_and_no_others(trained):
    folder, _, ended = trained
    (released,) = [line for line in ended.splitlines() if line.startswith("Released: ")]
    for name in ("generator.json", "generator.safetensors", "palette.json"):
        assert str(folder / "release" / name) in released
    assert "samples.png" not in released


def test_its_own_files_are_in_the_ledger_and_its_settings_in_the_checkpoint(trained):
    folder, *_ = trained
    files = [e for line in (folder / "release" / "ledger.jsonl").open() if (e := json.loads(line))["kind"] == "release"]
    assert set(files[0]["files"]) == {"generator.safetensors", "generator.json", "palette.json"}
    newest = max(folder.glob("private/checkpoint-*"))
    state = json.loads((newest / "state.json").read_text())
    assert (state["method"], state["progress"], state["network"]["classes"]) == ("palette", {"taken": 60}, 2)
    assert (state["config"]["preset"], state["config"]["rate"]) == ("wild", 0.4)


def test_samples_are_what_was_learned(trained, tmp_path):
    folder, *_ = trained
    images = load_generator(folder)(40, seed=1)
    assert images.shape == (40, 16, 16, 1)
    assert np.array_equal(images, load_generator(folder)(40, seed=1))
    plain, striped = images[::2].astype(float).mean(0)[..., 0], images[1::2].astype(float).mean(0)[..., 0]
    assert np.abs(np.diff(striped, axis=0)).mean() > 3 * np.abs(np.diff(plain, axis=0)).mean()
    succeeded("sample", folder, "-n", 6, "--out", tmp_path / "six.npz", "--seed", 1)
    assert np.load(tmp_path / "six.npz")["images"].shape == (6, 16, 16, 1)


def test_the_metric_from_outside_measures_it_against_the_data_from_outside(trained):
    folder, *_ = trained
    options = ("--dataset", "shop-stripes", "--metrics", "contrast", "--samples", 200, "--json")
    found = json.loads(succeeded("evaluate", folder, *options).stdout)
    assert 0.1 < found["further"]["contrast"]["ratio"] < 2


def test_a_metric_from_outside_that_needs_labels_is_refused_without_them(tmp_path):
    np.savez(tmp_path / "plain.npz", images=np.zeros((120, 16, 16, 1), np.uint8))
    options = ("--dataset", "shop-stripes", "--metrics", "contrast", "--samples", 100, "--out", tmp_path / "found")
    ran = privgen("evaluate", tmp_path / "plain.npz", *options)
    assert ran.exit_code == 1 and "need labels, and the images have none: contrast" in ran.output


def test_planted_canaries_are_felt_in_its_part(trained):
    folder, *_ = trained
    scores = Scores.read((folder / "private" / "canary-scores.safetensors").read_bytes())
    # One block ends with each step but the first of a segment of four bands.
    assert scores.blocks == 60 - 3
    assert scores.values.shape == (32,) and scores.values.any()


def session_of(out, made=None, **options):
    made = made or plan_of_toy()
    method = method_named("palette")
    settings = method.settings_from_json({"physical_batch": 32})
    data = ImageRecords(load_data("shop-stripes"))
    return begin(out, plan=made, method=method, settings=settings, data=data, options=Options(**options))


def plan_of_toy(**changes):
    known = METHODS["palette"].planned
    facts = DATASETS["shop-stripes"].facts
    values = {"epsilon": 20.0, "dataset_size": 200, "batch_size": 40.0, "iterations": 16, "public_facts": facts}
    return plan(**{"method": known, **values, **changes})


def test_a_resume_has_the_weights_the_optimiser_and_what_else_changed(tmp_path):
    out = tmp_path / "run"
    with session_of(out) as session:
        done = []
        for report in run(session, stop=lambda: len(done) >= 5):
            done.append(report)
        weights = session.state.learner.palette.images.weight.clone()
    data = ImageRecords(load_data("shop-stripes"))
    with resume(out, method=method_named("palette"), data=data, options=Options()) as session:
        learner = session.state.learner
        assert learner.taken == 5 and bool((learner.palette.images.weight == weights).all())
        list(run(session))
        assert session.released and learner.taken == 16
    assert audit_run(out).verdict == "passed"


@pytest.fixture
def stopped(tmp_path):
    out = tmp_path / "run"
    with session_of(out) as session:
        next(run(session))
    return out


def test_a_plan_of_another_method_on_resume_is_one_line_and_changes_nothing(stopped, tmp_path):
    plan(epsilon=20.0, dataset_size=200, public_facts=DATASETS["shop-stripes"].facts).save(tmp_path / "gan.json")
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    ran = privgen("train", "--resume", "--out", stopped, "--plan", tmp_path / "gan.json")
    assert ran.exit_code == 1
    (line,) = [line for line in ran.output.splitlines() if "Error" in line]
    assert "for method gan" in line and "was begun with palette" in line
    assert before == {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}


def test_a_method_refuses_plans_checkpoints_and_canaries_that_are_not_its_own(stopped, tmp_path, monkeypatch):
    data, own = ImageRecords(load_data("shop-stripes")), method_named("palette")
    with pytest.raises(RunError, match="for method palette, not for gan"):
        resume(stopped, method=GAN_METHOD, data=data, options=Options())
    with pytest.raises(RunError, match="for method gan, not for palette"):
        session_of(tmp_path / "a", plan(epsilon=20.0, dataset_size=200, public_facts=DATASETS["shop-stripes"].facts))
    other = PlannedMethod(name="palette", shares={"brush": 1.0})
    with pytest.raises(RunError, match="does not release: brush"):
        session_of(tmp_path / "b", plan_of_toy(method=other))
    with pytest.raises(RunError, match="takes nothing of"):
        session_of(tmp_path / "c", plan_of_toy(warm_start=0.3))
    monkeypatch.setattr(own, "needs_warm_start", True)
    with pytest.raises(RunError, match="begins from a warm start"):
        session_of(tmp_path / "d")
    monkeypatch.undo()
    monkeypatch.setattr(own, "watched", ())
    with pytest.raises(RunError, match="feels no canaries"):
        session_of(tmp_path / "e", canaries=32)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_checkpoint_says_whose_it_is(stopped):
    from privgen.training.checkpoint import read_checkpoint
    from privgen.training.resume import _restored

    name = max(path.name for path in stopped.glob("private/checkpoint-*"))
    snap = read_checkpoint(stopped / "private", name, recorded=[name])
    with pytest.raises(CheckpointError, match="of method palette, not of gan"):
        _restored(plan_of_toy(), GAN_METHOD, snap, Options(), clean=False)


def test_a_release_says_whose_it_is_and_one_that_says_nothing_is_the_gans(trained, halted_run, tmp_path):
    folder, *_ = trained
    assert json.loads((folder / "release" / "generator.json").read_text())["method"] == "palette"
    old = shutil.copytree(halted_run / "release", tmp_path / "old")
    about = json.loads((old / "generator.json").read_text())
    images = load_generator(old)(3, seed=0)
    assert about.pop("method") == "gan"
    (old / "generator.json").write_text(json.dumps(about))
    assert np.array_equal(load_generator(old)(3, seed=0), images)
    (old / "generator.json").write_text(json.dumps({**about, "method": "lost"}))
    with pytest.raises(RunError, match=r"Unknown method 'lost'; known are: gan.*palette"):
        load_generator(old)


def test_a_plan_that_says_nothing_is_the_gans_and_keeps_its_digest():
    made = plan(epsilon=10.0, dataset_size=2000)
    assert made.method == "gan" and "method" not in made.to_json()
    assert Plan.from_json(made.to_json()) == made
    toy = plan_of_toy()
    assert Plan.from_json(toy.to_json()) == toy and toy.digest != made.digest


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (("--method", "brush"), 2, "'brush' is not one of: gan"),
        (("--method", "palette", "--share", "critic=1"), 2, "a step of palette can release: palette"),
    ],
    ids=["unknown", "parts of another"],
)
def test_a_wrong_method_is_refused_by_plan(options, status, said):
    ran = privgen("plan", "--epsilon", 10, "--dataset-size", 2000, *options)
    assert ran.exit_code == status and said in " ".join(ran.output.split())


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (("--preset", "huge"), 2, "even, wild"),
        (("--preset", "paper"), 2, "to be even or wild"),
        (("--set", "critic_rate=1"), 2, "NAME one of: "),
        (("--set", "rate=-1"), 2, "rate=-1"),
    ],
    ids=["no preset", "another's preset", "another's setting", "out of range"],
)
def test_settings_are_the_methods_own(tmp_path, options, status, said):
    plan_of_toy().save(tmp_path / "plan.json")
    ran = privgen("train", "--plan", tmp_path / "plan.json", "--out", tmp_path / "run", *options)
    assert ran.exit_code == status and said in " ".join(ran.output.split())
    assert not (tmp_path / "run").exists()


def test_a_method_that_needs_a_warm_start_is_planned_with_one_unless_it_is_refused():
    known = PlannedMethod(name="palette", shares={"palette": 1.0}, warm_start=0.25, needs_warm_start=True)
    made = plan(epsilon=10.0, dataset_size=2000, method=known)
    assert made.warm_start is not None and "0.25 of ε" in made.defaults["warm_start"]
    with pytest.raises(InvalidValue, match="begins from a warm start"):
        plan(epsilon=10.0, dataset_size=2000, method=known, warm_start=0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "two words"},
        {"shares": {"palette": 0.5}},
        {"shares": {"palette": 2.0, "brush": -1.0}},
        {"essential": ("brush",)},
        {"warm_start": 1.0},
        {"needs_warm_start": True},
    ],
    ids=str,
)
def test_a_planned_method_is_checked(wrong):
    with pytest.raises(InvalidValue):
        PlannedMethod(**{"name": "palette", "shares": {"palette": 1.0}, **wrong})


@pytest.mark.parametrize(("name", "place"), [("gan", "a:b"), ("fresh", "nothing")], ids=["known", "nowhere"])
def test_a_name_is_taken_once_and_says_where_it_is(name, place):
    with pytest.raises(ConfigError):
        register_method(
            TrainableMethod(planned=PlannedMethod(name=name, shares={"a": 1.0}), summary="none", place=place)
        )
