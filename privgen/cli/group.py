"""`privgen`: the group of commands, and how errors reach a person."""

from __future__ import annotations

import errno
import importlib
import sys
from importlib.metadata import version
from typing import Any

import click

from privgen.cli.encoding import keep_writable
from privgen.cli.signals import ended_by_signals
from privgen.cli.suggestions import SuggestingGroup, name_the_nearest

# Name of the command, its module, and the line that `privgen --help` shows without loading the module.
COMMANDS: dict[str, tuple[str, str]] = {
    "plan": ("privgen.cli.plan", "Solve for noise, sampling rate and iterations before any training."),
    "train": ("privgen.cli.train", "Train under the budget guard; halt when the budget is reached."),
    "baseline": ("privgen.cli.baseline", "Train a rival or a ceiling to compare with, under the same guard."),
    "audit": ("privgen.cli.audit", "Recompute what a run spent, from its ledger alone."),
    "label": ("privgen.cli.label", "A run's privacy on one card, for people and as JSON."),
    "sample": ("privgen.cli.sample", "Make images with a trained generator."),
    "evaluate": ("privgen.cli.evaluate", "gen2real accuracy, FID, IS, diversity and copying, by a named protocol."),
    "export": ("privgen.cli.export.command", "A folder for the Hugging Face Hub, which works without privgen."),
    "compare": ("privgen.cli.compare", "Runs side by side: ε certified and claimed, every measure, and images."),
    "account": ("privgen.cli.account", "One budget over many runs: make one, show what is left."),
    "keys": ("privgen.cli.keys", "Make a key that signs ledgers."),
    "experiment": ("privgen.cli.experiment", "Experiments about the method itself, on public data."),
    "data": ("privgen.cli.data", "List the data sets, and where each was found."),
    "doctor": ("privgen.cli.doctor", "Look at this machine: versions, device, row check, disk, entropy, data."),
    "completion": ("privgen.cli.completion", "Completion for bash, zsh and fish, installed by one command."),
}


class LazyGroup(SuggestingGroup):
    """Loads a command's module when it is called, and turns errors into one red line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, its module loaded now."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands from the table above, so that --help loads nothing."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def main(self, *arguments: Any, **options: Any) -> Any:
        """As click's; a stream that cannot hold a letter never ends a command."""
        keep_writable(sys.stdout, sys.stderr)
        return super().main(*arguments, **options)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; an error is one red line and exit status 1."""
        try:
            with ended_by_signals():
                return super().invoke(ctx)
        except click.NoSuchOption as error:
            raise name_the_nearest(error, self, ctx) from error
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            from privgen.cli.console import err_console

            text = _absent(error) or (_one_line(error) if _is_known(error) else _bug(error))
            err_console.print(f"Error: {text}", style="bold red", markup=False, soft_wrap=True)
            sys.exit(1)


# What `pip install privgen` alone does not bring, by the module's name; all of it is of the extra `train`.
_TRAIN = {"loky", "matplotlib", "numba", "safetensors", "sklearn", "torch", "torchvision"}


def _absent(error: Exception) -> str | None:
    """Which package a command needs that is not here, and how to get it; None where it is another error."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if name not in _TRAIN:
        return None
    return f"this needs {name}, which is not installed: pip install 'privgen[train]'."


def _is_known(error: Exception) -> bool:
    """Ours, or the operating system's; anything else is a bug and is called one."""
    from accountant.errors import AccountantError
    from privgen.errors import PrivgenError

    known: tuple[type[Exception], ...] = (AccountantError, PrivgenError, OSError)
    # Loaded only by the command that uses it.
    planner_errors = sys.modules.get("planners.errors")
    if planner_errors is not None:
        known = (*known, planner_errors.PlannerError)
    return isinstance(error, known)


# What to do where the operating system says no; anything else is about a place.
_REMEDIES = {
    errno.ENOENT: "check the path",
    errno.EEXIST: "give another name",
    errno.ENOTDIR: "a part of the path is a file; check it",
    errno.EISDIR: "name a file and not a folder",
    errno.EACCES: "give another place, or change its permissions",
    errno.EPERM: "give another place, or change its permissions",
    errno.EROFS: "give another place: that one is read-only",
    errno.ENOSPC: "make room there, or give another place",
    errno.EDQUOT: "make room there, or give another place",
    errno.ENAMETOOLONG: "give a shorter name",
}


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        name = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{name}; {_REMEDIES.get(error.errno or 0, 'give another place')}."
    return " ".join(str(error).split())


def _bug(error: Exception) -> str:
    return (
        f"this is a bug in privgen ({type(error).__name__}: {' '.join(str(error).split())[:200]}); "
        "privgen --debug COMMAND ... shows where: please report it."
    )


EPILOG = """\b
The main job:
  privgen plan --epsilon 10 --dataset fashion-mnist --out plan.json
  privgen train --plan plan.json --dataset fashion-mnist --out runs/fm
  privgen sample runs/fm -n 100 --out samples.png
  privgen audit runs/fm
"""


@click.group(
    cls=LazyGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(version("privgen"), prog_name="privgen")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Train a private image generator, and know what it cost in privacy.

    privgen plans the noise before training, trains under a guard that halts when the budget (ε, δ) is
    reached, and lets anyone recompute the spend afterwards.
    """
