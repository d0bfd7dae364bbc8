"""`privgen train --log`: others' readers find what is released, at steps and not at times, and nothing private."""

import csv
import json
import re

import pytest
from click.testing import CliRunner

from privgen.catalogue import TRACKERS
from privgen.cli import main
from privgen.errors import ConfigError
from privgen.training.loop import run
from privgen.training.tracking import trackers
from privgen.training.tracking.session_log import SessionLog, require_trackers

PRIVATE = ("batch_size", "nonfinite", "median_norm")


def logged(session, *kinds, private=False, warn=pytest.fail):
    """The reports of a whole session, each of which was logged."""
    session.grids.pace_by = lambda *_, **__: setattr(session.grids, "every", 5)
    reports = []
    with session, SessionLog(session, kinds, private=private, warn=warn) as log:
        for report in run(session):
            log.log(report)
            reports.append(report)
    return reports


def csv_values(path):
    with path.open(newline="") as file:
        return {(int(row["step"]), row["name"]): float(row["value"]) for row in csv.DictReader(file)}


def scalars(folder):
    """What TensorBoard itself reads."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return found


@pytest.fixture(scope="module")
def run_folder(lab, tmp_path_factory):
    """A run that was logged by both file formats, its private values too; and its reports."""
    pytest.importorskip("tensorboard")
    out = tmp_path_factory.mktemp("logged") / "run"
    return out, logged(lab.begin(out), "csv", "tensorboard", private=True)


def test_both_formats_hold_each_step_s_spend_and_losses(run_folder):
    out, reports = run_folder
    by_csv, by_board = csv_values(out / "logs" / "csv" / "metrics.csv"), scalars(out / "logs" / "tensorboard")
    assert len(reports) == 12
    for report in reports:
        assert by_csv[report.step, "privacy/epsilon_rdp"] == report.epsilon_spent
        for name, value in report.losses.items():
            assert by_csv[report.step, f"loss/{name}"] == value
    names = {name for _, name in by_csv}
    assert {"privacy/noise_multiplier", "privacy/steps_charged", "loss/adversarial"} <= names
    assert set(by_board.Tags()["scalars"]) == names
    for name in names:
        events = by_board.Scalars(name)
        assert [event.step for event in events] == [report.step for report in reports]
        assert [event.value for event in events] == pytest.approx([by_csv[r.step, name] for r in reports], rel=1e-6)


def test_grids_and_configuration_are_in_both(run_folder):
    out, reports = run_folder
    steps = [report.step for report in reports if report.samples is not None]
    assert len(steps) > 1
    assert [event.step for event in scalars(out / "logs" / "tensorboard").Images("samples")] == steps
    for report in reports:
        if report.samples is not None:
            assert (out / "logs" / "csv" / f"grid-{report.step:06d}.png").read_bytes() == report.samples.read_bytes()
    found = json.loads((out / "logs" / "csv" / "configuration.json").read_text())
    assert found["plan"] == json.loads((out / "release" / "plan.json").read_text())
    assert found["settings"]["preset"] == "tiny"


def test_no_time_of_a_step_is_written_for_it_tells_the_batch(run_folder):
    out, reports = run_folder
    board = scalars(out / "logs" / "tensorboard")
    for name in board.Tags()["scalars"]:
        assert [event.wall_time for event in board.Scalars(name)] == [float(report.step) for report in reports]
    assert [event.wall_time for event in board.Images("samples")] == [
        float(report.step) for report in reports if report.samples is not None
    ]


def test_private_values_are_below_private_and_nowhere_else(run_folder):
    out, _ = run_folder
    private = csv_values(out / "private" / "logs" / "csv" / "metrics.csv")
    lines = [json.loads(line) for line in (out / "private" / "metrics.jsonl").read_text().splitlines()]
    drawn = {line["step"]: line["batch_size"] for line in lines}
    assert {step: value for (step, name), value in private.items() if name == "batch_size"} == drawn
    assert any(name.startswith("median_norm/") for _, name in private)
    assert "batch_size" in scalars(out / "private" / "logs" / "tensorboard").Tags()["scalars"]
    for path in (out / "logs").rglob("*"):
        if path.is_file():
            assert not any(word.encode() in path.read_bytes() for word in PRIVATE), path


def test_without_being_asked_nothing_private_is_logged_at_all(lab, tmp_path):
    logged(lab.begin(tmp_path / "run"), "csv")
    assert not (tmp_path / "run" / "private" / "logs").exists()


def test_a_resume_goes_on_in_the_same_file(lab, tmp_path):
    out = tmp_path / "run"
    with lab.begin(out) as session, SessionLog(session, ["csv"], private=True, warn=pytest.fail) as log:
        for report in run(session, stop=lambda: session.guard.steps >= 4):
            log.log(report)
    logged(lab.resume(out), "csv", private=True)
    for place in (out / "logs", out / "private" / "logs"):
        text = (place / "csv" / "metrics.csv").read_text()
        assert text.count("step,name,value") == 1
        assert {step for step, _ in csv_values(place / "csv" / "metrics.csv")} == set(range(1, 13))


def test_private_values_are_never_for_a_server(monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: object())
    for kinds in ([], ["wandb"], ["mlflow", "wandb"]):
        with pytest.raises(ConfigError, match="sent nowhere"):
            require_trackers(kinds, private=True)
    require_trackers(["wandb", "csv"], private=True)


def test_a_tracker_that_is_not_here_is_said_before_a_run_is_begun(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    lab.plan(dataset="digits", dataset_size=1437).save(tmp_path / "plan.json")
    out = tmp_path / "run"
    done = CliRunner().invoke(
        main, ["train", "--plan", str(tmp_path / "plan.json"), "--out", str(out), "--log", "wandb"]
    )
    assert done.exit_code == 1 and "pip install 'privgen[wandb]'" in done.stderr
    assert not out.exists()


def test_a_tracker_that_fails_is_dropped_and_the_run_goes_on(lab, tmp_path, monkeypatch):
    def full(self, step, values):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trackers.CsvTracker, "log", full)
    said = []
    reports = logged(lab.begin(tmp_path / "run"), "csv", warn=said.append)
    assert len(reports) == 12
    assert len(said) == 1 and re.search("CsvTracker failed .*No space left", said[0])


def test_every_tracker_that_is_offered_is_there():
    assert tuple(trackers.TRACKERS) == TRACKERS


def test_mlflow_reads_what_was_logged_and_no_time(lab, tmp_path):
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    reports = logged(lab.begin(tmp_path / "run"), "mlflow")
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/run/logs/mlflow/mlflow.db")
    (found,) = client.search_runs([client.get_experiment_by_name("privgen").experiment_id])
    history = client.get_metric_history(found.info.run_id, "privacy/epsilon_rdp")
    assert [(one.step, one.timestamp) for one in history] == [(report.step, report.step) for report in reports]
    assert [one.value for one in history] == [report.epsilon_spent for report in reports]
    assert found.data.params["plan.epsilon"] == "5.0"


def test_wandb_keeps_a_run_offline(lab, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    logged(lab.begin(tmp_path / "run"), "wandb")
    assert list((tmp_path / "run" / "logs" / "wandb").rglob("*.wandb"))
