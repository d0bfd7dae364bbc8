"""`privgen completion`: the scripts complete, and installing them twice adds one line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from privgen.cli import main

BASH = shutil.which("bash")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home of one's own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def completion(*arguments):
    done = CliRunner().invoke(main, ["completion", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize(
    ("shell", "script", "startup"),
    [
        ("bash", ".local/share/privgen/completion.bash", ".bashrc"),
        ("zsh", ".local/share/privgen/completion.zsh", ".zshrc"),
        ("fish", ".config/fish/completions/privgen.fish", None),
    ],
)
def test_one_command_installs_it_and_a_second_time_adds_no_line(home, shell, script, startup):
    if startup:
        (home / startup).write_text("alias ll='ls -l'")  # with no line's end
    for _ in range(2):
        assert script in completion("install", "--shell", shell)
    assert "_PRIVGEN_COMPLETE" in (home / script).read_text()
    if startup:
        first, *added = (home / startup).read_text().splitlines()
        assert first == "alias ll='ls -l'"
        assert len(added) == 1 and added[0].endswith("# privgen completion")
        subprocess.run(["sh", "-n", str(home / startup)], check=True)


def test_it_takes_the_shell_that_is_used(home, monkeypatch):
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert "complete --no-files --command privgen" in completion("show")
    monkeypatch.setenv("SHELL", "/bin/dash")
    done = CliRunner().invoke(main, ["completion", "install"])
    assert done.exit_code == 2 and "SHELL names dash; give --shell: bash, zsh, fish." in done.output


def words(*typed):
    """What bash offers after these words, by the installed script and a `privgen` on the path."""
    home = Path(os.environ["HOME"])
    (home / "privgen").write_text(f'#!/bin/sh\nexec {sys.executable} -m privgen "$@"\n')
    (home / "privgen").chmod(0o755)
    line = " ".join(f"'{word}'" for word in typed)
    ask = f"COMP_WORDS=({line}); COMP_CWORD={len(typed) - 1}; _privgen_completion privgen"
    code = f'. ~/.bashrc; {ask}; echo "${{COMPREPLY[@]}}"'
    path = f"{home}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [BASH, "--norc", "-c", code], capture_output=True, text=True, env={**os.environ, "PATH": path}
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_bash_completes_commands_options_and_names_with_the_installed_script(home):
    completion("install", "--shell", "bash")
    assert words("privgen", "tr") == ["train"]
    assert "--dataset-size" in words("privgen", "plan", "--data")
    assert words("privgen", "train", "--dataset", "fash") == ["fashion-mnist"]
    assert words("privgen", "plan", "--method", "d") == ["diffusion"]
