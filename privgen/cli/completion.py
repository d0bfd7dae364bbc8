"""`privgen completion`: have the shell complete commands, options and names. click writes the scripts."""

from __future__ import annotations

import os
from pathlib import Path

import click

from privgen.cli.suggestions import SuggestingGroup

SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_PRIVGEN_COMPLETE"
_MARK = "# privgen completion"
# zsh defines compdef where its completion was loaded, and not before.
_ZSH_FIRST = "(( ${+functions[compdef]} )) || { autoload -Uz compinit && compinit }\n"


EPILOG = """\b
Examples:
  privgen completion install
  privgen completion show --shell fish
"""


@click.group(cls=SuggestingGroup, epilog=EPILOG)
def command() -> None:
    """Completion of commands, options and names for bash, zsh and fish."""


INSTALL_EPILOG = """\b
Examples:
  privgen completion install
  privgen completion install --shell zsh
"""

_shell_option = click.option(
    "--shell", type=click.Choice(SHELLS), help="The shell.  [default: yours, as SHELL names it]"
)


@command.command("install", epilog=INSTALL_EPILOG)
@_shell_option
def install(shell: str | None) -> None:
    """Write the shell's script, and for bash and zsh one line into .bashrc or .zshrc that reads it.

    Again changes nothing but the script. To remove it, take out that line (it ends with "# privgen completion").
    """
    from accountant.files import write_durably
    from privgen.cli.console import console

    shell = shell or _own_shell()
    script, startup = _places(shell)
    text = _script(shell)
    script.parent.mkdir(parents=True, exist_ok=True)
    write_durably(script, text.encode())
    lines = [f"Completion for {shell}: {script}"]
    if startup is not None:
        lines.append(f"{startup} {'reads it' if _read_by(startup, script) else 'read it already'}.")
    console.print("\n".join([*lines, "Open a new shell to use it."]), markup=False, soft_wrap=True)


SHOW_EPILOG = """\b
Example:
  privgen completion show --shell fish
"""


@command.command("show", epilog=SHOW_EPILOG)
@_shell_option
def show(shell: str | None) -> None:
    """Print the shell's script and write nothing."""
    click.echo(_script(shell or _own_shell()))


def _own_shell() -> str:
    name = Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        raise click.UsageError(f"SHELL names {name or 'no shell'}; give --shell: {', '.join(SHELLS)}.")
    return name


def _script(shell: str) -> str:
    from click.shell_completion import get_completion_class

    from privgen.cli.group import main

    made = get_completion_class(shell)
    assert made is not None  # click knows the three
    text = made(main, {}, "privgen", _VARIABLE).source()
    return (_ZSH_FIRST if shell == "zsh" else "") + text


def _places(shell: str) -> tuple[Path, Path | None]:
    """Where the script goes, and which startup file reads it; fish reads its own folder."""
    home = Path.home()
    if shell == "fish":
        config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        return config / "fish" / "completions" / "privgen.fish", None
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    startup = Path(os.environ.get("ZDOTDIR") or home) / ".zshrc" if shell == "zsh" else home / ".bashrc"
    return data / "privgen" / f"completion.{shell}", startup


def _read_by(startup: Path, script: Path) -> bool:
    """Have a startup file read the script; whether it did not before."""
    import shlex

    text = startup.read_text(encoding="utf-8", errors="surrogateescape") if startup.exists() else ""
    if _MARK in text:
        return False
    quoted = shlex.quote(str(script))
    line = f"[ -r {quoted} ] && . {quoted}  {_MARK}\n"
    with startup.open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(line if not text or text.endswith("\n") else f"\n{line}")
    return True
