"""`--config run.yaml`: a command's options from a file; `--print-config`: what they are now, as such a file.

    epsilon: 10                     # the long names of a command's options, with - or _
    dataset: fashion-mnist
    classes: [benign, malignant]    # an option that takes names with commas, or that may be repeated, takes a list

or a section for each of several commands:

    plan: {epsilon: 10, dataset: fashion-mnist, out: plan.json}
    train: {plan: plan.json, out: runs/fm}

What is given on the command line goes before the file. A key that is no option of the command is an error.
"""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from privgen.cli.suggestions import meant

# The commands that take a file, and may have a section in one.
CONFIGURED = ("plan", "train", "sample", "evaluate")
_OWN = ("config", "print_config")
_PLAIN = (bool, int, float, str)


class ConfiguredCommand(click.Command):
    """A command whose options may stand in a file."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.params += [
            click.Option(
                ["--config"],
                type=click.Path(path_type=Path, dir_okay=False),
                is_eager=True,
                expose_value=False,
                callback=_take_up,
                help="Take options from this YAML file; those given here go before it.",
            ),
            click.Option(["--print-config"], is_flag=True, help="Print all options as such a file, and do nothing."),
        ]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's, and keeps what was written for `--print-config`."""
        written, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        ctx.meta[__name__] = written
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Print the configuration where that was asked for, or do what the command does."""
        if ctx.params.pop("print_config"):
            click.echo(_as_yaml(self, ctx), nl=False)
            return None
        return super().invoke(ctx)


def _take_up(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Make what a file says the defaults of this command."""
    if path is None:
        return
    values = _section(_read(path), ctx.info_name or "", path)
    known = _by_key(ctx.command)
    defaults = dict(ctx.default_map or {})
    for found, value in values.items():
        key = "yes" if found is True else str(found)  # YAML takes the word for a truth value
        parameter = known.get(key.replace("_", "-"))
        if parameter is None or parameter.name is None:
            what = f"{path}: privgen {ctx.info_name} has no option {key!r}.{meant(key, known)}"
            raise click.UsageError(what, ctx)
        if value is not None:
            defaults[parameter.name] = _as_given(value, parameter, path)
    ctx.default_map = defaults


def _read(path: Path) -> Mapping[Any, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = " ".join(str(error).split())
        raise click.UsageError(f"{path} is no YAML file: {where}; expected lines such as 'epsilon: 10'.") from error
    if not isinstance(found, dict):
        raise click.UsageError(f"{path} holds no options; expected lines such as 'epsilon: 10'.")
    return found


def _section(values: Mapping[Any, Any], command: str, path: Path) -> Mapping[Any, Any]:
    """What is for this command: all of it, or its section where the file has sections."""
    sections = [key for key, value in values.items() if key in CONFIGURED and isinstance(value, dict)]
    if not sections:
        return values
    if beside := [str(key) for key in values if key not in sections]:
        raise click.UsageError(
            f"{path} has sections ({', '.join(sections)}), and {beside[0]!r} stands in none; move it into one."
        )
    section: Mapping[Any, Any] = values.get(command, {})
    return section


def _by_key(command: click.Command) -> dict[str, click.Parameter]:
    """Parameters by the long name of the option, or by the name of the argument."""
    found: dict[str, click.Parameter] = {}
    for parameter in command.params:
        if parameter.name in _OWN:
            continue
        long = [opt.lstrip("-") for opt in parameter.opts if opt.startswith("--")]
        found[long[0] if long else str(parameter.name).replace("_", "-")] = parameter
    return found


def _as_given(value: Any, parameter: click.Parameter, path: Path) -> Any:
    """A file's value in the form in which the command line has it.

    Raises:
        click.UsageError: the option cannot take a value of that kind.
    """
    many = parameter.multiple if isinstance(parameter, click.Option) else parameter.nargs != 1
    flag = isinstance(parameter, click.Option) and parameter.is_flag
    if isinstance(value, dict) and all(isinstance(part, _PLAIN) for part in value.values()):
        value = [f"{name}={part}" for name, part in value.items()]
    items = value if isinstance(value, list) else [value]
    if flag != isinstance(value, bool) or not all(isinstance(item, _PLAIN) for item in items):
        expected = "true or false" if flag else "a value, or a list of values"
        raise click.UsageError(f"{path}: {parameter.name} is {value!r}; expected {expected}.")
    if flag:
        return value
    texts = [str(item) for item in items]
    if many:
        return texts
    return texts[0] if len(texts) == 1 and not isinstance(value, list) else _with_commas(texts)


def _with_commas(texts: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(texts)
    return line.getvalue().strip()


def _as_yaml(command: click.Command, ctx: click.Context) -> str:
    """Every option that has a value, as a file that `--config` reads again."""
    import yaml

    written, from_file = ctx.meta[__name__], ctx.default_map or {}
    values: dict[str, Any] = {}
    for key, parameter in _by_key(command).items():
        name = str(parameter.name)
        raw = written.get(name)
        if not isinstance(raw, bool | str | list | tuple):  # it was not given
            raw = from_file.get(name, ctx.params.get(name))
        if isinstance(raw, tuple | list):
            values[key] = [_scalar(str(item)) for item in raw]
        elif raw is not None:
            values[key] = raw if isinstance(raw, bool) else _scalar(str(raw))
    values = {key: value for key, value in values.items() if value != []}
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return text


def _scalar(text: str) -> int | float | str:
    """A number where it is written as one and reads back the same; otherwise the text."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            if str(kind(text)) == text:
                return kind(text)
    return text
