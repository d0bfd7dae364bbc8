"""Gates on the command line, for `privgen audit` and `privgen evaluate` alike: options, lines, files, exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

import click

from privgen.cli.option_types import OptionType

if TYPE_CHECKING:
    from accountant.gates import Gate, Judged
    from accountant.policy import Policy
    from privgen.report.gates import GatesJson

Command = TypeVar("Command", bound=Callable[..., object])


class GateList(OptionType):
    """epsilon<=10,signed,..."""

    name = "GATE,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Gate, ...]:
        """The gates, each of the right form."""
        from accountant.errors import InvalidValue
        from accountant.gates import parse_gates

        if isinstance(value, tuple):
            return value
        try:
            return parse_gates(str(value))
        except InvalidValue as error:
            self.fail(str(error), param, ctx)


_OPTIONS = (
    click.option(
        "--require", type=GateList(), help="Gates that must be met, with commas between them; else exit status 1."
    ),
    click.option(
        "--policy", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A YAML file of gates."
    ),
    click.option("--policy-key", help="The public key that must have signed the policy (privgen keys sign)."),
    click.option(
        "--gates",
        "gates_folder",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder for gates.json and gates.xml (JUnit).",
    ),
)


def gate_options(command: Command) -> Command:
    """--require, --policy, --policy-key and --gates."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class GateOptions(TypedDict):
    """What click hands over of these options."""

    require: tuple[Gate, ...] | None
    policy: Path | None
    policy_key: str | None
    gates_folder: Path | None


@dataclass(frozen=True, kw_only=True, slots=True)
class GatesAsked:
    """What is asked, by which policy, and where the files go."""

    gates: tuple[Gate, ...]
    policy: Policy | None
    folder: Path | None


def gates_asked(
    part: Literal["audit", "evaluate"], given: GateOptions, *, kinds: Mapping[str, str]
) -> GatesAsked | None:
    """The gates of an option and of a policy together, or None where nothing is asked.

    Args:
        part: of the policy. kinds: what can be asked (`accountant.gates.require_known`).
    """
    from accountant.errors import InvalidValue
    from accountant.gates import require_known

    require, policy, folder = given["require"], given["policy"], given["gates_folder"]
    if policy is None and given["policy_key"] is not None:
        raise click.UsageError("--policy-key goes with --policy.")
    if policy is None and require is None:
        if folder is not None:
            raise click.UsageError("--gates goes with --require or --policy.")
        return None
    signed = None if policy is None else _policy(policy, given["policy_key"])
    gates = (*(require or ()), *(getattr(signed, part) if signed is not None else ()))
    if not gates:
        raise click.UsageError(f"{policy} asks nothing of privgen {part}; list gates under {part}: in it.")
    try:
        require_known(gates, kinds)
    except InvalidValue as error:
        raise click.UsageError(str(error)) from error
    return GatesAsked(gates=gates, policy=signed, folder=folder)


def _policy(path: Path, key: str | None) -> Policy:
    from accountant.ledger.signing import load_public_key
    from accountant.policy import load_policy
    from privgen.cli.console import warn

    if key is None:
        warn(f"Nobody looked who signed {path}; give the privacy officer's public key by --policy-key.")
    return load_policy(path, public_key=None if key is None else load_public_key(key))


def say_gates(judged: Sequence[Judged], asked: GatesAsked, *, of: str, on_stdout: bool) -> GatesJson:
    """One line a gate, and the files that were asked for; what a script may add to its JSON.

    Args:
        of: the run or the images. on_stdout: whether stdout is for people.
    """
    from privgen.cli.console import console, err_console
    from privgen.report.gates import gates_json, write_gates
    from privgen.report.text import plain

    where = console if on_stdout else err_console
    for one in judged:
        style = "green" if one.met else "bold red"
        where.print(plain(one.line()), style=style, markup=False, soft_wrap=True)
    if asked.folder is not None:
        write_gates(asked.folder, judged, of=of, policy=asked.policy)
    return gates_json(judged, of=of, policy=asked.policy)


def end_by_gates(judged: Sequence[Judged]) -> None:
    """Exit status 1 and one red line where a gate was not met."""
    from privgen.cli.console import err_console
    from privgen.report.text import plain

    missed = [one for one in judged if not one.met]
    if missed:
        text = f"Error: {len(missed)} of {len(judged)} gates are not met: {missed[0].gate} ({missed[0].found})"
        err_console.print(plain(text), style="bold red", markup=False, soft_wrap=True)
        sys.exit(1)
