"""Grids of samples while a run goes on: of what is released alone, bounded, whole, and never a reason to end."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from privgen.catalogue import METHODS
from privgen.errors import ConfigError
from privgen.methods.diffusion.method import METHOD as DIFFUSION
from privgen.methods.diffusion.settings import DiffusionSettings
from privgen.training.loop import run
from privgen.training.sample_grids import LATEST, MOST_GRIDS, SampleGrids

SMALL = {"preset": "tiny", "physical_batch": 32, "mixture_clusters": 1, "mixture_frequencies": 4, "mixture_rank": 4}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def often(session, every=5):
    """A session whose grids are so many steps apart, whatever this machine's speed."""
    session.grids.pace_by = lambda *_, **__: setattr(session.grids, "every", every)
    return session


def begun(lab, out, method, **changes):
    if method == "gan":
        return lab.begin(out, plan=lab.plan(**changes))
    made = lab.plan(method=METHODS["diffusion"].planned, **changes)
    return lab.begin(out, plan=made, method=DIFFUSION, config=DiffusionSettings(**SMALL, sampling_steps=2))


@pytest.mark.parametrize("method", ["gan", "diffusion"])
def test_a_grid_stands_in_the_run_while_it_trains_and_after_a_resume(lab, tmp_path, method):
    out = tmp_path / "run"
    with often(begun(lab, out, method)) as session:
        first = session.plan.warm_steps + 1
        reports = lab.stop_after(session, first + 6)
    written = [report.samples for report in reports if report.samples is not None]
    # One after the first gradient step, when the speed is known; the next one five steps later.
    assert [path.name for path in written] == [f"step-{first:06d}.png", f"step-{first + 5:06d}.png"]
    assert names(out / "samples") == [LATEST, *(path.name for path in written)]
    assert (out / "samples" / LATEST).read_bytes() == written[-1].read_bytes()
    grid = np.asarray(Image.open(written[-1]))
    assert grid.shape == (2 + 4 * 18, 2 + 3 * 18) and grid.std() > 0
    resumed = lab.resume(out, method=session_method(method))
    with often(resumed) as session:
        (report, *_) = list(run(session))
    assert report.samples is not None and report.samples.name == f"step-{first + 7:06d}.png"
    assert (out / "samples" / LATEST).read_bytes() != written[-1].read_bytes()


def session_method(name):
    from privgen.catalogue import method_named

    return method_named(name)


@pytest.mark.parametrize("method", ["gan", "diffusion"])
def test_a_grid_reads_no_record_and_changes_nothing_that_training_uses(lab, tmp_path, method, monkeypatch):
    with begun(lab, tmp_path / "run", method) as session:
        lab.stop_after(session, session.plan.warm_steps + 2)
        learner = session.state.learner

        def stand():
            weights = {name: p.clone() for m in learner.modules().values() for name, p in m.state_dict().items()}
            average = {name: p.clone() for name, p in learner.released().state_dict().items()}
            return weights, average, learner.latents.get_state(), learner.released().training

        before = stand()
        # Whatever could read a record is gone, and the picture is the same.
        monkeypatch.setattr(session, "data", None)
        monkeypatch.setattr(session.state, "beside", None)
        picture = learner.samples_png()
        assert picture == learner.samples_png()
        after = stand()
        for one, other in zip(before[:2], after[:2], strict=True):
            assert one.keys() == other.keys() and all(bool((one[name] == other[name]).all()) for name in one)
        assert bool((before[2] == after[2]).all()) and before[3] == after[3]
        # It is the average's, and not the weights' that are being trained.
        for p in learner.released().parameters():
            p.data.mul_(0.5)
        assert learner.samples_png() != picture


def test_the_number_of_grids_is_bounded_and_the_newest_stay(tmp_path):
    class Learner:
        def samples_png(self):
            return b"picture"

    grids = SampleGrids(every=1)
    for step in range(MOST_GRIDS + 3):
        assert grids.write_if_due(Learner(), tmp_path / "samples", step=step) is not None
    assert grids.write_if_due(Learner(), tmp_path / "samples", step=MOST_GRIDS + 2) is None
    assert names(tmp_path / "samples")[0] == LATEST
    assert names(tmp_path / "samples")[1:] == [f"step-{step:06d}.png" for step in range(3, MOST_GRIDS + 3)]


def test_where_there_is_no_room_or_no_picture_the_run_goes_on(lab, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("privgen.training.sample_grids.write_durably", full)
    with lab.begin(tmp_path / "run") as session:
        assert not any(report.samples for report in run(session))
        assert session.released
    monkeypatch.undo()
    grids = SampleGrids(every=1)
    silent = type("Silent", (), {"samples_png": lambda self: None})()
    assert grids.write_if_due(silent, tmp_path / "samples", step=1) is None and not (tmp_path / "samples").exists()


def test_how_often_is_a_setting_and_0_makes_none(lab, tmp_path):
    grids = SampleGrids()
    assert grids.write_if_due(object(), tmp_path, step=1) is None
    grids.pace_by(0.5, minutes=3.0)
    assert grids.every == 360
    grids.pace_by(1e9, minutes=3.0)
    assert grids.every == 1
    with lab.begin(tmp_path / "run", config=lab.config(samples_every_minutes=0.0)) as session:
        list(run(session))
    assert names(tmp_path / "run") == ["private", "release"]
    with pytest.raises(ConfigError, match="samples_every_minutes"):
        dataclasses.replace(lab.config(), samples_every_minutes=-1.0)
