"""The live display: pace by the expected batch, time left, and samples where the terminal shows images."""

import io
from base64 import standard_b64decode

import pytest
from rich.console import Console

from privgen.cli import progress
from privgen.cli.terminal_images import shown
from privgen.training.loop import run


def displayed(session, monkeypatch, *, terminal, width=220):
    """What a display of a whole run writes."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=width, no_color=True, highlight=False)
    monkeypatch.setattr(progress, "err_console", console)
    seconds = iter(range(0, 10_000))
    with session, progress.TrainingDisplay(session, clock=lambda: float(next(seconds))) as display:
        for report in run(session):
            display.update(report)
    return out.getvalue()


def test_lines_say_images_a_second_of_the_expected_batch_and_never_of_the_drawn_one(lab, tmp_path, monkeypatch):
    ticks = iter(range(0, 10_000))
    monkeypatch.setattr(progress, "err_console", Console(file=io.StringIO(), width=220))
    with lab.begin(tmp_path / "run") as session:
        display = progress.TrainingDisplay(session, clock=lambda: 2.0 * next(ticks))
        first = next(run(session))
    # One step of 20 expected records in 2 s.
    assert display._pace(first) == "10 images/s"


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_charged_steps_spend_pace_and_time_left(width, lab, tmp_path, monkeypatch):
    seen = displayed(lab.begin(tmp_path / "run"), monkeypatch, terminal=True, width=width)
    assert "…" not in seen
    for words in ("12/12", "charged 12", "ε 5 planned", "images/s", "left"):
        assert words in seen


KITTY, ITERM = {"TERM": "xterm-kitty"}, {"TERM_PROGRAM": "WezTerm"}


@pytest.mark.parametrize("environment", [KITTY, ITERM], ids=["kitty", "iterm"])
def test_each_grid_of_samples_is_shown_where_the_terminal_can(environment, lab, tmp_path, monkeypatch):
    for name in ("TERM", "TERM_PROGRAM", "TMUX", "KITTY_WINDOW_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    session = lab.begin(tmp_path / "run")
    session.grids.pace_by = lambda *_, **__: setattr(session.grids, "every", 5)
    seen = displayed(session, monkeypatch, terminal=True)
    assert "Samples after 6 steps:" in seen
    assert ("\x1b_G" in seen) == (environment is KITTY)
    assert ("\x1b]1337;File=" in seen) == (environment is ITERM)


def test_elsewhere_no_escape_sequence_is_written(lab, tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "screen-256color")
    seen = displayed(lab.begin(tmp_path / "run"), monkeypatch, terminal=True)
    assert "\x1b_G" not in seen and "1337" not in seen


def test_both_protocols_carry_the_file_bit_for_bit(halted_run):
    png = (halted_run / "release" / "samples.png").read_bytes()
    chunks = [part.partition(";")[2] for part in shown(png, KITTY).split("\x1b\\")[:-1]]
    assert all(len(chunk) <= 4096 for chunk in chunks) and len(chunks) > 1
    assert standard_b64decode("".join(chunks)) == png
    assert standard_b64decode(shown(png, ITERM).partition(":")[2].rstrip("\a\n")) == png
    assert shown(png, {"TERM": "xterm-256color"}) == ""
    assert shown(png, {**KITTY, "TMUX": "/tmp/tmux"}) == ""
